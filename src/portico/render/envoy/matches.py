"""What a route matches: paths, and what is asked of method, fields and query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from portico.config import ResolvedRoute
from portico.core.conditions import is_value_pattern
from portico.core.route_paths import is_exact
from portico.render.envoy.names import Section
from portico.render.envoy.regexes import exact, hidden, is_plain, parameter, whole_path, whole_value
from portico.render.expressions import literal

EVERYTHING: Final[Section] = {"prefix": "/"}


def path_match(path: str) -> Section:
    """Paths as a route's path takes them: whole segments, a whole path, or a pattern."""
    if path == "/":
        return dict(EVERYTHING)
    if not is_plain(path):
        return {"safe_regex": {"regex": whole_path(path)}}
    return {"path": exact(path)} if is_exact(path) else {"path_separated_prefix": path}


def route_match(route: ResolvedRoute) -> Section:
    """What the route takes."""
    return with_conditions(path_match(route.path), route, methods_of(route))


def with_conditions(match: Section, route: ResolvedRoute, methods: Iterable[str], field: str = ":method") -> Section:
    """A match by path with a route's conditions; the method is asked of `field`."""
    fields = [words(field, methods)] if methods else []
    fields += [_asked(name, value) for name, value in route.headers.items()]
    patterns = {name: text for name, text in route.query.items() if text is not True and is_value_pattern(text)}
    fields += [in_query(name, value) for name, value in route.query.items() if name not in patterns]
    fields += [in_query(name, value) for name, value in patterns.items() if parameter(name) != name]
    parameters = [_parameter(name, value) for name, value in patterns.items() if parameter(name) == name]
    return {
        **match,
        **({"headers": fields} if fields else {}),
        **({"query_parameters": parameters} if parameters else {}),
    }


def with_twice(match: Section, route: ResolvedRoute) -> Iterator[Section]:
    """Matches for requests of a route with a parameter that comes twice: it may be another one each time."""
    for name, value in route.query.items():
        if value is not True:
            own = rf"(?:.*&)?{hidden(name)}(?:=[^&]*)?"
            yield {**match, "headers": [*match.get("headers", []), regex(":path", rf"[^?]*\?{own}&{own}(?:&.*)?")]}


def methods_of(route: ResolvedRoute) -> list[str]:
    """The methods that it takes; none for all."""
    return sorted({*route.methods, *(["HEAD"] if "GET" in route.methods else [])})


def words(field: str, values: Iterable[str]) -> Section:
    """That a field has one of these values."""
    found = [*values]
    if len(found) == 1:
        return {"name": field, "string_match": {"exact": found[0]}}
    return regex(field, "|".join(map(literal, found)))


def regex(field: str, expression: str) -> Section:
    """That the value of a field is as this expression says."""
    return {"name": field, "string_match": {"safe_regex": {"regex": expression}}}


def asked(name: str, condition: str | bool) -> Section:
    """That a field is there, has a value, or one that a pattern matches."""
    if condition is True:
        return {"name": name.lower(), "present_match": True}
    return _asked(name, str(condition))


def _asked(name: str, condition: str) -> Section:
    if is_value_pattern(condition):
        return regex(name.lower(), whole_value(condition))
    return {"name": name.lower(), "string_match": {"exact": condition}}


def in_query(name: str, condition: str | bool) -> Section:
    """The same of a parameter, however name and value are encoded; a pattern sees the value as it was sent."""
    text = "" if condition is True else str(condition)
    said = f"={hidden(text)}" if text else "=?"
    if condition is True:
        said = "(?:=[^&]*)?"
    elif is_value_pattern(text):
        said = "=" + whole_value(text).replace(r"\C*", "[^&]*")
    return regex(":path", rf"[^?]*\?(?:.*&)?{hidden(name)}{said}(?:&.*)?")


def _parameter(name: str, condition: str) -> Section:
    """The same for a pattern, where the name is sent as it is: of several parameters, Envoy takes the first."""
    return {"name": name, "string_match": {"safe_regex": {"regex": whole_value(condition)}}}
