"""Documents in which something is wrong: they are refused, or take nothing from those of other services."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from portico.openapi.breaking import breaking_changes
from portico.openapi.document import DocumentError, judged
from portico.openapi.merge import merge
from portico.openapi.ways import Part, Way
from support.documented_apps import OLD, orders, pages

JUNK: list[Any] = [
    *(None, 0, True, 1.5, "", "x", "#/components/schemas/Item", "\u2028", [], [1], ["a", None]),
    *({}, {"a": 1}, {"$ref": "#/paths"}, {"$ref": 5}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


def mutated(document: Any, choose: random.Random) -> Any:
    document = copy.deepcopy(document)
    for _ in range(choose.randint(1, 4)):
        *above, key = choose.choice(list(places(document)))
        holder = document
        for each in above:
            holder = holder[each]
        if choose.random() < 0.7:
            holder[key] = copy.deepcopy(choose.choice(JUNK))
        else:
            del holder[key]
    return document


@pytest.mark.parametrize("seed", range(5))
def test_what_is_wrong_with_one_is_nothing_to_others(seed: int) -> None:
    choose = random.Random(seed)
    bases = [orders().openapi(), pages().openapi(), OLD]
    ways = [Way(name, name, name, lambda path, _, name=name: f"/{name}{path}") for name in ("bad", "good")]  # type: ignore[misc]
    for _ in range(40):
        base = choose.choice(bases)
        try:
            bad, good = judged(mutated(base, choose)), judged(base)
        except DocumentError:
            continue
        parts = [Part(way.tag, way.tag, each, (way,)) for way, each in zip(ways, (bad, good), strict=True)]
        found = merge(parts, "Gateway", {})
        msgspec.json.encode(found.content)
        assert {path for path in found.content["paths"] if path.startswith("/good/")} == {
            f"/good{path}" for path in base["paths"]
        }
        assert "good" not in found.failed
        breaking_changes(good, bad)
        breaking_changes(bad, good)
