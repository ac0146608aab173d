"""Paths that services may read as one with a guard, and that Envoy would take for another one's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portico.config import ResolvedRoute
from portico.core.route_paths import is_exact, literal_of
from portico.render.envoy.matches import regex
from portico.render.envoy.names import Section
from portico.render.expressions import literal
from portico.render.policies import OPEN
from portico.render.sites import Site

SEPARATOR: Final = r"(?:[/\\]|%2[Ff]|%5[Cc])"
"""What services take for a slash."""
_PARAMETERS: Final = r"(?:(?:;|%3[Bb])[^/\\]*)?"
_DROPPED: Final = f"{_PARAMETERS}(?:%20)?"
"""What some of them drop at the end of a segment."""
_BEGINNING: Final = f"(?:{SEPARATOR}{_PARAMETERS})+"


def hidden_paths(site: Site) -> Iterator[Section]:
    """Matches for the other spellings of exact paths and prefixes that have a guard which others have not."""
    guards = {_guards_of(route) for place in site.places for route in place.routes}
    for place in (*site.exact, *site.prefixes):
        own = frozenset[tuple[str, int]]().union(
            *(_guards_of(each) for each in place.routes if each.path == place.path)
        )
        segments = literal_of(place.path).strip("/").split("/")
        if not own or segments == [""] or all(own <= others for others in guards):
            continue
        below = "" if is_exact(place.path) else "/"
        spelled = "".join(f"{_BEGINNING}{_decoded_twice(each)}{_DROPPED}" for each in segments)
        end = f"(?:{SEPARATOR}.*)?" if below else ""
        plain = literal(literal_of(place.path).rstrip("/") or "/") + (r"(?:/[^?]*)?" if below else "") + r"(?:\?.*)?"
        yield {"safe_regex": {"regex": f"{spelled}{end}"}, "headers": [{**regex(":path", plain), "invert_match": True}]}


def _decoded_twice(segment: str) -> str:
    """A segment whose letters some services decode twice."""
    return "".join(
        f"(?:{literal(each)}|%25(?i:{ord(each):02x}))" if each.isalnum() and each.isascii() else literal(each)
        for each in segment
    )


def _guards_of(route: ResolvedRoute) -> frozenset[tuple[str, int]]:
    """What not everybody passes before what is behind a route."""
    return frozenset(
        (key, id(settings))
        for key, (settings, _) in route.policies.items()
        if key not in OPEN - {"ip_filter"} and settings is not None
    )
