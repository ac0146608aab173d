"""JSON Web Tokens in `Authorization: Bearer` (RFC 6750, RFC 7519)."""

from __future__ import annotations

import time
from binascii import a2b_base64, b2a_base64
from typing import Annotated, Any, Final, Literal

import jwt
from pydantic import AfterValidator, Field, SecretStr

from portico.core.claims import claims_of, json_of
from portico.core.errors import Answer, Refusal
from portico.core.messages import Fields
from portico.core.printing import printable
from portico.core.settings import DurationOrZero, NotEmpty, Settings, plain_secret
from portico.policies.auth.identified import Identity, Proved, Verified, by_line
from portico.policies.consumer_fields import NameEncoding, consumer_lines, consumer_name
from portico.policies.policy import Context, Policy


def _plain_key(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None:
        plain_secret(secret.get_secret_value())
    return secret


class JwtSettings(Settings):
    """How a token is verified.

    `secret` is the shared key (SECRET_KEY fills it in), `algorithms` the only ones accepted (ALGORITHM fills it in):
    a token's own `alg` chooses among them and nothing else. With `require_expiry` a token without `exp` is refused.
    """

    secret: Annotated[SecretStr | None, AfterValidator(_plain_key)] = None
    algorithms: Annotated[list[Literal["HS256", "HS384", "HS512"]], Field(min_length=1)] = ["HS256"]
    issuer: Annotated[str | None, NotEmpty("write the iss that tokens must have, or leave issuer out")] = None
    audience: Annotated[
        str | list[str] | None, NotEmpty("write the aud that tokens must have, or leave audience out")
    ] = None
    leeway: DurationOrZero = 0.0
    required_claims: list[str] = []
    require_expiry: bool = False

    @property
    def lets_tokens_end(self) -> bool:
        """Whether every accepted token expires."""
        return self.require_expiry or "exp" in self.required_claims

    @property
    def short_secret(self) -> str | None:
        """What is wrong with a secret that is shorter than the hash of an algorithm; None where it is long enough."""
        if self.secret is None:
            return None
        size = len(self.secret.get_secret_value().encode())
        algorithm = max(self.algorithms, key=lambda name: _SECRET_BYTES[name])
        needed = _SECRET_BYTES[algorithm]
        if size >= needed:
            return None
        has = f"this one has {size}; openssl rand -hex {needed // 2} makes one"
        return f"{algorithm} needs a secret of {needed} bytes or more (RFC 7518, section 3.2), {has}"


_SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The least size of a key: that of the hash (RFC 7518, section 3.2)."""

_BELIEVED: Final = 300.0
"""Seconds after which a token is verified again: one that never expires would be trusted for ever."""
_LATEST: Final = 2**53
"""The latest time that a claim may name: JSON has no exact whole numbers beyond it (RFC 8259, section 6)."""
_TOKEN_LIMIT: Final = 8192
HOW: Final = "send one token, as 'Authorization: Bearer TOKEN'"
CHALLENGE: Final = b'WWW-Authenticate: Bearer realm="portico"'
MISSING: Final = Refusal("credentials_missing", HOW, (CHALLENGE,))
_INVALID: Final = (b'WWW-Authenticate: Bearer realm="portico", error="invalid_token"',)
_TO_BASE64: Final = bytes.maketrans(b"-_+/", b"+/??")
_UNVERIFIABLE: Final = (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError)
"""What a token that is not valid makes PyJWT, or the standard library below it, raise."""


def build_jwt(
    settings: JwtSettings, encoding: NameEncoding, context: Context, absent: Answer | None = MISSING
) -> Policy:
    """The method: a valid token identifies its owner, a bad one gets 401, and none `absent`."""
    verifier = _Verifier(settings, encoding)
    key = ("jwt", context.scope, settings.model_dump_json(), encoding, verifier.secret)

    def verify(line: bytes) -> Proved:
        try:
            return verifier.verify(line[len(b"authorization:") :].strip().partition(b" ")[2].strip(), line)
        except jwt.ExpiredSignatureError:
            return Refusal("credentials_expired", "the token has expired", _INVALID)
        except _UNVERIFIABLE as error:
            return Refusal("credentials_invalid", f"the token is not valid: {_plain(error)}", _INVALID)

    return by_line(context.state.keep(key, Verified), _bearer, verify, absent)


def _bearer(fields: Fields) -> bytes | Answer | None:
    """The line of the one token of a request; of several fields a service may read another than the gateway."""
    names = fields.names
    count = names.count(b"authorization")
    if count != 1:
        return MISSING if count else None
    line = fields.lines[names.index(b"authorization")]
    return line if line[len(b"authorization:") :].lstrip()[:7].lower() in (b"bearer", b"bearer ") else None


class _Verifier:
    """Checks a token's signature and claims; this is costly, so its results are cached for a while."""

    def __init__(self, settings: JwtSettings, encoding: NameEncoding) -> None:
        if settings.secret is None:
            raise ValueError("auth.jwt has no secret; set SECRET_KEY or auth.jwt.secret")
        if (problem := settings.short_secret) is not None:
            raise ValueError(f"auth.jwt: {problem}")
        self.secret = settings.secret.get_secret_value()
        self.algorithms = list(settings.algorithms)
        self.settings = settings
        self.name_encoding = encoding
        self.decoder = jwt.PyJWT(
            {
                "require": self.settings.required_claims,
                "verify_aud": self.settings.audience is not None,
                "verify_exp": False,  # `_end_of` is stricter
                "verify_iat": False,
                "verify_nbf": False,
            }
        )

    def verify(self, token: bytes, line: bytes) -> Identity:
        """Who a token names. Raises one of `_UNVERIFIABLE`; jwt.ExpiredSignatureError where the token has ended."""
        if len(token) > _TOKEN_LIMIT:
            raise ValueError(f"it is longer than {_TOKEN_LIMIT} bytes")
        if not all(map(_is_base64url, token.split(b"."))):
            raise ValueError("its parts are not base64url without padding (RFC 7515, section 2)")
        settings = self.settings
        claims = self.decoder.decode(
            token, self.secret, algorithms=self.algorithms, audience=settings.audience, issuer=settings.issuer
        )
        json_of(token.partition(b".")[0])
        claims_of(token)  # what others read later: here it shows whether it can be read
        if settings.require_expiry and "exp" not in claims:
            raise ValueError("it has no exp claim, so it would never end")
        now = time.time()
        ends = _end_of(claims, now, settings.leeway)
        consumer, scopes = _consumer_of(claims), _scopes_of(claims)
        lines = consumer_lines(consumer, scopes, self.name_encoding)
        return Identity(min(ends, now + _BELIEVED), consumer, scopes, lines, line)


def _is_base64url(part: bytes) -> bool:
    """Whether this is the one way to write some bytes: PyJWT skips padding and characters of other alphabets."""
    standard = part.translate(_TO_BASE64)
    try:
        decoded = a2b_base64(standard + b"=" * (-len(part) % 4), strict_mode=True)
    except ValueError:
        return False
    return b2a_base64(decoded, newline=False).rstrip(b"=") == standard


def _end_of(claims: dict[str, Any], now: float, leeway: float) -> float:
    """When a token ends. Raises ValueError where its times are not valid, or not yet."""
    if _time_of(claims, "nbf", now) > now + leeway or _time_of(claims, "iat", now) > now + leeway:
        raise ValueError("it is not valid yet")
    ends = _time_of(claims, "exp", _LATEST) + leeway
    if ends <= now:
        raise jwt.ExpiredSignatureError
    return ends


def _time_of(claims: dict[str, Any], name: str, otherwise: float) -> float:
    """A NumericDate (RFC 7519, section 2), which is a number and nothing that can be taken for one."""
    value = claims.get(name, otherwise)
    if type(value) not in (int, float) or not 0 <= value <= _LATEST:
        raise ValueError(f"its {name} is not a time in seconds")
    return float(value)


def _consumer_of(claims: dict[str, Any]) -> str:
    """The first of these claims that is there, and text; else empty."""
    for name in ("username", "preferred_username", "sub"):
        value = claims.get(name)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"its {name} is not text")
        if value:
            return consumer_name(value)
    return ""


def _scopes_of(claims: dict[str, Any]) -> tuple[str, ...]:
    """`scope` is a space-separated string (RFC 8693, section 4.2); `scopes` and lists are common too."""
    value = claims.get("scope", claims.get("scopes", ""))
    scopes = value.split() if isinstance(value, str) else value
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise ValueError("its scopes are neither text nor a list of texts")
    if any(scope.split() not in ([], [scope]) for scope in scopes):
        raise ValueError("a scope in it has white space")
    return tuple(map(consumer_name, filter(None, scopes)))


def _plain(error: BaseException) -> str:
    text = printable(str(error)) or "it cannot be read"  # the token's own words may be in it
    return (text[:1].lower() + text[1:])[:200]
