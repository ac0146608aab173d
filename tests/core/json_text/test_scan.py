"""Numbers at places of JSON that comes in pieces: against a parser, and where it is no JSON."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from portico.core.json_text.pointers import names_of
from portico.core.json_text.scan import Places, Scan, number_of

POINTERS = ["/usage/total_tokens", "/a/1/b", "/x"]
PLACES = Places.of(map(names_of, POINTERS))


def found(*pieces: bytes) -> list[int | None]:
    scan = Scan(PLACES, len(POINTERS))
    for piece in pieces:
        scan.feed(piece)
    scan.end()
    return scan.found


def parsed(document: Any, pointer: str) -> int | None:
    value = document
    try:
        for name in names_of(pointer):
            value = value[int(name)] if isinstance(value, list) else value[name.decode()]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number_of(json.dumps(value).encode()) if is_number else None


def value(chance: random.Random, depth: int) -> Any:
    if depth > 4 or chance.random() < 0.3:
        return chance.choice([1, 2.5, -3, 12345, 1e308, True, None, "us\\age", '"}{][', "é☃", "\n"])
    if chance.random() < 0.4:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return members(chance, depth)


def members(chance: random.Random, depth: int) -> dict[str, Any]:
    names = ["usage", "total_tokens", "a", "b", "x", "us\tage", "y\\"]
    made = {chance.choice(names): value(chance, depth + 1) for _ in range(chance.randrange(5))}
    if chance.random() < 0.4:
        made["usage"] = {"q": value(chance, depth + 2), "total_tokens": chance.choice([3, 5.5, "x", value(chance, 4)])}
        made["a"] = [value(chance, depth + 1), {"c": value(chance, depth + 2), "b": chance.randrange(9)}]
    return made


def test_it_finds_what_a_parser_finds() -> None:
    chance, numbers = random.Random(3), 0
    for _ in range(1500):
        document = members(chance, 0) if chance.random() < 0.9 else value(chance, 0)
        indent = chance.choice([None, 1])
        text = json.dumps(document, ensure_ascii=chance.random() < 0.5, indent=indent).encode()
        cuts = sorted(chance.randrange(len(text) + 1) for _ in range(chance.randrange(len(text) + 1)))
        pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        wanted = [parsed(document, pointer) for pointer in POINTERS]
        assert found(*pieces) == wanted, text
        numbers += sum(number is not None for number in wanted)
    assert numbers > 500


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("0", 0),
        ("12.01", 13),
        ("1e3", 1000),
        ("1e12", 10**12),
        ("1e13", None),
        ("1e308", None),
        ("1e999", None),
        ("9" * 100, None),
        ("-1", None),
        ("NaN", None),
        ("Infinity", None),
        ("012", None),
        ("+1", None),
        ("0x10", None),
        ("true", None),
        ("null", None),
        ('"12"', None),
        ("[12]", None),
        ('{"n": 12}', None),
    ],
)
def test_which_numbers_are_believed(text: str, number: int | None) -> None:
    assert found(f'{{"x": {text}, "y": 1}}'.encode())[2] == number


def test_the_last_number_counts_in_texts_that_follow_each_other() -> None:
    assert found(b'{"x": 1}\n{"x": 2}\n{"x": "3"}')[2] == 2
    assert found(b'{"x": 1, "x": 2}')[2] == 2
    assert found(b'{"\\u0078": 4}')[2] == 4


@pytest.mark.parametrize("bad", [b"}}]]", b'"', b"{", b'{"x"', b"nul", b"[[[", b"\xff\x00{", b'{"x\\ud800":1}', b"<p>"])
def test_what_is_no_json_does_no_harm(bad: bytes) -> None:
    for cut in range(len(bad)):
        assert found(bad[:cut], bad[cut:])[:2] == [None, None]


def test_nothing_is_kept_of_what_is_long() -> None:
    """Names, numbers, strings and depth, a million bytes of each."""
    for start, piece in (
        (b'{"', b"n"),
        (b'{"x": ', b"1"),
        (b'{"x": "', b"s"),
        (b"", b"["),
        (b"", b"{"),
        (b'{"x": "', b"\\"),
    ):
        scan = Scan(PLACES, len(POINTERS))
        scan.feed(start)
        for _ in range(100):
            scan.feed(piece * 10_000)
        kept = scan._kept
        assert kept is None or len(kept) < 200
        assert len(scan._path) <= 3
