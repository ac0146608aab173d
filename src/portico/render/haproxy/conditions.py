"""Which of several routes for one path takes a request."""

from __future__ import annotations

from collections.abc import Iterator

from portico.config import ResolvedRoute
from portico.core.conditions import is_value_pattern
from portico.render.expressions import value_expression
from portico.render.haproxy.names import Names
from portico.render.haproxy.parameters import differs, is_there, variable_of
from portico.render.haproxy.text import equals, found_in


def methods_of(route: ResolvedRoute) -> list[str]:
    """The methods that a route takes; none: all."""
    return sorted({*route.methods, *(["HEAD"] if "GET" in route.methods else [])})


def tests(names: Names, route: ResolvedRoute) -> str:
    """The conditions of a route, as they stand behind `if`; empty for none."""
    return " ".join(_tests(names, route))


def unclear(route: ResolvedRoute) -> Iterator[str]:
    """The conditions of requests that a route cannot be chosen for: a parameter comes twice, with other values."""
    before: list[str] = []
    if methods := methods_of(route):
        before.append(equals("var(txn.asked)" if "cors" in route.policies else "method", *methods))
    before += [meets(f"req.fhdr({name})", value) for name, value in route.headers.items()]
    for name, condition in route.query.items():
        if condition is not True:
            yield " ".join((*before, differs(name, condition)))


def _tests(names: Names, route: ResolvedRoute) -> Iterator[str]:
    if methods := methods_of(route):
        # A preflight takes the route of the request that it asks about.
        yield equals("var(txn.asked)" if "cors" in route.policies else "method", *methods)
    for name, value in route.headers.items():
        yield meets(f"req.fhdr({name})", value)
    for name, condition in route.query.items():
        yield is_there(name) if condition is True else meets(f"var({variable_of(names, name)})", condition)


def meets(source: str, condition: str) -> str:
    """The condition that a value is as written."""
    if is_value_pattern(condition):
        return found_in(source, value_expression(condition))
    return equals(source, condition)
