"""JSON Web Tokens in `Authorization: Bearer` (RFC 6750, RFC 7519)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

import jwt

from portico.core.claims import claims_of
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.messages import Fields
from portico.core.printing import printable
from portico.policies.auth.acceptance import (
    AcceptanceSettings,
    InQuery,
    JwtSettings,
    check_claims,
    check_kind,
    consumer_of,
    scopes_of,
)
from portico.policies.auth.binding import Bindings
from portico.policies.auth.identified import Identity, Proved, Verdict, Verified, proving, remembering
from portico.policies.auth.key_sets import KeySets, RemoteKeys
from portico.policies.auth.keys import Key, KeySet, key_set, public_key
from portico.policies.auth.revoked import RevokedTokens
from portico.policies.auth.showing import first_of, in_cookie, taken_parameter
from portico.policies.auth.signed import Signed, signed
from portico.policies.consumer_fields import NameEncoding, consumer_lines
from portico.policies.policy import Context, Pending, Policy

_BELIEVED: Final = 300.0
"""Seconds after which a token is verified again: one that never expires would be trusted for ever."""
HOW: Final = "send one token, as 'Authorization: Bearer TOKEN'"
CHALLENGE: Final = b'WWW-Authenticate: Bearer realm="portico"'
MISSING: Final = Refusal("credentials_missing", HOW, (CHALLENGE,))
_TWICE: Final = Refusal("credentials_missing", "send one token, in one place", (CHALLENGE,))
INVALID: Final = (b'WWW-Authenticate: Bearer realm="portico", error="invalid_token"',)
_UNVERIFIABLE: Final = (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError)
"""What a token that is not valid raises, here or in a library below."""
_EXPIRED: Final = Refusal("credentials_expired", "the token has expired", INVALID)
_REVOKED: Final = Refusal("credentials_invalid", "the token was revoked", INVALID)
_NOT_KNOWN_YET: Final = Refusal(
    "issuer_unavailable", "it is not known yet which tokens were revoked", (b"Retry-After: 1",)
)
_NO_KEYS: Final = Refusal(
    "issuer_unavailable", "the keys of the token's issuer could not be fetched", (b"Retry-After: 5",)
)


def build_jwt(
    settings: JwtSettings,
    encoding: NameEncoding,
    context: Context,
    absent: Answer | None = MISSING,
    *,
    leaves_opaque: bool = False,
    bindings: Bindings = Bindings(),  # noqa: B008 - they only remember what is to be used once
) -> Policy:
    """The method: a valid token identifies its owner, a bad one gets 401, and none `absent`.

    With `leaves_opaque` what does not look like a JWT counts as none.
    Raises ValueError where a file of keys cannot be used.
    """
    bindings = context.state.keep(("bindings", bindings), lambda: bindings)
    revoked = context.state.revoked
    verifier = _Verifier(settings, encoding, context.state.key_sets, bindings, revoked)
    secret = settings.secret.get_secret_value() if settings.secret is not None else ""
    own = verifier.other is not None and verifier.other.is_own
    key = ("jwt", context.scope, settings.model_dump_json(), encoding, secret, verifier.files, bindings, own)
    verified: Verified = context.state.keep(key, Verified)
    revoked.dependent.add(verified)
    for each in verifier.remote:
        each.dependent.add(verified)

    def verify(line: bytes) -> Proved | Awaitable[Proved]:
        """`line` is the field line of the token, or the token alone."""
        try:
            token = signed(token_of(line) if b":" in line else line)
            issuer = verifier.issuer_of(token)
            keys = issuer.keys.matching(token.kid, token.algorithm)
            remote = issuer.keys if isinstance(issuer.keys, RemoteKeys) else None
            may_be_later = remote is not None and _may_be_by_another(token, keys, remote)
        except _UNVERIFIABLE as error:
            return _invalid(error)
        if remote is None or not may_be_later:
            return _unless_revoked(verifier.proved(token, issuer, keys, line), revoked)
        return later(token, issuer, remote, line)

    async def later(token: Signed, issuer: _Issuer, keys: RemoteKeys, line: bytes) -> Proved:
        """The same, once the issuer was asked for a key that it may have published since."""
        await keys.news(token.kid)
        if keys.keys is None:
            return _NO_KEYS
        proved = verifier.proved(token, issuer, keys.matching(token.kid, token.algorithm), line)
        return await _once_known(proved, revoked)

    in_field = _bearer_of_three_parts if leaves_opaque else bearer
    finders = [
        in_field if each == "header" else in_cookie(each.cookie, _TWICE)
        for each in settings.from_
        if not isinstance(each, InQuery)
    ]
    prove = context.state.checks.fairly(proving(verified, verify), verified)
    name = b"authorization" if finders == [in_field] else b""
    by_field = remembering(verified, first_of(finders), prove, absent, name)
    parameters = [each.query.encode() for each in settings.from_ if isinstance(each, InQuery)]
    return by_field if not parameters else _by_query_too(parameters, by_field, prove)


def _by_query_too(
    parameters: list[bytes], by_field: Policy, prove: Callable[[Exchange, bytes, Fields | None], Verdict]
) -> Policy:
    """The same for routes that take tokens in the query, from clients that cannot set fields."""

    def auth(exchange: Exchange) -> Verdict | Pending:
        tokens = [token for name in parameters for token in taken_parameter(exchange, name)]
        if not tokens:
            return by_field(exchange)
        assert exchange.request is not None
        if len(tokens) > 1 or b"authorization" in exchange.request.fields.names:
            return _TWICE  # RFC 6750, section 2
        return prove(exchange, tokens[0], None)

    return auth


def _may_be_by_another(token: Signed, keys: Sequence[Key], remote: RemoteKeys) -> bool:
    """Whether the issuer may have signed a token with a key that is none of these, which match it.

    A token need not name its key where its issuer has one (OpenID Connect Core, section 10.1): then its signature says
    whether that key is still the one.
    """
    is_missing = not keys or (token.kid is None and not token.is_by(keys))
    return is_missing and remote.may_come(token.kid)


def _unless_revoked(proved: Proved, revoked: RevokedTokens) -> Proved | Awaitable[Proved]:
    """The same, unless it was by a token of the gateway's own that was revoked."""
    if not isinstance(proved, Identity) or proved.is_revoked is None:
        return proved
    if not revoked.is_known:
        return _once_known(proved, revoked)
    return _REVOKED if proved.is_revoked() else proved


