"""Routes to several services at once: how large the share of each is, and which clients stay with one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from portico.config.balancing import CookieName
from portico.config.canary import CanarySettings
from portico.config.section import Section, is_word, written_as
from portico.core.conditions import ParameterCondition
from portico.core.settings import Duration, HeaderName, NotEmpty

_SPLIT_FORM = "split: [{service: a, weight: 95}, {service: b, weight: 5}]"
_STICKY_FORMS = "consumer, cookie, client_ip, {cookie: NAME}, {header: NAME} or false"


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected a number")
    if isinstance(value, str) and value.strip().endswith("%"):
        raise ValueError("expected a number, in proportion to the other weights: write it without %")
    return value


Weight = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1e6, allow_inf_nan=False)]
"""A share in proportion to the others': they need not add up to 100."""


class SideSettings(Section):
    """A service, or one version of it, that gets a share of a route's requests: `weight` of the sum of all weights.

    A request takes it before any weight counts if one of `headers` or `cookies` is as written: a value, `~ pattern`, or
    true for any value.
    """

    service: str
    """The service."""
    version: str | None = None
    """One of its versions, where it has several."""
    weight: Weight
    """Its share, in proportion to the other weights; 0 for none."""
    headers: Annotated[dict[HeaderName, ParameterCondition], NotEmpty('write headers: {X-Canary: "1"}')] = Field(
        default_factory=dict
    )
    """Fields with which a request takes this side before any weight counts: a value, `~ pattern`, or `true` for any."""
    cookies: Annotated[dict[CookieName, ParameterCondition], NotEmpty('write cookies: {beta: "1"}')] = Field(
        default_factory=dict
    )
    """Cookies with which a request takes this side before any weight counts."""

    @property
    def label(self) -> str:
        """`SERVICE`, or `SERVICE@VERSION`."""
        return self.service if self.version is None else f"{self.service}@{self.version}"

    @property
    def has_rules(self) -> bool:
        """Whether some requests take it for what they say."""
        return bool(self.headers or self.cookies)


class SideStickySettings(Section):
    """A client stays on its side: by a `cookie` of the gateway's own, `by` the consumer or the client's address, or by
    the value of a `header`.

    With `auto` the cookie is called `portico_split_ROUTE`; routes that name the same one share it. Clients keep it for
    `max_age` seconds: without it until they end.
    """

    by: Literal["consumer", "client_ip"] | None = None
    """By whom the side is chosen: the consumer, or the client's address."""
    cookie: Literal["auto"] | CookieName | None = None
    """A cookie of the gateway's that keeps the side; `auto` calls it `portico_split_ROUTE`."""
    header: HeaderName | None = None
    """The field by whose value the side is chosen."""
    max_age: Duration | None = None
    """How long clients keep the cookie; without it until they end."""

    @model_validator(mode="after")
    def _has_one_way(self) -> Self:
        ways = [key for key in ("by", "cookie", "header") if getattr(self, key) is not None]
        if not ways:
            raise ValueError(f"says nothing of how a client is known again: write {_STICKY_FORMS}")
        if len(ways) > 1:
            raise ValueError(f"has both {ways[0]} and {ways[1]}; keep one of them")
        if self.max_age is not None and self.cookie is None:
            raise ValueError("max_age is for cookie alone; leave it out")
        return self


def _long_sticky(value: Any) -> Any:
    if value is None or is_word(value, False):
        return None
    if value == "cookie":
        return {"cookie": "auto"}
    if value in ("consumer", "client_ip"):
        return {"by": value}
    if isinstance(value, (dict, Section)):
        return value
    raise ValueError(f"expected {_STICKY_FORMS}")


SplitField = Annotated[
    Annotated[tuple[SideSettings, ...], Field(min_length=1)] | None,
    written_as(list, _SPLIT_FORM),
    NotEmpty(f"write {_SPLIT_FORM}"),
]
SideStickyField = Annotated[
    SideStickySettings | None,
    BeforeValidator(
        _long_sticky,
        json_schema_input_type=Literal["consumer", "cookie", "client_ip", False] | SideStickySettings,
    ),
    NotEmpty(f"write sticky: {_STICKY_FORMS}"),
]
Otherwise: TypeAlias = Literal["others", "refuse"]


@dataclass(frozen=True, slots=True)
class SplitChoice:
    """The sides of a route, and what chooses among them."""

    sides: tuple[SideSettings, ...]
    sticky: SideStickySettings | None
    otherwise: Otherwise
    canary: CanarySettings | None = None
    """What moves the weights of its two sides, of which the first is the old one."""

    @property
    def weights(self) -> dict[str, float]:
        """Those of its sides as they are written, by the names of the sides."""
        return {side.label: side.weight for side in self.sides}
