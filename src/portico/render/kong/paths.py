"""Paths, what becomes of them, and in which order Kong asks its routes.

Kong compares a path without doubled slashes, decoded but for reserved characters. One with `~` in front is an
expression that matches from the beginning; the router of Kong 3 reads Rust's. Of two routes for one request it takes
the one with more kinds of conditions, then the one with hosts and none with a wildcard, then the one with more fields,
then an expression, by its `regex_priority`, then the longest prefix.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from portico.config import KEEP, ResolvedRoute
from portico.core.placeholders import PATH, pieces_of
from portico.core.route_paths import is_exact, is_pattern, literal_of
from portico.render.expressions import literal
from portico.render.kong.expressions import RESERVED, expression_of
from portico.render.precedence import Matcher

EXACT: Final = 1_000_000
"""The `regex_priority` of exact paths; those of patterns are far below."""
CLOSED: Final = EXACT - 1
"""That of a prefix that is closed for all requests, since Kong cannot tell those that it guards from others."""
_TRIPLET: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")


def decoded(path: str) -> str:
    """A path as Kong compares it. Raises ValueError for bytes that are no UTF-8: a file of YAML has none."""
    try:
        return _TRIPLET.sub(_decoded, path)
    except UnicodeDecodeError:
        raise ValueError("Kong compares decoded paths, and this has bytes that are no UTF-8") from None


def _decoded(found: re.Match[str]) -> str:
    data = bytes.fromhex(found[0].replace("%", ""))
    parts = (b"%%%02X" % byte if byte in RESERVED else bytes([byte]) for byte in data)
    return b"".join(parts).decode()


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths of a Kong route, and what its path becomes."""

    paths: tuple[str, ...]
    strip: bool
    priority: int = 0
    base: str | None = None
    """The path of the service, which comes before what is left of the request's."""
    uri: str | None = None
    """What the plugin request-transformer makes of the path."""
    bare: tuple[str, str] | None = None
    """The path of a second route, for the prefix alone, and what it becomes: Kong would take the slash off the base."""


def paths_of(route: ResolvedRoute, priority: int) -> Paths:
    """Those of a route; `priority` is what an expression has. Raises ValueError where Kong has no words for it."""
    if (route.query or priority == CLOSED) and not is_exact(route.path) and not is_pattern(route.path):
        return _closed(route.path)
    if is_exact(route.path):
        return _exact(route, literal_of(route.path), priority)
    return _of_pattern(route, priority) if is_pattern(route.path) else _prefix(route)


def closed_paths(route: ResolvedRoute, priority: int) -> Paths:
    """Those of a route that is closed for want of words: all that cannot be told from its paths is closed with it."""
    if is_pattern(route.path):
        return Paths((f"~{expression_of(route.path)}",), strip=False, priority=priority)
    path = literal_of(route.path)
    while True:
        try:
            return _closed(path)
        except ValueError:
            path = path.rpartition("/")[0] or "/"


def _closed(path: str) -> Paths:
    """All at and below a path, before all prefixes."""
    return Paths((f"~{_anchored('' if path == '/' else path)}(?:/|$)",), strip=False, priority=CLOSED)


def _exact(route: ResolvedRoute, path: str, priority: int) -> Paths:
    paths = (f"~{_anchored(path)}$",)
    target = path if route.rewrite == KEEP else route.rewrite.replace(f"{{{PATH}}}", path.removeprefix("/"))
    if route.answer is not None or target == path:
        return Paths(paths, strip=False, priority=priority)
    if target == "/":
        return Paths(paths, strip=True, priority=priority)
    return Paths(paths, strip=False, priority=priority, uri=_template(target))