async def _once_known(proved: Proved, revoked: RevokedTokens) -> Proved:
    """The same where it may not be known yet what was revoked."""
    if not isinstance(proved, Identity) or proved.is_revoked is None:
        return proved
    await revoked.arrival()
    if not revoked.is_known:
        return _NOT_KNOWN_YET
    return _REVOKED if proved.is_revoked() else proved


def _invalid(error: BaseException) -> Refusal:
    return Refusal("credentials_invalid", f"the token is not valid: {_plain(error)}", INVALID)


def bearer(fields: Fields) -> bytes | Answer | None:
    """The line of the one token of a request; of several fields a service may read another than the gateway."""
    line = fields.once(b"authorization")
    if line is None:
        return MISSING if b"authorization" in fields.names else None
    value = line[len(b"authorization:") :].lstrip()[:7].lower()
    return line if value in (b"bearer", b"bearer ") or value[:5] in (b"dpop", b"dpop ") else None


def _bearer_of_three_parts(fields: Fields) -> bytes | Answer | None:
    """The same where it looks like a JWT: all others are left to their issuer."""
    line = bearer(fields)
    return line if not isinstance(line, bytes) or line.count(b".") == 2 else None


def token_of(line: bytes) -> bytes:
    """The token in a field line."""
    return line[len(b"authorization:") :].strip().partition(b" ")[2].strip()


class _Issuer(NamedTuple):
    """Whose tokens are accepted, by which keys, and what else they have to be."""

    settings: AcceptanceSettings
    algorithms: tuple[str, ...]
    keys: KeySet | RemoteKeys
    is_own: bool = False
    """Whether the gateway itself issues them, and knows which it has revoked."""


