"""By which path clients get to what a service has at a path of its own: found by the router that requests pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, urlencode

from portico.config import KEEP, ResolvedRoute
from portico.core.errors import MessageError
from portico.core.messages import Fields
from portico.core.paths import segments_of
from portico.core.route_paths import is_exact, is_pattern, literal_of
from portico.proxy.routing.route import Rewrite
from portico.proxy.routing.router import Router, Rule
from portico.snapshot.routing import rewrite_of, rule_of

_PARAMETER: Final = re.compile(r"\{[^{}]+\}")
_SAMPLES: Final[tuple[Callable[[int], str], ...]] = (
    lambda number: str(90_000_100 + number),
    lambda number: "zq" + "".join(chr(ord("a") + number // 26**power % 26) for power in (2, 1, 0)),
    lambda number: f"00000000-0000-4000-8000-{number:012d}",
)
"""Values for the parameters of a path, of which one kind may match the pattern of a route."""
_UNRESERVED: Final = "/:@!$&'()*+,;=~-._%"


class Addresses:
    """The routes of one listener, and the paths that the gateway answers itself, each with the methods of that."""

    def __init__(self, routes: Sequence[ResolvedRoute], own: Mapping[str, Collection[str]]) -> None:
        self._routes = routes
        self._own = own
        self._numbers: dict[int, int] = {}

    @cached_property
    def _router(self) -> Router[int | None]:
        """Made for the first path of a document: of thousands of routes it takes some time and memory."""
        return Router(self._rules())

    @cached_property
    def _rewrites(self) -> dict[int, Rewrite]:
        return {id(route): rewrite_of(route) for route in self._routes}

    def _rules(self) -> Iterator[Rule[int | None]]:
        """A rule for each route that is no variant of the one before it, whose number it shares."""
        number, own = -1, self._own
        for route in self._routes:
            if not route.is_variant:
                number += 1
                rule = _exemplary(rule_of(route, number), route)
                yield rule
                if rule.path in own and (rule.path == "/" or rule.hosts) and not rule.fallback:
                    yield replace(rule, exact=True)
            self._numbers[id(route)] = number
        for path, methods in own.items():
            taken = frozenset({b"OPTIONS", *(method.encode() for method in methods)})
            yield Rule(path, None, methods=taken, exact=True, fallback=True)

    def public(self, route: ResolvedRoute, path: str, method: str) -> str | None:
        """The path for clients of what its service has at `path`, in which `{name}` stands for a value.

        None where no request with this method gets there by this route.
        """
        names = list(dict.fromkeys(_PARAMETER.findall(path)))
        for sample in _SAMPLES if names else _SAMPLES[:1]:
            values = {name: sample(number) for number, name in enumerate(names)}
            public = self._public(route, quote(_replaced(path, values), safe=_UNRESERVED).encode(), method)
            if public is not None:
                shown = _replaced(public, {value: name for name, value in values.items()})
                if sorted(_PARAMETER.findall(shown)) == sorted(_PARAMETER.findall(path)):
                    return shown
        return None

    def _public(self, route: ResolvedRoute, path: bytes, method: str) -> str | None:
        try:
            rewrite = self._rewrites[id(route)]
            candidate = _candidate(route, rewrite, path)
            if candidate is None:
                return None
            asked = _host(route), method.encode(), _fields(route), _query(route)
            found = self._router.match(segments_of(candidate), *asked)
            if found is None or found[0] != self._numbers[id(route)]:
                return None
            return candidate.decode() if rewrite.apply(candidate, found[1]) == path else None
        except (MessageError, UnicodeError):
            return None


def _replaced(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _candidate(route: ResolvedRoute, rewrite: Rewrite, path: bytes) -> bytes | None:
    """The only path of clients that may become `path`."""
    if is_exact(route.path):
        return literal_of(route.path).encode()
    if is_pattern(route.path):
        return rewrite.undo(path)
    if route.rewrite == KEEP:
        return path
    prefix = literal_of(route.path).rstrip("/").encode()
    before, placeholder, after = (part.encode() for part in route.rewrite.partition("{path}"))
    if not placeholder:
        return prefix or b"/"
    if not (path.startswith(before) and path.endswith(after) and len(path) >= len(before) + len(after)):
        return None
    return prefix + b"/" + path[len(before) : len(path) - len(after)]


# ---- a request that meets the conditions of a route: each value is compared as it is written, patterns included


def _exemplary(rule: Rule[int | None], route: ResolvedRoute) -> Rule[int | None]:
    headers = tuple((name.lower().encode(), value.encode("latin-1")) for name, value in route.headers.items())
    query = tuple((name.encode(), _text(value).encode()) for name, value in route.query.items())
    return replace(rule, headers=headers, query=query)


def _text(value: Any) -> str:
    return "true" if value is True else str(value)


def _fields(route: ResolvedRoute) -> Fields:
    names = [name.lower().encode() for name in route.headers]
    return Fields(names, [f"{name}: {value}".encode("latin-1") for name, value in route.headers.items()])


def _query(route: ResolvedRoute) -> bytes:
    return urlencode({name: _text(value) for name, value in route.query.items()}).encode()


def _host(route: ResolvedRoute) -> bytes:
    return (route.hosts[0].replace("*.", "any.") if route.hosts else "any-host").encode()
