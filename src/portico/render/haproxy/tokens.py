"""JSON Web Tokens: signature, times, issuer and audience, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portico.policies.auth.acceptance import JwtSettings
from portico.policies.auth.keys import KeySet, key_set, public_key
from portico.render.expressions import literal
from portico.render.haproxy.answers import problem
from portico.render.haproxy.names import Names
from portico.render.haproxy.text import equals, found_in

_ALGORITHMS: Final = ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""Those that HAProxy 2.6 verifies."""
_AUDIENCES: Final = 8
"""Entries of a list in `aud` that are looked at: HAProxy asks for one after the other."""
SECRETS: Final = "secrets.map"
"""The file with shared keys: it alone is not for others' eyes."""
_NO_NUMBER: Final = r'"(exp|nbf|iat)"\s*:\s*[^0-9\s]'
"""A time that is none: HAProxy would take digits in quotes for a number."""
_SENT: Final = "var(txn.token)"
_INVALID: Final = ("WWW-Authenticate", 'Bearer realm="portico", error="invalid_token"')
_MISSING: Final = ("WWW-Authenticate", 'Bearer realm="portico"')
_TIMES: Final = ("exp", "nbf", "iat")
_NAMES: Final = ("username", "preferred_username", "sub")


class TokenError(Exception):
    """HAProxy cannot check such tokens."""


def token_lines(names: Names, settings: JwtSettings) -> Iterator[str]:
    """The lines that check a token and say whose it is. Raises TokenError."""
    if settings.from_ != ["header"]:
        raise TokenError("HAProxy looks for tokens in Authorization alone")
    if settings.issuers:
        raise TokenError("HAProxy has one issuer of tokens")
    if settings.jwks_url is not None or settings.discovery or settings.own:
        raise TokenError("HAProxy fetches no keys")
    if not settings.secret and not settings.written_sources:
        raise TokenError("HAProxy has no keys for these tokens")
    verified = [*_verified(names, settings)]
    if not verified:
        raise TokenError("HAProxy verifies HS, RS and ES signatures, and has no such key here")
    shown = "{ var(txn.shown) -m str jwt }"
    bearer = found_in("req.fhdr(Authorization)", "(?i)^bearer +[^ ]")
    twice = problem(401, "credentials_missing", _MISSING)
    refused = problem(401, "credentials_invalid", _INVALID)
    ended = problem(401, "credentials_expired", _INVALID)
    yield f"{twice} if {bearer} {{ req.fhdr_cnt(Authorization) gt 1 }}"
    yield f"http-request set-var(txn.shown) str(jwt) if {bearer}"
    yield f"http-request set-var(txn.token) http_auth_bearer if {shown}"
    yield f"http-request set-var(txn.claims) {_SENT},field(2,.),ub64dec if {shown}"
    for key in dict.fromkeys(key for _, key in verified if key.startswith("txn.")):
        yield f"http-request set-var({key}) str({key.removeprefix('txn.')}),map_str({SECRETS}) if {shown}"
    for algorithm, key in verified:
        fits = equals(_header("alg"), algorithm)
        yield f"http-request set-var(txn.verified) {_SENT},jwt_verify({algorithm},{key}) if {shown} {fits}"
        yield "http-request set-var(txn.trusted) bool(true) if { var(txn.verified) -m int 1 }"
    yield f"{refused} if {shown} !{{ var(txn.trusted) -m found }}"
    kinds = [each.lower().removeprefix("application/") for each in settings.types]
    kind = f"{_SENT},jwt_header_query('$.typ'),lower"
    known = equals(kind, *kinds, *(f"application/{each}" for each in kinds)) if kinds else "{ always_false }"
    yield f"{refused} if {shown} {{ {kind} -m found }} !{known}"
    critical = found_in(f"{_SENT},field(1,.),ub64dec", '"(crit|b64)"')
    yield f"{refused} if {shown} {critical}"
    yield from _times(settings, shown, refused, ended)
    for name in settings.required_claims:
        yield f"{refused} if {shown} !{found_in('var(txn.claims)', _member(name))}"
    if settings.issuer is not None:
        yield f"{refused} if {shown} !{equals(_claim('iss'), settings.issuer)}"
    yield from _audience(settings, shown, refused)
    yield from _consumer(shown)


