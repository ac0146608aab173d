"""How old a response is when it arrives, and for how long it is fresh (RFC 9111, section 4.2)."""

from __future__ import annotations

from typing import Final, NamedTuple

from portico.core.messages import ResponseHead
from portico.proxy.cache.dates import parse_date
from portico.proxy.cache.directives import MOST_SECONDS, Directives
from portico.proxy.cache.rules import Rules

HEURISTIC_STATUSES: Final = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""Statuses that are heuristically cacheable (RFC 9110, section 15.1), but for 206, which is not stored."""
HEURISTIC_SHARE: Final = 0.1
HEURISTIC_LIMIT: Final = 86400.0
DATE_PRECISION: Final = 1.0
"""Seconds by which a Date, which has whole ones, may look old though it is new."""


class Arrival(NamedTuple):
    """When a response's head arrived."""

    now: float
    """Monotonic seconds."""
    wall: float
    """The same moment by the wall clock."""
    delay: float = 0.0
    """Seconds since its request was sent."""


class Lifetime(NamedTuple):
    """Seconds for which a response is fresh, and whether it says so itself."""

    seconds: float
    is_explicit: bool


_STALE: Final = Lifetime(0.0, True)
_UNKNOWN: Final = Lifetime(0.0, False)


def lifetime_of(rules: Rules, head: ResponseHead, directives: Directives, date: float) -> Lifetime:
    """How long a response of that `date` (wall clock) is fresh; 0 where nothing says.

    The order is that of section 4.2.1, whatever order the fields come in; `ttl` takes the place of a heuristic (section
    4.2.2).
    """
    if directives.no_cache:
        return _STALE
    seconds = directives.s_maxage if directives.s_maxage is not None else directives.max_age
    if seconds is not None:
        return Lifetime(float(seconds), True)
    if b"expires" in head.fields.names and not directives.is_targeted:
        expires = parse_date(head.fields.get(b"expires") or b"", date)
        return _STALE if expires is None else Lifetime(max(0.0, expires - date), True)
    if rules.ttl is not None and head.status in rules.ttl_statuses:
        return Lifetime(rules.ttl, False)
    if head.status in HEURISTIC_STATUSES or directives.public:
        return Lifetime(_heuristic(head, date), False)
    return _UNKNOWN


def _heuristic(head: ResponseHead, date: float) -> float:
    """A part of the time for which the response has not changed (section 4.2.2)."""
    modified = parse_date(head.fields.get(b"last-modified") or b"", date)
    return 0.0 if modified is None else min(max(0.0, (date - modified) * HEURISTIC_SHARE), HEURISTIC_LIMIT)


def initial_age(head: ResponseHead, date: float, arrival: Arrival) -> float:
    """How old a response of that `date` was when it arrived (section 4.2.3)."""
    apparent_age = float(int(arrival.wall) - int(date))
    if apparent_age <= DATE_PRECISION:
        apparent_age = 0.0
    return max(apparent_age, age_value(head) + arrival.delay)


def age_value(head: ResponseHead) -> float:
    """What its Age says; the first where there are several, nothing where that is no number (section 5.1)."""
    if b"age" not in head.fields.names:
        return 0.0
    first = head.fields.all(b"age")[0].partition(b",")[0].strip()
    if not first.isdigit():
        return 0.0
    return float(min(int(first), MOST_SECONDS)) if len(first) <= 20 else float(MOST_SECONDS)


def date_of(head: ResponseHead, wall: float) -> float:
    """When a response was made: its Date, or, where that is none, `wall`, when it arrived (RFC 9110, section 6.6.1)."""
    if b"date" not in head.fields.names:
        return wall
    date = parse_date(head.fields.get(b"date") or b"", wall)
    return wall if date is None else date
