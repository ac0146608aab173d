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
    """Names of parameters, or beginnings such as `utm_*`."""


class KeySettings(Settings):
    """What, beside scheme, host and path, tells stored responses apart.

    `query`: all of it as it was sent, none of it, these parameters in whatever order they come, or all but some.
    `headers`, `cookies`: further parts of requests. `consumer`: whether what a consumer gets may be stored for that
    consumer alone.
    """

    query: Literal["all", "none"] | list[QueryName] | AllBut = "all"
    """Which parameters of the query belong to the key. `[id, page]`: these two, in whatever order they come; what a
    service might take for one of them (`ID`, `%69d`, `id[]`) belongs to it as it is written. `{all_but: [gclid,
    "utm_*"]}`: all others, as they are sent. A query with `;`, half an escape or other bytes, which services read
    differently, belongs to it as a whole. The service gets the query as it came.
    """
    headers: list[KeyHeader] = []
    """Fields of requests on which the responses depend without saying so by `Vary`."""
    cookies: list[CookieName] = []
    """Cookies that responses depend on. A request whose cookies are all named has no credentials."""
    consumer: Annotated[
        Literal["auto", "off"], BeforeValidator(_consumer, json_schema_input_type=Literal["auto", "off", False])
    ] = "auto"
    """Whether what a consumer gets may be stored for that consumer alone."""


class PurgeSettings(Settings):
    """Who may purge by the method PURGE: a consumer of these, from one of these networks; either may be left out."""

    consumers: Annotated[list[ConsumerName], Field(min_length=1)] | None = None
    """Only these consumers may; at least one of the two is written."""
    networks: Annotated[list[NetworkField], Field(min_length=1)] | None = None
    """Only clients in these networks may."""

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
    """For how long a response is fresh that says nothing about it: no `max-age`, `s-maxage` or `Expires`. It holds for
    the statuses 200, 203, 300, 301, 308, 404 and 410, or those in `statuses`. Without it a part of the time since
    `Last-Modified` counts, a tenth, a day at most (RFC 9111, section 4.2.2). `no-store`, `private`, `no-cache` and
    every number of seconds that the service writes come before it.
    """
    methods: Annotated[list[CachedMethod], Field(min_length=1)] = list(METHODS)
    """HEAD is answered from what GET got; QUERY is told apart by its content too, which may have 64 KiB (RFC 10008)."""
    statuses: Annotated[list[Status], Field(min_length=1)] | None = None
    """Only responses with one of these are stored. 206 and 304 never are."""
    key: KeySettings = KeySettings()
    """What tells stored responses apart, beside scheme, host and path."""
    max_object: Annotated[Size, Field(ge=1)] = 10 << 20
    """A larger response is not stored."""
    stale_while_revalidate: DurationOrZero = 0.0
    """For how long a stale response is still served while a new one is fetched in the background, where the service
    does not say (RFC 5861).
    """
    stale_if_error: DurationOrZero = 0.0
    """For how long one takes the place of a 500, 502, 503 or 504, of the service's or the gateway's own."""
    targets: list[Target] = list(DEFAULT_TARGETS)
    """Fields like `Cache-Control` that the service means for this cache, the most specific first (RFC 9213): the first
    that a response has counts instead of `Cache-Control` and `Expires`.
    """
    store: Literal["memory", "redis"] = "memory"
    """Where responses are: in each worker's memory, or in the `redis_url` that gateways share."""
    purge: bool | PurgeSettings = False
    """Who may purge by a request with the method `PURGE`. `true`: every consumer that has signed in."""
