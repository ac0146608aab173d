"""Parameters of the query by their names in every spelling, which HAProxy's own words do not know."""

from __future__ import annotations

from collections.abc import Iterator

from portico.config import Config
from portico.core.conditions import is_value_pattern
from portico.core.query_names import spelled
from portico.render.haproxy.names import Names, of_policy
from portico.render.haproxy.text import found_in, word

_FIELD = "x-portico-query"
"""A field in which the query stands for a moment: HAProxy replaces matches in nothing else."""


def spelling(name: str) -> str:
    """An expression for a name, encoded or not."""
    return spelled(name).decode("latin-1")


def is_there(name: str) -> str:
    """The condition that the query has a parameter."""
    return found_in("query", f"(?:^|&){spelling(name)}(?:=|&|$)")


def is_twice(name: str) -> str:
    """The condition that it has it more than once."""
    return found_in("query", f"(?:^|&){spelling(name)}(?:=[^&]*)?&(?:.*&)?{spelling(name)}(?:=|&|$)")


def differs(name: str, condition: str) -> str:
    """The condition that it comes more than once, and is not the same each time as to what is asked of it.

    Where a pattern is asked for, twice is too often.
    """
    if is_value_pattern(condition):
        return is_twice(name)
    there = f"(?:^|&){spelling(name)}"
    value = f"={spelling(condition)}(?:&|$)" if condition else "=?(?:&|$)"
    return found_in("query", f"^(?=.*{there}{value})(?=.*{there}(?!{value})(?:=|&|$))")


def variable_of(names: Names, name: str) -> str:
    """The variable with the value of a parameter that `reading` reads."""
    number, _ = names.once(("parameter", name), "parameter")
    return f"txn.{number.replace('-', '_')}"


def reading(names: Names) -> Iterator[str]:
    """The lines that read all parameters whose values are asked for anywhere."""
    for name in dict.fromkeys(_asked(names.config)):
        yield from value_lines(name, variable_of(names, name), "url_dec(1)")


def value_lines(name: str, variable: str, decoding: str) -> Iterator[str]:
    """The lines that read one value."""
    there = is_there(name)
    value = word(f"^(?:.*?&)?{spelling(name)}(?:=([^&]*))?(?:&.*)?$")
    yield f"http-request set-header {_FIELD} %[query] if {there}"
    yield f"http-request replace-header {_FIELD} {value} '\\1' if {there}"
    yield f"http-request set-var({variable}) req.fhdr({_FIELD}),{decoding} if {there}"
    yield f"http-request del-header {_FIELD}"


def without(name: str, condition: str) -> Iterator[str]:
    """The lines that take a parameter off the query, of requests that meet a condition."""
    whole = f"^{spelling(name)}(?:=[^&]*)?$"
    rest = f"^(.*?&)?{spelling(name)}(?:=[^&]*)?(?:&(.*))?$"
    alone = found_in("query", whole)
    yield f"http-request set-header {_FIELD} %[query]"
    yield f"http-request replace-header {_FIELD} {word(rest)} '\\1\\2' if {condition}"
    yield f"http-request replace-header {_FIELD} '^(.*)&$' '\\1' if {condition} !{found_in('query', '&$')}"
    yield f"http-request set-var-fmt(txn.query) ?%[req.fhdr({_FIELD})] if {condition} !{alone}"
    yield f"http-request set-var(txn.query) str() if {condition} {alone}"
    yield f"http-request del-header {_FIELD}"
    yield f"http-request set-pathq %[path]%[var(txn.query)] if {condition}"


def _asked(config: Config) -> Iterator[str]:
    for route in config.all_routes:
        yield from (name for name, condition in route.query.items() if condition is not True)
        rules = of_policy(route.policies, "deny") or ()
        for rule in rules:  # type: ignore[attr-defined]
            yield from (name for name, condition in rule.when.query.items() if condition is not True)