class _Verifier:
    """Checks a token's signature and claims; this is costly, so its results are cached for a while."""

    def __init__(
        self, settings: JwtSettings, encoding: NameEncoding, sets: KeySets, bindings: Bindings, revoked: RevokedTokens
    ) -> None:
        self.name_encoding = encoding
        self.bindings = bindings
        self.revoked = revoked
        self.files: tuple[bytes, ...] = ()
        """What is in the files of keys."""
        self.remote: list[RemoteKeys] = []
        self.issuers: Mapping[str, _Issuer] = {
            each.issuer: self._issuer(each, each.issuer, sets) for each in settings.issuers
        }
        self.other: _Issuer | None = None
        """Whose tokens those are that name none of these issuers."""
        self.other_name = settings.issuer
        if settings.secret is not None:
            if (problem := settings.short_secret) is not None:
                raise ValueError(f"auth.jwt: {problem}")
            secret = settings.secret.get_secret_value()
            shared = KeySet([Key(secret.encode(), settings.accepted)])
            self.other = _Issuer(settings, settings.accepted, shared, is_own=secret == revoked.secret)
        elif settings.written_sources:
            self.other = self._issuer(settings, settings.issuer, sets)
        elif not settings.issuers:
            raise ValueError("auth.jwt has no secret; set SECRET_KEY or auth.jwt.secret, or name its issuers")

    def _issuer(self, settings: AcceptanceSettings, name: str | None, sets: KeySets) -> _Issuer:
        source = settings.source(name)
        if source is not None:
            keys = sets.of(source)
            self.remote.append(keys)
            return _Issuer(settings, settings.accepted, keys, is_own=settings.own)
        if settings.jwks_file is not None:
            document = settings.jwks_file.read_bytes()
            self.files += (document,)
            return _Issuer(settings, settings.accepted, key_set(document))
        assert settings.public_key_file is not None
        pem = settings.public_key_file.read_bytes()
        self.files += (pem,)
        return _Issuer(settings, settings.accepted, public_key(pem))

    def issuer_of(self, token: Signed) -> _Issuer:
        """Whose token it claims to be. Raises ValueError where that is nobody who is accepted."""
        name = token.claims.get("iss")
        issuer = self.issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            issuer = self.other
            if issuer is None or (self.other_name is not None and name != self.other_name):
                raise ValueError(f"its issuer is not accepted{self._hint(name)}")
        if token.algorithm not in issuer.algorithms:
            raise ValueError("its algorithm is not accepted")
        return issuer

    def _hint(self, name: object) -> str:
        """What is nearly right: it is no secret, for metadata says it."""
        known = [*self.issuers, *([self.other_name] if self.other_name else [])]
        if isinstance(name, str) and any(each.rstrip("/") == name.rstrip("/") for each in known):
            return ": its iss differs from the configured one by a slash at its end"
        return ""

    def proved(self, token: Signed, issuer: _Issuer, keys: Sequence[Key], line: bytes) -> Proved:
        """Who a token names that one of these keys may have signed, or why it is refused."""
        try:
            return self._verified(token, issuer, keys, line)
        except jwt.ExpiredSignatureError:
            return _EXPIRED
        except _UNVERIFIABLE as error:
            return _invalid(error)

    def _verified(self, token: Signed, issuer: _Issuer, keys: Sequence[Key], line: bytes) -> Identity:
        if not keys:
            raise ValueError("its key is none of the issuer's")
        if not token.is_by(keys):
            raise ValueError("its signature is not right")
        check_kind(token.kind, issuer.settings)
        claims_of(line)  # what others read later: here it shows whether it can be read
        now = time.time()
        ends = check_claims(token.claims, issuer.settings, now)
        consumer, scopes = consumer_of(token.claims), scopes_of(token.claims)
        lines = consumer_lines(consumer, scopes, self.name_encoding)
        proof = self.bindings.proof_for(token.claims, line)
        is_revoked = self.revoked.check_of(token.claims, consumer) if issuer.is_own else None
        return Identity(min(ends, now + _BELIEVED), consumer, scopes, lines, line, proof, is_revoked)


def _plain(error: BaseException) -> str:
    text = printable(str(error)) or "it cannot be read"  # the token's own words may be in it
    return (text[:1].lower() + text[1:])[:200]