def _verified(names: Names, settings: JwtSettings) -> Iterator[tuple[str, str]]:
    """Pairs of an algorithm and a key, as the arguments of `jwt_verify`."""
    accepted = [each for each in settings.accepted if each in _ALGORITHMS]
    if settings.secret is not None:
        secret = settings.secret.get_secret_value()
        known, is_new = names.once(("secret", secret), "token_key")
        if is_new:
            names.files[SECRETS] = names.files.get(SECRETS, "") + f"{known} {secret}\n"
        for algorithm in accepted:
            yield algorithm, f"txn.{known}"
        return
    for index, key in enumerate(_keys(names, settings).keys):
        if not isinstance(key.material, RSAPublicKey | EllipticCurvePublicKey):
            continue
        fitting = [algorithm for algorithm in accepted if algorithm in key.algorithms]
        if fitting:
            pem = key.material.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            known, is_new = names.once(("key", pem), f"token-key-{index + 1}")
            if is_new:
                names.files[f"{known}.pem"] = pem
            for algorithm in fitting:
                yield algorithm, f"{known}.pem"


def _keys(names: Names, settings: JwtSettings) -> KeySet:
    file = settings.jwks_file or settings.public_key_file
    assert file is not None
    try:
        content = _content(names, file)
        return key_set(content) if settings.jwks_file is not None else public_key(content)
    except (OSError, ValueError) as error:
        raise TokenError(f"{file} cannot be read: {error}") from None


def _content(names: Names, file: Path) -> bytes:
    return names.config.files.get(file) or file.read_bytes()


def _header(name: str) -> str:
    return f"{_SENT},jwt_header_query('$.{name}')"


def _claim(name: str, kind: str = "") -> str:
    return f"{_SENT},jwt_payload_query('$.{name}'{kind and f',{kind!r}'})"


def _member(name: str) -> str:
    """An expression for a claim that is there, and not null. One of an object within counts, too: it is no guard."""
    return f'"{literal(name)}"\\s*:\\s*[^\\sn]'


def _times(settings: JwtSettings, shown: str, refused: str, ended: str) -> Iterator[str]:
    leeway = int(settings.leeway)
    yield f"{refused} if {shown} {found_in('var(txn.claims)', _NO_NUMBER)}"
    if settings.require_expiry:
        yield f"{refused} if {shown} !{{ {_claim('exp', 'int')} -m found }}"
    yield "http-request set-var(txn.clock) date"
    for name in _TIMES:
        difference = f"{_claim(name, 'int')},sub(txn.clock)"
        if name == "exp":
            yield f"{ended} if {shown} {{ {difference} -m int le {-leeway} }}"
        else:
            yield f"{refused} if {shown} {{ {difference} -m int gt {leeway} }}"


def _audience(settings: JwtSettings, shown: str, refused: str) -> Iterator[str]:
    if settings.audience is None:
        return
    wanted = [settings.audience] if isinstance(settings.audience, str) else settings.audience
    for place in ("aud", *(f"aud[{index}]" for index in range(_AUDIENCES))):
        yield f"http-request set-var(txn.meant) bool(true) if {shown} {equals(_claim(place), *wanted)}"
    yield f"{refused} if {shown} !{{ var(txn.meant) -m found }}"


def _consumer(shown: str) -> Iterator[str]:
    """Whose it is: a name beyond ASCII that is written by escapes is left out, which HAProxy does not decode."""
    unknown = "!{ var(txn.name) -m found }"
    for name in _NAMES:
        yield f"http-request set-var(txn.name) {_claim(name)} if {shown} {unknown} {{ {_claim(name)},length gt 0 }}"
    clear = "!" + found_in("var(txn.claims)", r'"(?:username|preferred_username|sub)"\s*:\s*"[^"]*\\u')
    as_it_is = found_in("var(txn.name)", "^(?!(?i)utf-8')[!-$&-~]{1,1024}$")
    yield f"http-request set-var(txn.consumer) var(txn.name),url_enc if {shown} {clear}"
    yield f"http-request set-var(txn.consumer) var(txn.name) if {shown} {clear} {as_it_is}"
    scopes = _claim("scope")
    words = found_in(scopes, "^[!-$&-~ ]{1,8192}$")
    yield f"http-request set-var(txn.scopes) {scopes} if {shown} {words}"
