"""Which requests belong to one instance of a service, and by what they say so."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, SecretStr, model_validator

from portico.config.balancing import CookieKey, CookieName, HeaderKey
from portico.config.section import Section, is_word
from portico.core.settings import Duration, NotEmpty, plain_secret

_FORMS = "write sticky: {cookie: auto}, or sticky: {issued: NAME} for a value that the service itself issues"
_LEAST = 16
"""Characters of a key."""


def _key(secret: SecretStr) -> SecretStr:
    if len(plain_secret(secret.get_secret_value())) < _LEAST:
        raise ValueError(f"has fewer than {_LEAST} characters, so it could be found by trying")
    return secret


def _long_issued(value: Any) -> Any:
    return {"header": value} if isinstance(value, str) else value


def _long_sticky(value: Any) -> Any:
    if value is None or is_word(value, False):
        return None
    if isinstance(value, (dict, Section)):
        return value
    raise ValueError(f"expected cookie or issued: {_FORMS}")


class StickySettings(Section):
    """Requests go to one instance by a `cookie` of the gateway's own (`auto` names it `portico_SERVICE`), or by a value
    that the service itself `issued` in a field of a response, or in a cookie.

    The cookie is signed with `key` or, without one, with SECRET_KEY; `max_age` is how long clients keep it, in seconds:
    without it until they end. A value is remembered for `ttl` seconds after its last use.
    """

    cookie: Literal["auto"] | CookieName | None = None
    """The gateway sets a cookie that leads back to the instance; `auto` names it `portico_SERVICE`. A version with
    instances of its own has `_VERSION` behind the name.
    """
    key: Annotated[SecretStr, AfterValidator(_key)] | None = None
    """What the cookie is signed with; for `cookie`."""
    max_age: Duration | None = None
    """How long clients keep the cookie; without it until they end. For `cookie`."""
    issued: (
        Annotated[
            HeaderKey | CookieKey,
            BeforeValidator(_long_issued, json_schema_input_type=str | HeaderKey | CookieKey),
        ]
        | None
    ) = None
    """A value that the service issues in that field of a response, or in that cookie, leads requests that bring it to
    the instance that issued it.
    """
    ttl: Duration = 3600.0
    """How long a value is remembered that nobody uses; for `issued`."""

    @model_validator(mode="after")
    def _has_one_way(self) -> Self:
        if self.cookie is None and self.issued is None:
            raise ValueError(f"says nothing of how an instance is found again: {_FORMS}")
        if self.cookie is not None and self.issued is not None:
            raise ValueError("has both cookie and issued; keep one of them")
        others = ("ttl",) if self.issued is None else ("key", "max_age")
        for name in others:
            if name in self.model_fields_set:
                raise ValueError(f"{name} is for {'issued' if self.issued is None else 'cookie'} alone; leave it out")
        return self


StickyField = Annotated[
    StickySettings | None,
    BeforeValidator(_long_sticky, json_schema_input_type=Literal[False] | StickySettings),
    NotEmpty(_FORMS),
]
