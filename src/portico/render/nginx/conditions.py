"""Which of several routes for one path takes a request: a map over what they ask for, whose result is a location."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from portico.config import ResolvedRoute
from portico.core.conditions import is_value_pattern
from portico.render.nginx.denying import expression_of, in_args, in_query
from portico.render.nginx.fields import preflight
from portico.render.nginx.names import Names
from portico.render.nginx.paths import pattern_text
from portico.render.nginx.text import literal, pattern
from portico.render.sites import Site, is_open

UNCLEAR: Final = "@unclear"
"""The location of requests with a parameter that comes twice, on which a route depends."""


def choice(names: Names, routes: Sequence[ResolvedRoute], otherwise: str) -> str:
    """The variable with the name of the location of the first route that fits, else `otherwise`."""
    tests = [_tests(names, route) for route in routes if not is_open(route)]
    lines, before = [], 0
    for route, own in zip((route for route in routes if not is_open(route)), tests, strict=True):
        # Each test is a 1, a 0 or a 2 in the source, in order.
        if may_be_unclear([route]):
            lines.append(f"{pattern('~^' + '.' * before + '1*2')} {UNCLEAR};")
        lines.append(f"{pattern('~^' + '.' * before + '1' * len(own))} {location_of(route)};")
        before += len(own)
    last = next((location_of(route) for route in routes if is_open(route)), otherwise)
    source = "".join(f"${{{test.removeprefix('$')}}}" for own in tests for test in own)
    return names.map("chosen", f'"{source}"', [*lines, f"default {last};"])


def before_locations(names: Names, site: Site, exact: Sequence[str]) -> str:
    """The variable with the location of a route by pattern whose conditions are met; nothing for other requests.

    nginx goes to no other location once a pattern matches: so where others may follow, the conditions are looked at
    before it chooses one. `exact` are the paths that come before all patterns.
    """
    lines, sources = [], []
    if exact:
        is_exact = [f"{pattern('~^' + literal(path) + '$')} 1;" for path in exact]
        sources.append(names.map("is_exact", "$path", [*is_exact, "default 0;"]))
        lines.append('"~^1" "";')
    last = max(index for index, place in enumerate(site.patterns) if place.may_fall)
    for place in site.patterns[: last + 1]:
        mark = place.path.partition(" ")[0]
        matches = _test(names, "is_like", "$path", mark + pattern_text(place.path).replace("(?<in_", "(?<at_"))
        for route in place.routes:
            own = [matches, *_tests(names, route)]
            if may_be_unclear([route]):
                lines.append(f"{pattern('~^' + '.' * len(sources) + '1*2')} {UNCLEAR};")
            target = '""' if is_open(route) and not place.may_fall else location_of(route)
            lines.append(f"{pattern('~^' + '.' * len(sources) + '1' * len(own))} {target};")
            sources += own
    source = "".join(f"${{{test.removeprefix('$')}}}" for test in sources)
    return names.map("chosen_before", f'"{source}"', [*lines, 'default "";'])


def location_of(route: ResolvedRoute) -> str:
    """The named location of a route."""
    return f"@{route.name}"


def _tests(names: Names, route: ResolvedRoute) -> list[str]:
    """The variables that are 1 where the route's conditions are met, and else 0."""
    tests = []
    if route.methods:
        asked = "$request_method"
        if "cors" in route.policies:  # a preflight takes the route of the request that it asks about
            asks = preflight(names)
            asked = names.map("asked_method", asks, ["1 $http_access_control_request_method;", f"default {asked};"])
        methods = sorted({*route.methods, *(["HEAD"] if "GET" in route.methods else [])})
        tests.append(_test(names, "has_method", asked, f"~^({'|'.join(map(literal, methods))})$"))
    for name, value in route.headers.items():
        tests.append(_test(names, "has_field", "$http_" + name.lower().replace("-", "_"), expression_of(value)))
    for name, condition in route.query.items():
        tests += _parameter(names, route, name, condition)
    return tests


def _parameter(names: Names, route: ResolvedRoute, name: str, condition: str | Literal[True]) -> Iterator[str]:
    """The variables that are 1 where a parameter is as it is asked for; 2 where it comes twice and both is true."""
    is_met = pattern("~" + in_args(name, condition if condition is True or not is_value_pattern(condition) else True))
    if condition is True:
        yield names.map("has_parameter", "$args", [f"{is_met} 1;", "default 0;"])
    elif not is_value_pattern(condition):
        both = pattern(f"~^(?=.*{in_args(name, condition)})(?=.*{in_args(name, condition, is_met=False)})")
        yield names.map("has_parameter", "$args", [f"{both} 2;", f"{is_met} 1;", "default 0;"])
    else:
        why = "nginx compares a parameter as it was sent, percent-encoded or not, and the first of several"
        names.losses.add((*route.source, "query", name), why)
        yield names.map("has_parameter", "$args", [f"{is_met} 1;", "default 0;"])
        first = pattern(f"~^(?:.*?&)?{in_query(name)}(?:=(?<sent_value>[^&]*))?(?:&|$)")
        value = names.map("parameter", "$args", [f"{first} $sent_value;", 'default "";'])
        yield _test(names, "is_value", value, expression_of(condition))


def may_be_unclear(routes: Iterable[ResolvedRoute]) -> bool:
    """Whether one of these depends on the value of a parameter, which may come twice."""
    values = (value for route in routes for value in route.query.values())
    return any(value is not True and not is_value_pattern(value) for value in values)


def _test(names: Names, name: str, source: str, expression: str) -> str:
    return names.map(name, source, [f"{pattern(expression)} 1;", "default 0;"])
