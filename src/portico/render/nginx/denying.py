"""Requests that are refused for what they are: a map over what each rule asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

from portico.config import ResolvedRoute
from portico.core.conditions import is_value_pattern
from portico.core.route_paths import is_exact, is_pattern, literal_of
from portico.policies.deny import DenyRule
from portico.policies.when import When
from portico.render.nginx.names import Names
from portico.render.nginx.paths import pattern_text
from portico.render.nginx.text import literal, of_request, pattern

_NAMED: Final = re.compile(r"((?<!\\)(?:\\\\)*)\(\?P?<[A-Za-z_]\w*>")


def can_be_denied(names: Names, route: ResolvedRoute) -> bool:
    """Whether nginx can check all of a route's rules."""
    rules, _ = route.policies.get("deny", ((), ""))
    return all(_is_said(rule) and (names.lua is not None or not rule.needs_identity) for rule in rules)


def _is_said(rule: DenyRule) -> bool:
    when = rule.when
    patterns = [value for value in when.query.values() if value is not True and is_value_pattern(value)]
    return not (patterns or (when.path is not None and "%" in when.path))


def denying(names: Names, route: ResolvedRoute) -> Iterator[str]:
    """The line that refuses the requests of a route's rules."""
    rules, _ = route.policies.get("deny", ((), ""))
    lines: list[str] = []
    sources: list[str] = []
    for rule in rules:
        if rule.needs_identity:
            continue
        own = [*_tests(names, rule.when)]
        lines.append(f"{pattern('~^' + '.' * len(sources) + '1' * len(own))} 1;")
        sources += own
    if lines:
        source = "".join(f"${{{test.removeprefix('$')}}}" for test in sources)
        denied = names.map("denied", f'"{source}"', [*lines, 'default "";'])
        yield f"if ({denied}) {{ return 403; }}"


def rules_by_identity(names: Names, route: ResolvedRoute) -> list[tuple[DenyRule, str]]:
    """The rules that ask who it is, with the variable that is 1 where the rest fits; empty where there is no rest."""
    rules, _ = route.policies.get("deny", ((), ""))
    return [(rule, _all_of(names, [*_tests(names, rule.when)])) for rule in rules if rule.needs_identity]


def _all_of(names: Names, tests: list[str]) -> str:
    if not tests:
        return ""
    source = "".join(f"${{{test.removeprefix('$')}}}" for test in tests)
    return names.map("is_denied", f'"{source}"', [f"{'1' * len(tests)} 1;", "default 0;"])


def tested_fields(route: ResolvedRoute) -> dict[str, str]:
    """The fields that rules look at: the service gets the line that was looked at, and no second one of the name."""
    rules, _ = route.policies.get("deny", ((), ""))
    found = {name: of_request(name) for rule in rules for name in rule.when.headers}
    if any(rule.when.content_type for rule in rules):
        found["Content-Type"] = of_request("Content-Type")
    return found


def _tests(names: Names, when: When) -> Iterator[str]:
    if when.methods is not None:
        methods = sorted({*when.methods, *(["HEAD"] if "GET" in when.methods else [])})
        yield _test(names, "has_method", "$request_method", f"~^({'|'.join(map(literal, methods))})$")
    if when.path is not None:
        yield _is_at(names, when.path)
    for name, value in when.headers.items():
        yield _test(names, "has_field", of_request(name), expression_of(value))
    for name, condition in when.query.items():
        yield _test(names, "has_parameter", "$args", f"~{in_args(name, condition)}")
    if when.content_type is not None:
        kinds = "|".join(literal(each).replace(r"\*", "[^/;]+") for each in when.content_type)
        yield _test(names, "has_type", of_request("Content-Type"), rf"~*^\s*(?:{kinds})\s*(?:;|$)")


def expression_of(condition: str | bool) -> str:
    """The regular expression of a condition on a field."""
    if condition is True:
        return "~."
    text = str(condition)
    if is_value_pattern(text):
        mark, _, rest = text.partition(" ")
        return mark + without_names(rest)
    return f"~^{literal(text)}$"


def _is_at(names: Names, path: str) -> str:
    """The variable that is 1 for requests to a path: a letter that is percent-encoded evades nothing."""
    if not is_pattern(path):
        own = literal(literal_of(path).rstrip("/"))
        return _test(names, "is_denied_path", "$uri", f"~^{own}$" if is_exact(path) else f"~^{own}(?:/|$)")
    mark, text = path.partition(" ")[0], without_names(pattern_text(path))
    as_sent, decoded = (_test(names, "is_denied_path", source, f"{mark}{text}") for source in ("$path", "$uri"))
    return _test(names, "is_denied_path", f'"{as_sent}{decoded}"', "~1")


def _test(names: Names, name: str, source: str, expression: str) -> str:
    return names.map(name, source, [f"{pattern(expression)} 1;", "default 0;"])


def without_names(expression: str) -> str:
    """The same without names of groups: nginx would make variables of them, and of some it has its own."""
    return _NAMED.sub(lambda found: found[1] + "(?:", expression)


def in_query(text: str) -> str:
    """A regular expression for a text as forms may write it: each of its bytes also percent-encoded."""
    return "".join(_byte(value) for value in text.encode())


def in_args(name: str, condition: str | Literal[True], *, is_met: bool = True) -> str:
    """A regular expression for a query with a parameter that has a value, or with one that has another."""
    there = f"(?:^|&){in_query(name)}"
    if condition is True:
        return f"{there}(?:=|&|$)"
    value = f"={in_query(condition)}(?:&|$)" if condition else "=?(?:&|$)"
    return there + (value if is_met else f"(?!{value})(?:=|&|$)")


def _byte(value: int) -> str:
    encoded = "%" + "".join(f"[{each}{each.lower()}]" if each.isalpha() else each for each in f"{value:02X}")
    own = literal(chr(value)) if 0x20 < value < 0x7F and chr(value) not in "%&+=#" else ""
    if value == 0x20:
        own = r"\+"
    return f"(?:{own}|{encoded})" if own else encoded
