"""Which tokens are accepted: whose, for whom, signed how. Settings, and the checks of claims that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from urllib.parse import urlsplit

import jwt
from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from portico.core.settings import Duration, DurationOrZero, NotEmpty, Settings, plain_secret
from portico.policies.auth.key_sets import OWN_KEYS, KeySource
from portico.policies.auth.keys import PUBLIC, SHARED
from portico.policies.consumer_fields import consumer_name

Algorithm: TypeAlias = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
    "EdDSA", "Ed25519", "Ed448",
]  # fmt: skip

LATEST: Final = 2**53
"""The latest time that a claim may name: JSON has no exact whole numbers beyond it (RFC 8259, section 6)."""
_SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The least size of a key: that of the hash (RFC 7518, section 3.2)."""
_SOURCES: Final = ("jwks_url", "discovery", "jwks_file", "public_key_file", "own")
_PUBLIC_KEYS: Final = (*_SOURCES, "issuers")
_KEYS: Final = (*_PUBLIC_KEYS, "secret")
"""What says by which keys tokens are verified."""
_NOT_EMPTY: Final = NotEmpty("write where the issuer's keys are, or leave it out")


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.fragment or parts.username:
        raise ValueError("expected an address such as https://id.example/jwks.json")
    return text


def _plain_key(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None:
        plain_secret(secret.get_secret_value())
    return secret


class ClaimSettings(Settings):
    """What the claims of a token have to be, whoever vouches for them."""

    audience: Annotated[
        str | list[str] | None, NotEmpty("write the aud that tokens must have, or leave audience out")
    ] = None
    """What `aud` has to contain: one of these."""
    leeway: DurationOrZero = 0.0
    """Tolerance for `exp`, `nbf` and `iat`."""
    required_claims: list[str] = []
    """Claims that must be there."""
    require_expiry: bool = False
    """Whether a token without `exp`, which never ends, is refused: 401, `credentials_invalid`."""


class AcceptanceSettings(ClaimSettings):
    """Where the keys are that sign tokens, and what else those have to be.

    With `own` they are those of the gateway itself, which issues tokens by `gateway.tokens.algorithm`.
    `types` are the values of `typ` that are accepted, beside none: tokens that are made for another purpose say so
    there (RFC 8725, section 3.11).
    """

    jwks_url: Annotated[str | None, _NOT_EMPTY, AfterValidator(lambda url: url and _web_address(url))] = None
    """Where the public keys of the one issuer are, as a JWK Set, in place of `secret`."""
    discovery: Annotated[bool, NotEmpty("write true, or leave it out")] = False
    """Whether the issuer's metadata says where its keys are (OpenID Connect Discovery, RFC 8414), in place of `secret`.
    """
    jwks_file: Annotated[Path | None, _NOT_EMPTY] = None
    """A file with the issuer's public keys as a JWK Set, in place of `secret`."""
    public_key_file: Annotated[Path | None, _NOT_EMPTY] = None
    """A PEM file with the issuer's public key or certificate, in place of `secret`."""
    own: Annotated[bool, NotEmpty("write true, or leave it out")] = False
    """The keys are the gateway's own, which is the default where it has some."""
    refresh: Duration = 300.0
    """How often the keys at a `jwks_url` or by `discovery` are fetched anew."""
    algorithms: Annotated[list[Algorithm] | None, Field(min_length=1)] = None
    """With a secret of `HS256`, `HS384`, `HS512`; with public keys of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`,
    `PS512`, `ES256`, `ES384`, `ES512`, `Ed25519`, `Ed448`, `EdDSA`. No other is accepted.
    """
    types: list[str] = ["JWT", "at+jwt"]
    """The values of `typ` that are accepted, beside none at all: a token that was made for another purpose says so
    there (RFC 8725, section 3.11).
    """

    @property
    def lets_tokens_end(self) -> bool:
        """Whether every accepted token expires."""
        return self.require_expiry or "exp" in self.required_claims

    @property
    def written_sources(self) -> list[str]:
        """The keys that say where the issuer's keys are."""
        return [name for name in _SOURCES if getattr(self, name)]

    @property
    def accepted(self) -> tuple[str, ...]:
        """The names of the algorithms that are accepted."""
        return tuple(self.algorithms or PUBLIC)

    @model_validator(mode="after")
    def _keys_are_in_one_place(self) -> Self:
        if len(sources := self.written_sources) > 1:
            raise ValueError(f"{' and '.join(sources)} both say where the keys are: write one of them")
        return self

    @field_validator("algorithms")
    @classmethod
    def _go_with_the_keys(cls, written: list[str] | None, info: ValidationInfo) -> list[str] | None:
        public = "issuer" in cls.model_fields and cls.model_fields["issuer"].is_required()
        public = public or any(info.data.get(name) for name in _SOURCES)
        for algorithm in written or ():
            if public and algorithm in SHARED:
                raise ValueError(f"{algorithm} has a shared secret, and no public key: write secret in place of one")
            if not public and algorithm not in SHARED:
                raise ValueError(
                    f"{algorithm} has a public key, and no secret: name the issuer with discovery, jwks_url, jwks_file "
                    "or public_key_file"
                )
        return written

    def source(self, issuer: str | None) -> KeySource | None:
        """Where the keys are fetched; None where they are a file."""
        if self.own:
            return OWN_KEYS
        if self.jwks_url is not None:
            return KeySource(self.jwks_url)
        return KeySource(issuer, issuer) if self.discovery and issuer else None


_Shown: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.~-]+$", max_length=100)]


