"""Which of several routes for one path takes a request: a map over what they ask for, whose result is a location."""

from __future__ import annotations

import re
from collections.abc import Sequence

from portico.config import ResolvedRoute
from portico.render.nginx.denying import expression_of
from portico.render.nginx.fields import preflight
from portico.render.nginx.names import Names
from portico.render.nginx.paths import pattern_text
from portico.render.nginx.text import literal, pattern
from portico.render.sites import Site, is_open


def choice(names: Names, routes: Sequence[ResolvedRoute], otherwise: str) -> str:
    """The variable with the name of the location of the first route that fits, else `otherwise`."""
    tests = [_tests(names, route) for route in routes if not is_open(route)]
    lines, before = [], 0
    for route, own in zip((route for route in routes if not is_open(route)), tests, strict=True):
        # Each test is a 1 or a 0 in the source, in order.
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
        if condition is True:
            tests.append(_test(names, "has_parameter", "$args", f"~(^|&){literal(name)}(=|&|$)"))
        elif re.fullmatch(r"\w+", name, re.ASCII):
            tests.append(_test(names, "has_parameter", f"$arg_{name}", expression_of(condition)))
        else:
            names.losses.add((*route.source, "query", name), "nginx has no variable for a parameter of this name")
            tests.append(_test(names, "has_parameter", "$args", "~(?!)"))
    return tests


def _test(names: Names, name: str, source: str, expression: str) -> str:
    return names.map(name, source, [f"{pattern(expression)} 1;", "default 0;"])
