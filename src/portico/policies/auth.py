"""Authentication: a JSON Web Token in `Authorization: Bearer` (RFC 6750, RFC 7519)."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import jwt
from pydantic import Field, SecretStr

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.messages import Fields
from portico.core.settings import DurationOrZero, Settings
from portico.policies.counters.generations import Generations
from portico.policies.policy import Context, Policy


class JwtSettings(Settings):
    """How a token is verified.

    `secret` is the shared key (SECRET_KEY fills it in), `algorithms` the only ones accepted (ALGORITHM fills it in):
    a token's own `alg` chooses among them and nothing else. With `require_expiry` a token without `exp` is refused.
    """

    secret: SecretStr | None = None
    algorithms: Annotated[list[Literal["HS256", "HS384", "HS512"]], Field(min_length=1)] = ["HS256"]
    issuer: str | None = None
    audience: str | list[str] | None = None
    leeway: DurationOrZero = 0.0
    required_claims: list[str] = []
    require_expiry: bool = False

    @property
    def lets_tokens_end(self) -> bool:
        """Whether every accepted token expires."""
        return self.require_expiry or "exp" in self.required_claims


class AuthSettings(Settings):
    """The authentication methods; `jwt` is the only one so far."""

    jwt: JwtSettings


_CACHED_TOKENS: Final = 10_000
_BELIEVED: Final = 300.0
"""Seconds after which a token is verified again: one that never expires would be trusted for ever."""
_LATEST: Final = 2**53
"""A later `exp` is as good as none; claims are whole numbers of any size."""
_TOKEN_LIMIT: Final = 8192
_HOW: Final = "send one token, as 'Authorization: Bearer TOKEN'"
_MISSING: Final = (b'WWW-Authenticate: Bearer realm="portico"',)
_INVALID: Final = (b'WWW-Authenticate: Bearer realm="portico", error="invalid_token"',)
_UNSAFE: Final = re.compile(r"[^\x21-\x7e\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified token: its owner, and what is sent to services.

    At `expires`, in seconds since the epoch, it has ended or has to be verified again.
    """

    expires: float
    consumer: str
    scopes: tuple[str, ...]
    lines: tuple[bytes, ...]


def build_auth(settings: AuthSettings, context: Context) -> Policy:
    """The policy: refuses with 401 a client without a valid token."""
    verifier = _Verifier(settings.jwt)
    key = ("jwt", context.scope, settings.model_dump_json(), verifier.secret)
    verified: Generations[bytes, Identity] = context.state.keep(key, lambda: Generations(_CACHED_TOKENS))

    def auth(exchange: Exchange) -> Answer | None:
        assert exchange.request is not None
        fields = exchange.request.fields
        identity = fields.identity if fields.identified_by is verified else None
        if identity is None or identity.expires <= time.time():
            answer = identify(fields)
            if answer is not None:
                return answer
            identity = fields.identity
        exchange.consumer = identity.consumer
        exchange.scopes = identity.scopes
        exchange.request_lines += identity.lines
        return None

    def identify(fields: Fields) -> Answer | None:
        names = fields.names
        if names.count(b"authorization") != 1:
            return Refusal("credentials_missing", _HOW, _MISSING)
        line = fields.lines[names.index(b"authorization")]
        identity = verified.get(line)
        if identity is None or identity.expires <= time.time():
            verified.discard(line)
            scheme, _, token = line[len(b"authorization:") :].strip().partition(b" ")
            if scheme.lower() != b"bearer":
                return Refusal("credentials_missing", _HOW, _MISSING)
            try:
                identity = verifier.verify(token.strip())
            except jwt.ExpiredSignatureError:
                return Refusal("credentials_expired", "the token has expired", _INVALID)
            except (jwt.InvalidTokenError, ValueError) as error:
                return Refusal("credentials_invalid", f"the token is not valid: {_plain(error)}", _INVALID)
            verified.put(line, identity)
        fields.identity = identity
        fields.identified_by = verified
        return None

    return auth


class _Verifier:
    """Checks a token's signature and claims; this is costly, so its results are cached for a while."""

    def __init__(self, settings: JwtSettings) -> None:
        if settings.secret is None:
            raise ValueError("auth.jwt has no secret; set SECRET_KEY or auth.jwt.secret")
        self.secret = settings.secret.get_secret_value()
        self.algorithms = list(settings.algorithms)
        self.settings = settings
        self.decoder = jwt.PyJWT({"require": settings.required_claims, "verify_aud": settings.audience is not None})

    def verify(self, token: bytes) -> Identity:
        """Raises jwt.InvalidTokenError, or ValueError for a token whose claims cannot be used."""
        if len(token) > _TOKEN_LIMIT:
            raise ValueError(f"it is longer than {_TOKEN_LIMIT} bytes")
        settings = self.settings
        claims = self.decoder.decode(
            token,
            self.secret,
            algorithms=self.algorithms,
            audience=settings.audience,
            issuer=settings.issuer,
            leeway=settings.leeway,
        )
        if settings.require_expiry and "exp" not in claims:
            raise ValueError("it has no exp claim, so it would never end")
        consumer = _safe(claims.get("username") or claims.get("preferred_username") or claims.get("sub") or "")
        scopes = _scopes_of(claims)
        lines = []
        if consumer:
            lines.append(b"X-Consumer-Username: " + consumer.encode())
        if scopes:
            lines.append(b"X-Consumer-Scopes: " + " ".join(scopes).encode())
        ends = min(int(claims.get("exp", _LATEST)), _LATEST) + settings.leeway
        return Identity(min(ends, time.time() + _BELIEVED), consumer, scopes, tuple(lines))


def _scopes_of(claims: dict[str, Any]) -> tuple[str, ...]:
    """`scope` is a space-separated string (RFC 8693, section 4.2); `scopes` and lists are common too."""
    value = claims.get("scope", claims.get("scopes", ""))
    scopes = value.split() if isinstance(value, str) else value
    if not isinstance(scopes, list):
        raise ValueError("its scopes are neither text nor a list")
    return tuple(_safe(scope) for scope in scopes)


def _safe(value: Any) -> str:
    """A claim as it can stand in a header field; white space or control bytes in it could forge another."""
    text = str(value)
    if _UNSAFE.search(text) or len(text) > 256:
        raise ValueError("a name or scope in it cannot be put into a header field")
    return text


def _plain(error: Exception) -> str:
    text = str(error)
    return (text[:1].lower() + text[1:])[:200]
