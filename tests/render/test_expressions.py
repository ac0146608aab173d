"""Patterns written anew find the very paths that Portico's own matcher takes."""

from __future__ import annotations

import re
from random import Random

import pytest

from portico.core.errors import MessageError
from portico.core.paths import segments_of
from portico.core.patterns.pattern import path_text
from portico.core.patterns.pattern_set import PatternSet
from portico.core.route_paths import pattern_of
from portico.render.expressions import expression_of, value_expression

UNITS = (*"ab/F2cCx.", "%2F", "%C3", "%A9", "%20", "%25")
ATOMS = (*"ab/F2cC.", "%2F", "%c3", "%A9", r"\d", r"\w", "[^/]", "[^%2F]", "[a-c2]", r"\.", r"\S", r"\W", "[%2F%20a]")
TIMES = ("", "", "", "*", "+", "?", "{1,2}", "*?")


@pytest.mark.parametrize(
    ("path", "expression"),
    [
        ("/users", "^/users(?:/.*)?$"),
        ("= /a.b", r"^/a\.b$"),
        ("~ ^/users/(?P<id>[0-9]+)$", "^/users/([0-9]+)$"),
        ("~* ^/Re/(?P<x>[a-z]+)$", "^/[Rr][Ee]/([A-Za-z]+)$"),
        (r"~ ^/excel/([^\/]+)$", "^/excel/[^/]+$"),
        ("~ ^/(one|two)/api/(?P<rest>.*)$", "^/(?:one|two)/api/(.*)$"),
        (r"~ ^/x[\s\S]*$", "^/x.*$"),
        (r"~ \.php$", r"\.php$"),
        ("~ ^/a.b", "^/a(?:[^%]|%[0-9A-F]{2})b"),
        ("~ 2F$", "^(?:[^%]|%[0-9A-F]{2})*?2F$"),
    ],
)
def test_it_is_written_plainly(path: str, expression: str) -> None:
    assert expression_of(path) == expression


def test_values() -> None:
    assert value_expression("a.b") == r"^a\.b$"
    assert value_expression("~ ^v[12]$") == "^v[12]$"
    assert value_expression("~* bad.*bot") == "[Bb][Aa][Dd].*[Bb][Oo][Tt]"


@pytest.mark.parametrize("seed", range(3))
def test_any_pattern_takes_the_same_paths(seed: int) -> None:
    random, compared = Random(seed), 0
    while compared < 1000:
        text = random.choice(("^/", "^", "")) + _sequence(random, 2) + random.choice(("", "$"))
        try:
            pattern = pattern_of(f"~ {text}")
        except ValueError:
            continue
        ours, theirs = PatternSet([pattern]), re.compile(expression_of(f"~ {text}"))
        for _ in range(20):
            path = "/" + "".join(random.choices(UNITS, k=random.randint(0, 7)))
            try:
                segments = segments_of(path.encode())
            except MessageError:
                continue
            assert bool(ours.matches(path_text(segments))) == bool(theirs.search(path)), (text, path)
            compared += 1


def _sequence(random: Random, depth: int) -> str:
    return "".join(_atom(random, depth) + random.choice(TIMES) for _ in range(random.randint(1, 3)))


def _atom(random: Random, depth: int) -> str:
    if depth and random.random() < 0.3:
        return f"({'|'.join(_sequence(random, depth - 1) for _ in range(random.randint(1, 2)))})"
    return str(random.choice(ATOMS))
