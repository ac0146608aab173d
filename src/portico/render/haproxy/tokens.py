"""JSON Web Tokens: signature, times, issuer and audience, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portico.config.problems import KeyPath
from portico.policies.auth.acceptance import JwtSettings
from portico.policies.auth.keys import KeySet, key_set, public_key
from portico.policies.auth.signed import TOKEN_LIMIT
from portico.render.expressions import literal
from portico.render.haproxy.answers import refusal
from portico.render.haproxy.names import Names
from portico.render.haproxy.text import equals, found_in, word

_ALGORITHMS: Final = ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""Those that HAProxy 2.6 verifies."""
_ENTRIES: Final = 8
"""Entries of a list in a claim that are looked at: HAProxy asks for one after the other."""
SECRETS: Final = "secrets.map"
"""The file with shared keys: it alone is not for others' eyes."""
_SENT: Final = "var(txn.token)"
_CLAIMS: Final = "var(txn.claims)"
_SHOWN: Final = "{ var(txn.shown) -m str jwt }"
_MISSING: Final = 'Bearer realm="portico"'
_INVALID: Final = 'Bearer realm="portico", error="invalid_token"'
_TIMES: Final = ("exp", "nbf", "iat")
_NAMES: Final = ("username", "preferred_username", "sub")
_SCOPES: Final = ("scope", "scopes", "scp")
_FORM: Final = "^[A-Za-z0-9_-]+[.][A-Za-z0-9_-]+[.][A-Za-z0-9_-]+$"
_NO_TIME: Final = r'"(?:exp|nbf|iat)"\s*:\s*[^0-9\s]'
"""A time that is none: HAProxy would take digits in quotes for a number."""
_BEFORE: Final = r'"(?:username|preferred_username|sub)"\s*:\s*'
_CONTROLS: Final = r"\\(?:[bfnrt]|u(?:00[01]|007[fF]|00[89]|202[89]))"
_NO_NAME: Final = rf'{_BEFORE}(?:[^"\sn]|"(?:[^"\\]|\\.)*?{_CONTROLS})'
"""A name that is no text, or has control characters."""
_NO_SCOPES: Final = (
    r'"(?:scope|scopes|scp)"\s*:\s*(?!"|\[\s*(?:"(?:[^"\\\s]|\\u)*"\s*(?:,\s*"(?:[^"\\\s]|\\u)*"\s*)*)?\])'
)
"""Scopes that are neither text nor a list of words."""
_ESCAPED: Final = r'"(?:username|preferred_username|sub|scopes?|scp)"\s*:\s*(?:"|\[)(?:[^"\\]|\\.)*?\\u00'
_UNREAD: Final = r'"(?:username|preferred_username|sub|scopes?|scp)"\s*:\s*(?:"|\[)(?:[^"\\]|\\.)*?\\u(?!00)'
"""Text that HAProxy does not read: it knows the escapes of 256 characters."""
_LATIN: Final = (
    *((digit, f"C2|{digit}") for digit in "89AB"),
    *((digit, f"C3|{second}") for digit, second in zip("CDEF", "89AB", strict=True)),
)
"""What encodes those characters by a byte each, and what does in UTF-8."""


class TokenError(Exception):
    """HAProxy cannot check such tokens."""


def token_lines(names: Names, settings: JwtSettings, at: KeyPath) -> Iterator[str]:
    """The lines that check a token and say whose it is; `at` is where that is written. Raises TokenError."""
    if settings.from_ != ["header"]:
        raise TokenError("HAProxy looks for tokens in Authorization alone")
    if settings.issuers:
        raise TokenError("HAProxy has one issuer of tokens")
    if settings.jwks_url is not None or settings.discovery or settings.own:
        raise TokenError("HAProxy fetches no keys")
    if not settings.secret and not settings.written_sources:
        raise TokenError("HAProxy has no keys for these tokens")
    verified = [*_verified(names, settings, at)]
    if not verified:
        raise TokenError("HAProxy verifies HS, RS and ES signatures, and has no such key here")
    wanted = [settings.audience] if isinstance(settings.audience, str) else settings.audience or []
    if not all(map(str.isascii, [settings.issuer or "", *wanted])):
        names.losses.add(at, "HAProxy does not know what is beyond ASCII in a token where it is escaped")
    yield from _shown()
    yield from verified
    yield from _refused("!{ var(txn.trusted) -m found }")
    yield from _header(settings)
    yield from _times(settings)
    for name in settings.required_claims:
        yield from _refused("!" + found_in(_CLAIMS, f'"{literal(name)}"\\s*:\\s*[^\\sn]'))
    if settings.issuer is not None:
        yield from _refused("!" + equals(_claim("iss"), settings.issuer))
    yield from _audience(settings)
    yield from _consumer()


