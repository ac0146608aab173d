"""Authentication: who asks, proved in one of several ways, each of which is a file here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BeforeValidator, model_validator

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.settings import NotEmpty, Settings
from portico.policies.auth import forward, introspection, tokens
from portico.policies.auth.acceptance import JwtSettings, auth_over
from portico.policies.auth.forward import ForwardSettings, build_forward, without_clients
from portico.policies.auth.identified import ABSENT
from portico.policies.auth.introspection import IntrospectionSettings, build_introspection
from portico.policies.auth.tokens import build_jwt
from portico.policies.consumer_fields import NameEncoding
from portico.policies.policy import Context, Pending, Policy


def _on_or_off(value: Any) -> Any:
    return None if value is False else {} if value is True else value


def _unless_off(value: Any) -> Any:
    return None if value is False else value


class AuthSettings(Settings):
    """The authentication methods: the first for which a request shows credentials decides, in the order of these keys.

    With `optional` a request without any goes on as nobody's; one with bad ones never does. `name_encoding` is how
    names beyond visible ASCII stand in `X-Consumer-Username` and `X-Consumer-Scopes`.
    """

    jwt: Annotated[
        JwtSettings | None,
        BeforeValidator(_on_or_off, json_schema_input_type=JwtSettings | bool),
        NotEmpty("write jwt: {}"),
    ] = None
    introspection: Annotated[
        IntrospectionSettings | None,
        BeforeValidator(_unless_off, json_schema_input_type=IntrospectionSettings | Literal[False]),
        NotEmpty("write introspection: {url: https://id.example/introspect, client_id: …, client_secret: …}"),
    ] = None
    forward: Annotated[
        ForwardSettings | None,
        BeforeValidator(_unless_off, json_schema_input_type=ForwardSettings | Literal[False]),
        NotEmpty("write forward: {url: http://auth:9000/check}"),
    ] = None
    optional: bool = False
    name_encoding: NameEncoding = "percent"

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

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that are on, in the order in which they are asked."""
        return tuple(name for name in _METHODS if getattr(self, name) is not None)


class _Method(NamedTuple):
    """How a method is built, and how its credentials are asked for: in a sentence, and in `WWW-Authenticate`.

    It is built with the verdict for requests that show none of its credentials.
    """

    build: Callable[[AuthSettings, Context, Answer | None], Policy]
    how: str
    challenge: bytes
    settings: str = "{}"
    """The least that turns it on."""


def _build_jwt(settings: AuthSettings, context: Context, absent: Answer | None) -> Policy:
    assert settings.jwt is not None
    leaves_opaque = settings.introspection is not None
    return build_jwt(settings.jwt, settings.name_encoding, context, absent, leaves_opaque=leaves_opaque)


def _build_introspection(settings: AuthSettings, context: Context, absent: Answer | None) -> Policy:
    assert settings.introspection is not None
    return build_introspection(settings.introspection, settings.name_encoding, context, absent)


def _build_forward(settings: AuthSettings, context: Context, absent: Answer | None) -> Policy:  # noqa: ARG001
    """Nothing is absent: the service decides on every request."""
    assert settings.forward is not None
    return build_forward(settings.forward, settings.name_encoding, context)


_METHODS: Final = {
    "jwt": _Method(_build_jwt, tokens.HOW, tokens.CHALLENGE),
    "introspection": _Method(_build_introspection, introspection.HOW, introspection.CHALLENGE, "{url: …}"),
    "forward": _Method(_build_forward, forward.HOW, b"", "{url: …}"),
}
"""In the order in which they are asked."""


def build_auth(settings: AuthSettings, context: Context) -> Policy:
    """The policy: refuses with 401 who proves nothing, or what is not true."""
    policy = _first_of_methods(settings, context)
    return policy if settings.forward is None else without_clients(settings.forward.pass_headers, policy)


def _first_of_methods(settings: AuthSettings, context: Context) -> Policy:
    methods = [_METHODS[name] for name in settings.methods]
    missing = None if settings.optional else _missing(methods)
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


def _missing(methods: Sequence[_Method]) -> Refusal:
    challenges = dict.fromkeys(each.challenge for each in methods if each.challenge)
    return Refusal("credentials_missing", "; or ".join(each.how for each in methods), challenges)


__all__ = ["AuthSettings", "JwtSettings", "auth_over", "build_auth"]
