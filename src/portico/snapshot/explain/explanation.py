"""What is said of a request: plain data, which is JSON as it stands.

Bytes of requests are text in it: UTF-8, of which what is none is escaped; only a `head` has one character for each byte
(latin-1). Whoever prints it makes it printable.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypedDict

Condition: TypeAlias = Literal["listener", "path", "host", "method", "header", "query", "precedence"]
"""What a route lost by, in the order in which it is asked; by `precedence` one loses that would have taken it."""
Outcome: TypeAlias = Literal["forwarded", "answered", "refused", "unknown"]
"""A service gets the request, the gateway answers it as it is told to, or it refuses it; `unknown` where that depends
on a body that is not there, or on somebody who would be asked."""


class Asked(TypedDict):
    """The request as it was read."""

    method: str
    target: str
    path: str
    """As it was sent, without the query."""
    segments: list[str] | None
    """What is compared with routes: the path's segments, normalised. None for a path that is refused."""
    query: str
    host: str
    host_name: str
    """What of it is compared: in lower case, without port and final dot."""
    headers: list[list[str]]
    """Name and value of each field, as sent."""
    body_bytes: int
    listener: str
    """Empty where there is one alone."""
    client_ip: str
    secure: bool
    """Whether it came over TLS."""
    preflight_for: str | None
    """The method that a preflight asks for, where it takes the route of that."""


class Named(TypedDict):
    """A route, and where it is written."""

    name: str
    kind: Literal["route", "default", "endpoint", "challenge"]
    """A written one, that of a service, or an endpoint of the gateway's own."""
    source: list[str | int]
    """Its path in the configuration, such as `["routes", 3]`; empty for endpoints."""
    where: str
    """File and line; empty until `located`, and where there is none."""
    path: str
    """As it is written: `/prefix`, `= /exact`, `~ pattern`, or `fallback`."""


class Met(TypedDict):
    """A condition that the request meets."""

    condition: Condition
    wanted: str
    """As it is written, without quotes: `GET, HEAD`, `X-Version: ~ ^v2`."""
    got: str


class Found(Named):
    """The route that takes it."""

    service: str | None
    """None for one that answers itself."""
    conditions: list[Met]
    version: Chosen | None
    split: Split | None


class Chosen(TypedDict):
    """The version of a service that the request gets."""

    name: str | None
    """None where it asks for none that exists."""
    why: str
    others: list[str]


class Side(TypedDict):
    """One side of a split."""

    name: str
    weight: float
    """As it is now, in proportion to those of the others."""


class Split(TypedDict):
    """How a route's requests are shared out."""

    side: str | None
    """The one that this request takes; None where that is decided anew for each request."""
    why: str
    sides: list[Side]


class Lost(Named):
    """A route that does not take it."""

    condition: Condition
    """The first that fails, in the order in which they are asked."""
    wanted: str
    got: str
    at: int | None
    """For paths: how many letters of the request's path (normalised) agree. None for all other conditions, and
    for the two routes between which a path leaves it in doubt."""
    says: str
    """The same in words."""


class Fate(TypedDict):
    """What the path becomes."""

    client: str
    service: str
    """With its query; empty where no service gets it."""
    prefix: str
    """What clients have before the service's paths (`X-Forwarded-Prefix`)."""


class Verdict(TypedDict):
    """What one policy says of the request."""

    key: str
    scope: str
    source: list[str | int]
    """Its path in the configuration; empty where nothing is written."""
    where: str
    says: Outcome | Literal["passes"]
    detail: str


class Answered(TypedDict):
    """What the gateway answers itself."""

    status: int
    reason: str | None
    """Of a refusal."""
    detail: str
    headers: list[list[str]]
    body: str
    """The beginning of it."""


class Explanation(TypedDict):
    """All that is said of one request."""

    request: Asked
    outcome: Outcome
    route: Found | None
    others: list[Lost]
    """Those that are nearest, the nearest first; none of them takes it."""
    more: dict[Condition, int]
    """How many others there are, by what they lost by."""
    nearest: Lost | None
    """The first of them, where no route takes it."""
    path: Fate | None
    policies: list[Verdict]
    cache: dict[str, Any] | None
    instance: dict[str, Any] | None
    head: str | None
    """What the service gets, up to the empty line."""
    answer: Answered | None
    notes: list[str]