def _shown() -> Iterator[str]:
    """Whether there is a token, and what it says."""
    bearer = found_in("req.fhdr(Authorization)", "(?i)^bearer +[^ ]")
    twice = f"{bearer} {{ req.fhdr_cnt(Authorization) gt 1 }}"
    yield from refusal(401, "credentials_missing", twice, challenge=_MISSING)
    yield f"http-request set-var(txn.shown) str(jwt) if {bearer}"
    yield f"http-request set-var(txn.token) http_auth_bearer if {_SHOWN}"
    yield from _refused("!" + found_in(_SENT, _FORM))
    yield from _refused(f"{{ {_SENT},length gt {TOKEN_LIMIT} }}")
    yield f"http-request set-var(txn.claims) {_SENT},field(2,.),ub64dec if {_SHOWN}"


def _refused(condition: str, reason: str = "credentials_invalid") -> Iterator[str]:
    return refusal(401, reason, f"{_SHOWN} {condition}", challenge=_INVALID)


def _verified(names: Names, settings: JwtSettings, at: KeyPath) -> Iterator[str]:
    """The lines that verify the signature: by any key that may have made it."""
    if settings.secret is not None:
        secret = settings.secret.get_secret_value()
        known, is_new = names.once(("secret", secret), "token_key")
        if is_new:
            names.files[SECRETS] = names.files.get(SECRETS, "") + f"{known} {secret}\n"
        yield f"http-request set-var(txn.{known}) str({known}),map_str({SECRETS}) if {_SHOWN}"
        for algorithm in settings.accepted:
            yield from _by_key(algorithm, f"txn.{known}", None)
        return
    for index, key in enumerate(_keys(names, settings).keys, 1):
        fitting = [algorithm for algorithm in settings.accepted if algorithm in key.algorithms]
        if {*fitting} - {*_ALGORITHMS}:
            names.losses.add(at, "HAProxy verifies no PS and Ed signatures: tokens with one get 401")
        if not isinstance(key.material, RSAPublicKey | EllipticCurvePublicKey):
            continue
        pem = key.material.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        known, is_new = names.once(("key", pem), f"token-key-{index}")
        if is_new:
            names.files[f"{known}.pem"] = pem
        for algorithm in fitting:
            if algorithm in _ALGORITHMS:
                yield from _by_key(algorithm, f"{known}.pem", key.kid)


def _by_key(algorithm: str, key: str, kid: str | None) -> Iterator[str]:
    """Those for one algorithm and key; a token may name the key that signed it."""
    fits = f"{_SHOWN} {equals(_in_header('alg'), algorithm)}"
    if kid is not None:
        fits = f"{fits} !{{ {_in_header('kid')} -m found }} || {fits} {equals(_in_header('kid'), kid)}"
    yield "http-request unset-var(txn.verified)"
    yield f"http-request set-var(txn.verified) {_SENT},jwt_verify({algorithm},{key}) if {fits}"
    yield "http-request set-var(txn.trusted) bool(true) if { var(txn.verified) -m int 1 }"


def _keys(names: Names, settings: JwtSettings) -> KeySet:
    file = settings.jwks_file or settings.public_key_file
    assert file is not None
    try:
        content = names.config.files.get(file) or file.read_bytes()
        return key_set(content) if settings.jwks_file is not None else public_key(content)
    except (OSError, ValueError) as error:
        raise TokenError(f"{file} cannot be read: {error}") from None


def _in_header(name: str) -> str:
    return f"{_SENT},jwt_header_query('$.{name}')"


def _claim(name: str, kind: str = "") -> str:
    return f"{_SENT},jwt_payload_query('$.{name}'{kind and f',{kind!r}'})"


