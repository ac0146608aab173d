"""Authentication: who asks, proved in one of several ways, each of which is a file here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BeforeValidator, model_validator

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.settings import NotEmpty, Settings
from portico.policies.auth import api_keys, basic, client_certificates, forward, introspection, tokens
from portico.policies.auth.acceptance import JwtSettings, jwt_over
from portico.policies.auth.api_keys import ApiKeySettings, api_key_over, build_api_key
from portico.policies.auth.basic import BasicSettings, build_basic, without_passwords
from portico.policies.auth.binding import Bindings
from portico.policies.auth.client_certificates import ClientCertificateSettings, build_client_certificate
from portico.policies.auth.forward import ForwardSettings, build_forward
from portico.policies.auth.identified import ABSENT
from portico.policies.auth.introspection import IntrospectionSettings, build_introspection, introspection_over
from portico.policies.auth.resource import ResourceSettings, pointing, with_metadata
from portico.policies.auth.tokens import build_jwt
from portico.policies.auth.withheld import withholding
from portico.policies.consumer_fields import NameEncoding
from portico.policies.policy import Context, Pending, Policy


def _on_or_off(value: Any) -> Any:
    return None if value is False else {} if value is True else value


def _unless_off(value: Any) -> Any:
    return None if value is False else value


class AuthSettings(Settings):
    """The authentication methods: the first for which a request shows credentials decides, in the order of these keys.

    With `optional` a request without any goes on as nobody's; one with bad ones never does. `name_encoding` is how
    names beyond visible ASCII stand in `X-Consumer-Username` and `X-Consumer-Scopes`. `resource` is what clients
    without a token are told of who issues some.
    """

    jwt: Annotated[
        JwtSettings | None,
        BeforeValidator(_on_or_off, json_schema_input_type=JwtSettings | bool),
        NotEmpty("write jwt: {}"),
    ] = None
    """JSON Web Tokens: signed with a secret, or by issuers that publish their keys."""
    api_key: Annotated[
        ApiKeySettings | None,
        BeforeValidator(_on_or_off, json_schema_input_type=ApiKeySettings | bool),
        NotEmpty("write api_key: {}"),
    ] = None
    """API keys of consumers, by a field or a parameter of the query."""
    basic: Annotated[
        BasicSettings | None,
        BeforeValidator(_on_or_off, json_schema_input_type=BasicSettings | bool),
        NotEmpty("write basic: {}"),
    ] = None
    """Names and passwords of consumers (RFC 7617)."""
    introspection: Annotated[
        IntrospectionSettings | None,
        BeforeValidator(_unless_off, json_schema_input_type=IntrospectionSettings | Literal[False]),
        NotEmpty("write introspection: {url: https://id.example/introspect, client_id: …, client_secret: …}"),
    ] = None
    """Tokens that only their issuer can read: it is asked (RFC 7662)."""
    client_certificate: Annotated[
        ClientCertificateSettings | None,
        BeforeValidator(_on_or_off, json_schema_input_type=ClientCertificateSettings | bool),
        NotEmpty("write client_certificate: {}"),
    ] = None
    """Certificates of clients, by their names in `consumers`."""
    forward: Annotated[
        ForwardSettings | None,
        BeforeValidator(_unless_off, json_schema_input_type=ForwardSettings | Literal[False]),
        NotEmpty("write forward: {url: http://auth:9000/check}"),
    ] = None
    """A service that is asked who may come in."""
    resource: Annotated[ResourceSettings | None, NotEmpty("write resource: {url: https://gw.example/api/mcp}")] = None
    """What clients without a token are told of who issues some (RFC 9728)."""
    optional: bool = False
    """Whether a request without credentials goes on, with no consumer. One with credentials that are not valid gets 401
    all the same. Not beside `forward`.
    """
    name_encoding: NameEncoding = "percent"
    """How names beyond visible ASCII are written in `X-Consumer-Username` and `X-Consumer-Scopes`."""

    @model_validator(mode="after")
    def _has_a_method(self) -> Self:
        if not self.methods:
            raise ValueError(
                "no way to prove who asks is on: write "
                + " or ".join(f"{name}: {method.settings}" for name, method in _METHODS.items())
            )
        if self.optional and self.forward is not None:
            raise ValueError(
                "optional has no meaning beside forward, whose service decides on every request: have it answer 200 to "
                "those that may pass without credentials"
            )
        return self

    @model_validator(mode="after")
    def _has_one_bearer(self) -> Self:
        tokens = [name for name in ("jwt", "introspection") if getattr(self, name) is not None]
        if self.api_key is not None and self.api_key.bearer and tokens:
            raise ValueError(f"api_key.bearer: what comes as Bearer is for {tokens[0]}; name a header for keys")
        return self

    @model_validator(mode="after")
    def _says_who_issues_tokens(self) -> Self:
        if self.resource is None:
            return self
        if self.jwt is None and self.introspection is None:
            raise ValueError("resource says where tokens are issued, and none are accepted: leave it out")
        if not self.resource.authorization_servers and not self.issuers:
            raise ValueError("resource does not say who issues tokens: write authorization_servers in it")
        return self

    @property
    def issuers(self) -> list[str]:
        """The issuers of tokens whose addresses are known."""
        jwt, introspection = self.jwt, self.introspection
        own = [] if jwt is None else [jwt.issuer, *(each.issuer for each in jwt.issuers)]
        own += [] if introspection is None else [introspection.issuer]
        return [each for each in dict.fromkeys(own) if each is not None and each.startswith(("https://", "http://"))]

    @property
    def knows_consumers(self) -> bool:
        """Whether who comes in depends on what is written of consumers."""
        return any(each is not None for each in (self.api_key, self.basic, self.client_certificate))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that are on, in the order in which they are asked."""
        return tuple(name for name in _METHODS if getattr(self, name) is not None)

    @property
    def bindings(self) -> Bindings:
        """How tokens are checked that are bound to a key."""
        from_proxies = self.client_certificate is not None and self.client_certificate.from_proxies
        return Bindings(from_proxies, self.resource.origin.encode() if self.resource is not None else b"")

    @property
    def withheld_fields(self) -> tuple[str, ...]:
        """The header fields of clients that do not go on to the service: credentials, and what only others may say."""
        key = (self.api_key.field,) if self.api_key is not None and self.api_key.field is not None else ()
        return (*key, *self.forward.pass_headers) if self.forward is not None else key

    @property
    def withheld_parameters(self) -> tuple[str, ...]:
        """The same of the query."""
        return (self.api_key.query,) if self.api_key is not None and self.api_key.query is not None else ()