def _of_pattern(route: ResolvedRoute, priority: int) -> Paths:
    paths = (f"~{expression_of(route.path)}",)
    if route.answer is not None or route.rewrite in (KEEP, "/{path}"):
        return Paths(paths, strip=False, priority=priority)
    if (base := _base(route.rewrite)) is not None:
        return Paths(paths, strip=False, priority=priority, base=base)
    if PATH in _names(route.rewrite):
        raise ValueError("Kong has no words for all of the path beside parts of it")
    return Paths(paths, strip=False, priority=priority, uri=_filled(route.rewrite))


def _prefix(route: ResolvedRoute) -> Paths:
    path = "" if route.is_fallback or route.path == "/" else route.path
    alone = f"~{_anchored(path)}$"
    paths = (f"{decoded(path)}/", alone) if path else ("/",)
    if route.answer is not None or route.rewrite in (KEEP, f"{path}/{{path}}"):
        return Paths(paths, strip=False)
    if route.rewrite == "/{path}":
        return Paths(paths, strip=True)
    if (base := _base(route.rewrite)) is not None:
        return Paths(paths[:1], strip=True, base=base, bare=(alone, _template(base)) if path else None)
    if not _names(route.rewrite):
        return Paths(paths, strip=False, uri=_template(route.rewrite))
    return Paths((f"~{_anchored(path)}(?:/(?<path>.*))?$",), strip=False, uri=_filled(route.rewrite))


def _base(rewrite: str) -> str | None:
    """What stands before `{path}`, where it is the only name and the last part."""
    return rewrite.removesuffix("{path}") if rewrite.endswith("/{path}") and _names(rewrite) == [PATH] else None


def _anchored(path: str) -> str:
    return literal(decoded(path))


def _names(rewrite: str) -> list[str]:
    return [piece for piece in pieces_of(rewrite) if isinstance(piece, str)]


def _filled(rewrite: str) -> str:
    """A rewrite as a template of the plugin."""
    pieces = pieces_of(rewrite)
    return "".join(
        _template(piece.decode()) if isinstance(piece, bytes) else f'$(uri_captures["{piece}"] or "")'
        for piece in pieces
    )


def _template(text: str) -> str:
    """A text that the plugin takes as it is."""
    plain = decoded(text)
    if "$(" in plain:
        raise ValueError("Kong takes $( for the beginning of an expression")
    return plain


def priorities_of(matchers: Sequence[Matcher]) -> dict[str, int]:
    """The `regex_priority` of exact paths and patterns, by routes' names; `matchers` are in Portico's order."""
    routes = {matcher.route.name: matcher.route.path for matcher in matchers}
    found: dict[str, int] = {}
    later: dict[str, int] = {}
    for number, name in enumerate(reversed([name for name, path in routes.items() if is_pattern(path)])):
        found[name] = number + 1
    for name, path in reversed([each for each in routes.items() if is_exact(each[1])]):
        found[name] = EXACT + later.get(path, 0)
        later[path] = later.get(path, 0) + 1
    return found


def order(matcher: Matcher, priorities: dict[str, int]) -> tuple[Any, ...]:
    """Kong asks the route with the greatest one first; a prefix that has a priority is closed with all of its path."""
    weight = 1 + bool(matcher.hosts) + bool(matcher.methods) + bool(matcher.headers)
    plain = bool(matcher.hosts) and not any("*" in host for host in matcher.hosts)
    path = matcher.route.path
    if is_exact(path) or is_pattern(path):
        place = (1, priorities[matcher.route.name], 0)
    elif matcher.route.query or matcher.route.name in priorities:
        place = (1, CLOSED, 0)
    elif _is_expression(matcher.route):
        place = (1, 0, 0)
    else:
        place = (0, 0, len(path) if not matcher.route.is_fallback else 0)
    return weight, plain, len(matcher.headers), *place


def _is_expression(route: ResolvedRoute) -> bool:
    """Whether a prefix is written as an expression, since a part of its path is captured."""
    path = "" if route.path == "/" else route.path
    names = route.answer is None and route.rewrite != f"{path}/{{path}}" and _names(route.rewrite)
    return bool(names) and _base(route.rewrite) is None
