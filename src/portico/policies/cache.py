"""A shared cache (RFC 9111) in front of a service: what is stored, under which key, and for how long.

It is no link of the chain: `proxy/cache/` looks for a stored response once all policies have let a request pass.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from portico.core.fields import END_TO_END_PREFIXES, REQUEST_DROP, plain_name
from portico.core.networks import NetworkField
from portico.core.settings import DurationOrZero, HeaderName, Settings, Size
from portico.policies.consumer_fields import ConsumerName

METHODS: Final = ("GET", "HEAD", "QUERY")
"""The methods whose responses are stored: safe ones, with a definition of what their key is."""
DEFAULT_TARGETS: Final = ("CDN-Cache-Control",)

_PARAMETER: Final = re.compile(r"[^&;=#\s\x00-\x1f\x7f]+")
_COOKIE: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def _parameter(name: str) -> str:
    if not _PARAMETER.fullmatch(name):
        raise ValueError("expected the name of one query parameter, without its value; several are a list: [id, page]")
    return name


def _ignored_parameter(name: str) -> str:
    if "*" in name[:-1] or name == "*":
        raise ValueError('expected a name, or the beginning of names and "*", such as "utm_*"; none leaves out all')
    return _parameter(name)


def _cookie(name: str) -> str:
    if not _COOKIE.fullmatch(name):
        raise ValueError("expected the name of one cookie, without its value; several are a list: [lang, theme]")
    return name


def _key_header(name: str) -> str:
    lower = plain_name(name.lower().encode())
    if lower in REQUEST_DROP or name.lower().encode().startswith(END_TO_END_PREFIXES[:4]):
        raise ValueError(f"{name} is written by the gateway: scheme, host and consumer are told apart without it")
    if lower in (b"cookie", b"authorization"):
        raise ValueError(f"{name} is no part of the key: who asks is told apart without it; name single cookies")
    return name


def _status(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected a status such as 404")
    return value


def _whole_status(status: int) -> int:
    if status in (206, 304):
        raise ValueError(f"{status} is never stored: it holds a part of a response, or none")
    return status


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _consumer(value: Any) -> Any:
    return "off" if value is False else value  # YAML reads off as false


def _target(name: str) -> str:
    if not name.lower().endswith("cache-control") or name.lower() == "cache-control":
        raise ValueError("expected a field that is meant for some caches alone, such as CDN-Cache-Control (RFC 9213)")
    return name


CachedMethod = Annotated[Literal["GET", "HEAD", "QUERY"], BeforeValidator(_upper)]
QueryName = Annotated[str, AfterValidator(_parameter)]
IgnoredQueryName = Annotated[str, AfterValidator(_ignored_parameter)]
CookieName = Annotated[str, AfterValidator(_cookie)]
KeyHeader = Annotated[HeaderName, AfterValidator(_key_header)]
Status = Annotated[int, BeforeValidator(_status), Field(ge=200, le=599), AfterValidator(_whole_status)]
Target = Annotated[HeaderName, AfterValidator(_target)]


class AllBut(Settings):
    """All parameters of the query but these: names, or beginnings of names such as `utm_*`."""

    all_but: Annotated[list[IgnoredQueryName], Field(min_length=1)]


class KeySettings(Settings):
    """What, beside scheme, host and path, tells stored responses apart.

    `query`: all of it as it was sent, none of it, these parameters in whatever order they come, or all but some.
    `headers`, `cookies`: further parts of requests. `consumer`: whether what a consumer gets may be stored for that
    consumer alone.
    """

    query: Literal["all", "none"] | list[QueryName] | AllBut = "all"
    headers: list[KeyHeader] = []
    cookies: list[CookieName] = []
    consumer: Annotated[
        Literal["auto", "off"], BeforeValidator(_consumer, json_schema_input_type=Literal["auto", "off", False])
    ] = "auto"


class PurgeSettings(Settings):
    """Who may purge by the method PURGE: a consumer of these, from one of these networks; either may be left out."""

    consumers: Annotated[list[ConsumerName], Field(min_length=1)] | None = None
    networks: Annotated[list[NetworkField], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if self.consumers is None and self.networks is None:
            raise ValueError("name consumers, networks or both; true lets every consumer that has signed in purge")
        return self


class CacheSettings(Settings):
    """`ttl`: for how long responses are fresh that say nothing about caching; without it, none of them is stored but by
    the heuristic of RFC 9111. `statuses` limits what is stored. `stale_while_revalidate` and `stale_if_error`: for how
    long a stale response may take the place of one that is being fetched, or of an error, where the service does not
    say; `targets`: the fields that a service addresses to this cache, the most specific first. `purge`: who may send
    PURGE; `true` is every consumer, without it the service gets the method as any other.
    """

    ttl: DurationOrZero | None = None
    methods: Annotated[list[CachedMethod], Field(min_length=1)] = list(METHODS)
    statuses: Annotated[list[Status], Field(min_length=1)] | None = None
    key: KeySettings = KeySettings()
    max_object: Annotated[Size, Field(ge=1)] = 10 << 20
    stale_while_revalidate: DurationOrZero = 0.0
    stale_if_error: DurationOrZero = 0.0
    targets: list[Target] = list(DEFAULT_TARGETS)
    store: Literal["memory", "redis"] = "memory"
    purge: bool | PurgeSettings = False
