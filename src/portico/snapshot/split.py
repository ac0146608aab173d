"""A route to several services at once, compiled: what chooses the side of a request, and how each side handles it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from portico.config import ResolvedRoute
from portico.config.split import SideSettings, SideStickySettings, SplitChoice
from portico.core.conditions import condition_of, field_condition_of
from portico.core.messages import Fields
from portico.core.route_paths import beginning_of
from portico.proxy.split import (
    EvenSplit,
    NumberCookie,
    NumberOf,
    Rule,
    Split,
    SplitWeights,
    by_consumer,
    by_key,
    by_number_cookie,
    with_cookie,
    with_header,
)
from portico.upstreams.consistent_hash import by_client, by_header

_PLAIN_PATH: Final = re.compile(r"/[!#-:<-~]*")
"""What may be the path of a cookie (RFC 6265, section 4.1.1)."""


def split_of(written: ResolvedRoute, weights: SplitWeights) -> Split:
    """What chooses the side of a route's requests."""
    choice = written.split
    assert choice is not None
    number, rules, diverts = number_of(written, choice.sticky), rules_of(choice), choice.otherwise == "others"
    kind = Split if number or rules else EvenSplit
    return kind(written.name, weights, number, rules, diverts=diverts)


def behind_choice(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The same parts of a handling for a side: the policies for requests come before the choice."""
    return {**parts, "policies": (), "marks": ()}


def split_vary_lines(choice: SplitChoice) -> list[bytes]:
    """The `Vary` of every response: the fields on which the side depends (RFC 9110, section 12.5.5)."""
    names = dict.fromkeys(name for side in choice.sides for name in side.headers)
    if any(side.cookies for side in choice.sides) or (choice.sticky is not None and choice.sticky.cookie is not None):
        names["Cookie"] = None
    if choice.sticky is not None and choice.sticky.header is not None:
        names[choice.sticky.header] = None
    return [b"Vary: " + ", ".join(names).encode()] if names else []


def number_cookie_of(written: ResolvedRoute) -> NumberCookie | None:
    """The cookie in which clients of a split have their number; None where they are known by something else."""
    sticky = written.split.sticky if written.split is not None else None
    if sticky is None or sticky.cookie is None:
        return None
    if sticky.cookie == "auto":
        return NumberCookie(f"portico_split_{written.name}", _cookie_path(written), sticky.max_age)
    return NumberCookie(sticky.cookie, "/", sticky.max_age)


def number_of(written: ResolvedRoute, sticky: SideStickySettings | None) -> NumberOf | None:
    """What gives each client the number by which it stays on one side; None where none does."""
    if sticky is None:
        return None
    cookie = number_cookie_of(written)
    if cookie is not None:
        return by_number_cookie(cookie)
    if sticky.header is not None:
        return by_key(written.name, by_header(sticky.header))
    return by_key(written.name, by_consumer if sticky.by == "consumer" else by_client)


def _cookie_path(written: ResolvedRoute) -> str:
    """The path that is common to all of a route's: cookies' paths tell case apart, and end with whole segments."""
    if written.is_fallback or written.case_insensitive:
        return "/"
    path = beginning_of(written.path).rstrip("/")
    return path if _PLAIN_PATH.fullmatch(path) else "/"


def rules_of(choice: SplitChoice) -> list[Rule]:
    """What has a request take a side before any weight counts."""
    return [(index, _met(side)) for index, side in enumerate(choice.sides) if side.has_rules]


def _met(side: SideSettings) -> Callable[[Fields], bool]:
    """Whether a request is to take a side: one of the values that it names will do."""
    fields = side.headers.items()
    tests = [with_header(name.lower().encode(), field_condition_of(name, value)) for name, value in fields]
    tests += [with_cookie(name.encode(), condition_of(value)) for name, value in side.cookies.items()]
    if len(tests) == 1:
        return tests[0]
    return lambda fields: any(test(fields) for test in tests)