class InCookie(Settings):
    """A token in a cookie, which browsers send without being asked: see docs/tokens.md."""

    cookie: _Shown
    """The cookie that has the token."""


class InQuery(Settings):
    """A token in a parameter of the query, for clients that cannot set fields; the service does not get it."""

    query: _Shown
    """The parameter that has the token."""


class IssuerSettings(AcceptanceSettings):
    """One of several issuers of tokens: `issuer` is what `iss` has to be, to the letter."""

    issuer: str
    """What `iss` of its tokens has to be, to the letter."""

    @model_validator(mode="after")
    def _has_keys(self) -> Self:
        if not self.written_sources:
            raise ValueError("where are its keys? Write discovery: true, jwks_url, jwks_file or public_key_file")
        if self.discovery:
            _web_address(self.issuer)
        return self


class JwtSettings(AcceptanceSettings):
    """Which tokens are accepted: those signed with a secret, those of one issuer, or those of several.

    `secret` is the shared key (SECRET_KEY fills it in), `algorithms` the only ones accepted (ALGORITHM fills it in):
    a token's own `alg` chooses among them and nothing else. With `require_expiry` a token without `exp` is refused.
    """

    secret: Annotated[SecretStr | None, AfterValidator(_plain_key)] = None
    """The shared key, without white space around it, control characters and line ends; as long as the hash of the
    strongest of `algorithms`: 32, 48 or 64 bytes (RFC 7518, section 3.2). Needed where no public keys are named.
    """
    issuer: Annotated[str | None, NotEmpty("write the iss that tokens must have, or leave issuer out")] = None
    """What `iss` has to be, to the letter."""
    issuers: Annotated[list[IssuerSettings], Field(max_length=100)] = []
    """Several issuers, side by side, each with its keys and with what its tokens have to be."""
    from_: Annotated[list[Literal["header"] | InCookie | InQuery], Field(alias="from", min_length=1)] = ["header"]
    """Where the token is, the first place that has one: `header` (`Authorization`), a cookie, a parameter of the query,
    which does not go on to the service.
    """

    @property
    def accepted(self) -> tuple[str, ...]:
        """The names of the algorithms that are accepted."""
        return tuple(self.algorithms or (PUBLIC if self.written_sources else ("HS256",)))

    @property
    def is_complete(self) -> bool:
        """Whether it says with which keys tokens are verified."""
        return self.secret is not None or bool(self.issuers or self.written_sources)

    @property
    def short_secret(self) -> str | None:
        """What is wrong with a secret that is shorter than the hash of an algorithm; None where it is long enough."""
        if self.secret is None:
            return None
        size = len(self.secret.get_secret_value().encode())
        algorithm = max(self.accepted, key=lambda name: _SECRET_BYTES.get(name, 0))
        needed = _SECRET_BYTES[algorithm]
        if size >= needed:
            return None
        has = f"this one has {size}; openssl rand -hex {needed // 2} makes one"
        return f"{algorithm} needs a secret of {needed} bytes or more (RFC 7518, section 3.2), {has}"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if sources := self.written_sources:
            if self.secret is not None:
                raise ValueError(f"secret and {sources[0]} both say which key signs tokens: write one of them")
            if self.discovery and self.issuer is None:
                raise ValueError("discovery needs the issuer: write issuer: https://id.example")
            if self.discovery and self.issuer is not None:
                _web_address(self.issuer)
        names = [each.issuer for each in self.issuers] + ([self.issuer] if self.issuer else [])
        if (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
            raise ValueError(f"the issuer {twice} is written twice")
        return self


def jwt_over(own: Any, base: Any) -> Any:
    """What is left of `jwt` of the levels above where one level says where keys are."""
    if isinstance(own, dict) and isinstance(base, dict) and not own.keys().isdisjoint(_KEYS):
        others = set(_KEYS) if "secret" in own and base.keys().isdisjoint(_PUBLIC_KEYS) else {*_KEYS, "algorithms"}
        return {name: value for name, value in base.items() if name not in others}
    return base


def check_claims(claims: dict[str, Any], settings: ClaimSettings, now: float) -> float:
    """When a token with these claims ends. Raises ValueError, or jwt.ExpiredSignatureError where it has ended."""
    for name in settings.required_claims:
        if claims.get(name) is None:
            raise ValueError(f"it has no {name} claim")
    if settings.require_expiry and "exp" not in claims:
        raise ValueError("it has no exp claim, so it would never end")
    _check_audience(claims.get("aud"), settings.audience)
    if _time_of(claims, "nbf", now) > now + settings.leeway or _time_of(claims, "iat", now) > now + settings.leeway:
        raise ValueError("it is not valid yet")
    ends = _time_of(claims, "exp", LATEST) + settings.leeway
    if ends <= now:
        raise jwt.ExpiredSignatureError
    return ends


def check_kind(kind: str | None, settings: AcceptanceSettings) -> None:
    """Raises ValueError for a token that was made for something else, as its `typ` says."""
    if kind is None:
        return
    kind = kind.lower().removeprefix("application/")
    if kind not in {each.lower().removeprefix("application/") for each in settings.types}:
        raise ValueError("it is of another type: its typ is none of those that are accepted")


def _check_audience(said: Any, wanted: str | list[str] | None) -> None:
    if wanted is None:
        return
    said = [said] if isinstance(said, str) else said
    if not isinstance(said, list) or not all(isinstance(each, str) for each in said):
        raise ValueError("it has no aud claim, or one that is neither text nor a list of texts")
    if not set(said) & set([wanted] if isinstance(wanted, str) else wanted):
        raise ValueError("it is for somebody else: its aud is none of those that are accepted")


def _time_of(claims: dict[str, Any], name: str, otherwise: float) -> float:
    """A NumericDate (RFC 7519, section 2), which is a number and nothing that can be taken for one."""
    value = claims.get(name, otherwise)
    if type(value) not in (int, float) or not 0 <= value <= LATEST:
        raise ValueError(f"its {name} is not a time in seconds")
    return float(value)


def consumer_of(claims: dict[str, Any]) -> str:
    """The first of these claims that is there, and text; else empty. Raises ValueError."""
    for name in ("username", "preferred_username", "sub"):
        value = claims.get(name)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"its {name} is not text")
        if value:
            return consumer_name(value)
    return ""


def scopes_of(claims: dict[str, Any]) -> tuple[str, ...]:
    """`scope` is a space-separated string (RFC 8693, section 4.2); `scopes`, `scp` and lists are common too."""
    value = next((claims[name] for name in ("scope", "scopes", "scp") if name in claims), "")
    scopes = value.split() if isinstance(value, str) else value
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise ValueError("its scopes are neither text nor a list of texts")
    if any(scope.split() not in ([], [scope]) for scope in scopes):
        raise ValueError("a scope in it has white space")
    return tuple(map(consumer_name, filter(None, scopes)))