def _header(settings: JwtSettings) -> Iterator[str]:
    """What a token was made for (RFC 8725, section 3.11), and what has to be understood of it."""
    kinds = [each.lower().removeprefix("application/") for each in settings.types]
    kind = f"{_in_header('typ')},lower"
    known = equals(kind, *kinds, *(f"application/{each}" for each in kinds)) if kinds else "{ always_false }"
    yield from _refused(f"{{ {kind} -m found }} !{known}")
    yield from _refused(found_in(f"{_SENT},field(1,.),ub64dec", '"(?:crit|b64)"'))


def _times(settings: JwtSettings) -> Iterator[str]:
    leeway = int(settings.leeway)
    yield from _refused(found_in(_CLAIMS, _NO_TIME))
    if settings.require_expiry:
        yield from _refused(f"!{{ {_claim('exp', 'int')} -m found }}")
    yield "http-request set-var(txn.clock) date"
    for name in _TIMES:
        difference = f"{_claim(name, 'int')},sub(txn.clock)"
        if name == "exp":
            yield from _refused(f"{{ {difference} -m int le {-leeway} }}", "credentials_expired")
        else:
            yield from _refused(f"{{ {difference} -m int gt {leeway} }}")


def _audience(settings: JwtSettings) -> Iterator[str]:
    if settings.audience is None:
        return
    wanted = [settings.audience] if isinstance(settings.audience, str) else settings.audience
    for place in ("aud", *(f"aud[{index}]" for index in range(_ENTRIES))):
        yield f"http-request set-var(txn.meant) bool(true) if {_SHOWN} {equals(_claim(place), *wanted)}"
    yield from _refused("!{ var(txn.meant) -m found }")


def _consumer() -> Iterator[str]:
    """Whose it is, and what that one may do, in the visible ASCII in which services are told."""
    yield from _refused(found_in(_CLAIMS, _NO_NAME))
    yield from _refused(found_in(_CLAIMS, _NO_SCOPES))
    yield f"http-request set-var(txn.unread) bool(true) if {_SHOWN} {found_in(_CLAIMS, _UNREAD)}"
    yield f"http-request set-var(txn.escaped) bool(true) if {_SHOWN} {found_in(_CLAIMS, _ESCAPED)}"
    for name in _NAMES:
        unknown = "!{ var(txn.name) -m found }"
        yield f"http-request set-var(txn.name) {_claim(name)} if {_SHOWN} {unknown} {{ {_claim(name)},length gt 0 }}"
    yield from _encoded("name", "consumer", "^(?!(?i)utf-8')[!-$&-~]+$", 1024)
    for name in _SCOPES:
        here = f"{_SHOWN} !{{ var(txn.listed) -m found }} {found_in(_CLAIMS, _member(name))}"
        several = " ".join(f"%[{_claim(f'{name}[{index}]')}]" for index in range(_ENTRIES))
        said = f"%[{_claim(name)}]{several}".replace("'", "")
        yield f"http-request set-var-fmt(txn.listed) {word(said)} if {here}"
    yield f"http-request set-var(txn.listed) {word('var(txn.listed),regsub([[:space:]]+, ,g),regsub(^ | $,,g)')}"
    yield from _encoded("listed", "scopes", "^[!-$&-~ ]+$", 8192)


def _member(name: str) -> str:
    return f'"{name}"\\s*:'


def _encoded(source: str, target: str, plain: str, most: int) -> Iterator[str]:
    """A text as services are told: as it is, or percent-encoded."""
    there = f"{_SHOWN} {{ var(txn.{source}),length gt 0 }} !{{ var(txn.unread) -m found }}"
    turned = "".join(f",regsub(%{first},|{rest},g)" for first, rest in _LATIN) + ",regsub([|],%,g)"
    variable = f"txn.{target}"
    yield f"http-request set-var({variable}) var(txn.{source}),url_enc if {there}"
    yield f"http-request set-var({variable}) var({variable}){turned} if {there} {{ var(txn.escaped) -m found }}"
    if target == "scopes":
        yield f"http-request set-var({variable}) {word(f'var({variable}),regsub(%20, ,g)')} if {there}"
    yield f"http-request set-var({variable}) var(txn.{source}) if {there} {found_in(f'var(txn.{source})', plain)}"
    yield f"http-request unset-var({variable}) if {{ var({variable}),length gt {most} }}"
