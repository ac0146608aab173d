"""Paths that a service may read as those of a guarded route, and that have another here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from portico.config import ResolvedRoute
from portico.core.route_paths import is_exact, is_pattern, literal_of, pattern_of
from portico.render.envoy.answers import answered
from portico.render.envoy.matches import regex
from portico.render.envoy.names import Section
from portico.render.expressions import literal
from portico.render.policies import guards_of

_SLASH = r"(?:/|\\|%2[Ff]|%5[Cc])"
_PARAMETERS = r"(?:%20|%[01][0-9A-Fa-f]|%7[Ff])*(?:(?:;|%(?:25)?3[Bb])[^/]*)?"
_BETWEEN = rf"{_PARAMETERS}{_SLASH}(?:{_SLASH}|(?:;|%3[Bb])[^/]*)*"

_CUT = r"%(?:25)?(?:3[Ff]|23).*"
"""An encoded question mark or number sign, at which some end the path."""
_ODD = r"//|;|%3[Bb]|\\|%2[Ff]|%5[Cc]|%25|%20(?:/|$|\?)|%3[Ff]|%23|%[01][0-9A-Fa-f]|%7[Ff]"
"""What services read in several ways."""


def guards(route: ResolvedRoute) -> frozenset[tuple[str, int]]:
    """What refuses requests of a route."""
    keys = [*guards_of(route), *(["ip_filter"] if route.policies.get("ip_filter", (None, ""))[0] is not None else [])]
    return frozenset((key, id(route.policies[key][0])) for key in keys)


def read_otherwise(route: ResolvedRoute, prefixes: Mapping[str, Sequence[ResolvedRoute]]) -> Iterator[Section]:
    """The route that refuses other spellings of a guarded route's path, where one of a prefix above would take them."""
    own = guards(route)
    path = literal_of(route.path).rstrip("/")
    if not own or (not path and not is_pattern(route.path)):
        return
    if is_pattern(route.path):
        yield from _like(route, own, prefixes)
        return
    parts = path.split("/")
    above = [each for at in range(1, len(parts)) for each in prefixes.get("/".join(parts[:at]) or "/", ())]
    if all(own <= guards(each) for each in above):
        return
    segments = _BETWEEN.join("".join(map(_letter, segment)) for segment in path.split("/")[1:])
    end = _PARAMETERS + ("" if is_exact(route.path) else f"(?:{_SLASH}.*)?")
    plain = literal(path) + (r"(?:\?.*)?" if is_exact(route.path) else r"(?:[/?].*)?")
    spelt = {"headers": [{**regex(":path", plain), "invert_match": True}]}
    match: Section = {"safe_regex": {"regex": rf"{_SLASH}(?:{_SLASH}|;[^/]*)*{segments}(?:{end}|{_CUT})"}, **spelt}
    yield answered("malformed_request", match)


def _like(
    route: ResolvedRoute, own: frozenset[tuple[str, int]], prefixes: Mapping[str, Sequence[ResolvedRoute]]
) -> Iterator[Section]:
    """The same for a pattern: which readings it would match, RE2 cannot say, so that any other spelling is refused."""
    beginning = pattern_of(route.path).prefix.rstrip("/")
    parts = beginning.split("/")
    above = [each for at in range(1, len(parts) + 1) for each in prefixes.get("/".join(parts[:at]) or "/", ())]
    below = [each for path, several in prefixes.items() if path.startswith(f"{beginning}/") for each in several]
    if all(own <= guards(each) for each in (*above, *below)):
        return
    segments = "".join(_BETWEEN + "".join(map(_letter, part)) for part in parts[1:])
    odd = {"headers": [regex(":path", rf"[^?]*(?:{_ODD})[^?]*(?:\?.*)?")]}
    match: Section = {"safe_regex": {"regex": f"{segments}.*" if segments else "/.*"}, **odd}
    yield answered("malformed_request", match)


def _letter(letter: str) -> str:
    """A character, or what becomes of it by decoding once or twice."""
    digits = "".join(f"[{each.upper()}{each.lower()}]" if each.isalpha() else each for each in f"{ord(letter):02x}")
    return f"(?:{literal(letter)}|%(?:25)?{digits})"