class _Method(NamedTuple):
    """How a method is built, and how its credentials are asked for: in a sentence, and in `WWW-Authenticate`.

    It is built with the verdict for requests that show none of its credentials. The sentence may name parts of the
    settings, which are `auth` there.
    """

    build: Callable[[AuthSettings, Context, Answer | None], Policy]
    how: str
    challenge: bytes
    settings: str = "{}"
    """The least that turns it on."""


def _build_jwt(settings: AuthSettings, context: Context, absent: Answer | None) -> Policy:
    assert settings.jwt is not None
    leaves_opaque = settings.introspection is not None
    own = settings.jwt, settings.name_encoding, context, absent
    method = build_jwt(*own, leaves_opaque=leaves_opaque, bindings=settings.bindings)
    return pointing(method, settings.resource, absent)


def _build_introspection(settings: AuthSettings, context: Context, absent: Answer | None) -> Policy:
    assert settings.introspection is not None
    method = build_introspection(settings.introspection, settings.name_encoding, context, absent, settings.bindings)
    return pointing(method, settings.resource, absent)


def _build_forward(settings: AuthSettings, context: Context, absent: Answer | None) -> Policy:  # noqa: ARG001
    """Nothing is absent: the service decides on every request."""
    assert settings.forward is not None
    return build_forward(settings.forward, settings.name_encoding, context)


def _build_api_key(settings: AuthSettings, context: Context, absent: Answer | None) -> Policy:
    assert settings.api_key is not None
    return build_api_key(settings.api_key, settings.name_encoding, context, absent)


def _build_basic(settings: AuthSettings, context: Context, absent: Answer | None) -> Policy:
    assert settings.basic is not None
    return build_basic(settings.basic, settings.name_encoding, context, absent)


def _build_client_certificate(settings: AuthSettings, context: Context, absent: Answer | None) -> Policy:
    assert settings.client_certificate is not None
    return build_client_certificate(settings.client_certificate, settings.name_encoding, context, absent)


_METHODS: Final = {
    "jwt": _Method(_build_jwt, tokens.HOW, tokens.CHALLENGE),
    "api_key": _Method(_build_api_key, api_keys.HOW, api_keys.CHALLENGE),
    "basic": _Method(_build_basic, basic.HOW, basic.CHALLENGE),
    "introspection": _Method(_build_introspection, introspection.HOW, introspection.CHALLENGE, "{url: …}"),
    "client_certificate": _Method(_build_client_certificate, client_certificates.HOW, client_certificates.CHALLENGE),
    "forward": _Method(_build_forward, forward.HOW, b"", "{url: …}"),
}
"""In the order in which they are asked."""


def build_auth(settings: AuthSettings, context: Context) -> Policy:
    """The policy: refuses with 401 who proves nothing, or what is not true."""
    policy = _methods(settings, context)
    if settings.basic is not None:
        policy = without_passwords(policy)
    if settings.withheld_fields or settings.withheld_parameters:
        return withholding(policy, settings.withheld_fields, settings.withheld_parameters)
    return policy


def _methods(settings: AuthSettings, context: Context) -> Policy:
    methods = [_METHODS[name] for name in settings.methods]
    missing = None if settings.optional else missing_credentials(settings)
    if len(methods) == 1:
        return methods[0].build(settings, context, missing)
    policies = [each.build(settings, context, ABSENT) for each in methods]

    def auth(exchange: Exchange) -> Answer | Pending | Awaitable[Answer | None] | None:
        for policy in policies:
            verdict = policy(exchange)
            if verdict is not ABSENT:
                return verdict
        return missing

    return auth


def missing_credentials(settings: AuthSettings) -> Refusal:
    """What is said to a request that shows none: how to."""
    methods = [_METHODS[name] for name in settings.methods]
    own = dict.fromkeys(each.challenge for each in methods if each.challenge)
    challenges = [with_metadata(each, settings.resource) for each in own]
    how = "; or ".join(each.how.format(auth=settings) for each in methods)
    return Refusal("credentials_missing", how, challenges)


def auth_over(own: Any, base: Any, over: Callable[[Any, Any], Any]) -> Any:
    """`auth` of one level laid by `over` on that of the levels above: what says where something is replaces theirs."""
    if isinstance(own, dict) and isinstance(base, dict):
        own_parts = {"jwt": jwt_over, "api_key": api_key_over, "introspection": introspection_over}
        base = {
            **base,
            **{key: part(own[key], base[key]) for key, part in own_parts.items() if key in own and key in base},
        }
    return over(own, base)


__all__ = [
    "ApiKeySettings",
    "AuthSettings",
    "ClientCertificateSettings",
    "JwtSettings",
    "auth_over",
    "build_auth",
    "missing_credentials",
]
