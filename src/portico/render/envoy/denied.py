"""Rules of `deny`: routes before the one that they guard, whose requests are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from portico.config import ResolvedRoute
from portico.core.conditions import is_value_pattern
from portico.policies.deny import DenyRule
from portico.policies.when import When
from portico.render.envoy.answers import answered
from portico.render.envoy.matches import asked, in_query, regex, words
from portico.render.envoy.names import CannotError, Section
from portico.render.envoy.regexes import whole_path, whole_value
from portico.render.expressions import literal
from portico.render.policies import policy_path

_AFTER: Final = r"(?:\?.*)?"


def denied(route: ResolvedRoute, match: Section) -> Iterator[Section]:
    """The routes that refuse what a route's rules are for. Raises CannotError."""
    rules, scope = route.policies.get("deny", (None, ""))
    at = policy_path(route, scope, "deny")
    for index, rule in enumerate(rules or ()):
        conditions = [*_conditions(rule, (*at, index))]
        yield answered("request_denied", {**match, "headers": [*match.get("headers", ()), *conditions]})


def _conditions(rule: DenyRule, at: tuple[str | int, ...]) -> Iterator[Section]:
    when: When = rule.when
    if when.consumer is not None or when.claims:
        raise CannotError(at)
    if when.methods is not None:
        yield words(":method", sorted({*when.methods, *(["HEAD"] if "GET" in when.methods else [])}))
    if when.path is not None:
        yield regex(":path", f"(?:{whole_path(when.path)}){_AFTER}")
    for name, condition in when.headers.items():
        yield asked(name, condition) if condition is True else regex(name.lower(), _any_line(str(condition)))
    for name, condition in when.query.items():
        if condition is not True and is_value_pattern(str(condition)):
            raise CannotError((*at, "when", "query", name))
        yield in_query(name, condition)
    if when.content_type is not None:
        yield regex("content-type", "|".join(map(_media, when.content_type)))


def _any_line(condition: str) -> str:
    """A value of a field, which a client may send several times: Envoy joins these with commas."""
    value = whole_value(condition) if is_value_pattern(condition) else literal(condition)
    return rf"(?s)(?:\C*,)?[ \t]*(?:{value})[ \t]*(?:,\C*)?"


def _media(kind: str) -> str:
    text = re.sub(r"\*", "[^;]*", literal(kind).replace(r"\*", "*"))
    return rf"(?i)[ \t]*{text}[ \t]*(?:;.*)?"
