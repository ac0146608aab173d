"""Costs in event streams: passed over quickly where there is none, and never missed, however the stream is cut."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import brotli
import pytest
from pydantic import ValidationError

from portico.core.codings.zstandard import encode_zstd
from portico.policies.costs import CostSettings
from portico.policies.costs.reading import CostReading, EventReader, Pointers

POINTERS = {"/usage/total": 1.0, "/message/usage/input": 10.0}


def event(chance: random.Random, number: int) -> tuple[str, dict[str, Any]]:
    """One event, and its data."""
    data: dict[str, Any] = {
        "text": chance.choice(["a", 'the "total" is', "total", "data: {}", "é"]) * chance.randrange(9)
    }
    if chance.random() < 0.2:
        data["usage"] = {"total": number}
    if chance.random() < 0.1:
        data["message"] = {"usage": {"input": number}, "total": "total"}
    end = chance.choice(["\n", "\r\n"])
    lines = json.dumps(data, indent=chance.choice([None, None, 1]), ensure_ascii=chance.random() < 0.5).split("\n")
    before = chance.choice(["", f"event: total{end}", f': "total"{end}', f"id: 1{end}"])
    return before + "".join(f"data: {line}{end}" for line in lines) + end, data


def test_no_cost_is_missed() -> None:
    chance = random.Random(11)
    for _ in range(300):
        events = [event(chance, number) for number in range(1, chance.randrange(2, 40))]
        text = "".join(each for each, _ in events).encode()
        total = [data["usage"]["total"] for _, data in events if "usage" in data]
        given = [data["message"]["usage"]["input"] for _, data in events if "message" in data]
        wanted = (total[-1] if total else 0) + 10 * (given[-1] if given else 0) if total or given else None
        reader, at = EventReader(Pointers(POINTERS)), 0
        while at < len(text):
            size = chance.choice([1, 7, 100, 1000, 5000])
            reader.feed(text[at : at + size])
            at += size
        assert reader.cost() == wanted, text


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        ({"/usage/total": 1.0}, 10),
        ({"/usage/total": 1.0, "/usage/cached": -1.0}, 6),
        ({"/usage/total": 0.25}, 3),
        ({"/usage/cached": -5.0}, 0),
        ({"/usage/total": 1e6, "/usage/big": 1e6}, 10**12),
        ({"/usage/none": 1.0}, None),
    ],
)
def test_weights(weights: dict[str, float], found: int | None) -> None:
    settings = CostSettings.model_validate({"json": weights})
    reader = CostReading(settings).reader(b"application/json", ())
    assert reader is not None
    reader.feed(b'{"usage": {"total": 10, "cached": 4, "big": 999999999999}}')
    assert reader.cost() == found


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({}, "says nothing of where the cost is"),
        ({"stream": True}, "says nothing of where the cost is"),
        ({"json": "usage"}, "begins with a slash"),
        ({"json": ""}, "means the whole document"),
        ({"json": []}, "name from one to 16"),
        ({"json": ["/usage", "/usage/total"]}, "is inside /usage"),
        ({"json": 5}, "expected /usage/total_tokens"),
        ({"json": {"/a": float("nan")}}, "finite"),
        ({"header": "X Cost"}, "not a name"),
        ({"json": "/a", "default": -1}, "greater than or equal to 0"),
    ],
)
def test_what_cannot_be(written: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        CostSettings.model_validate(written)


def test_nothing_is_read_where_nothing_can_be_found() -> None:
    reading = CostReading(CostSettings.model_validate({"json": "/a", "stream": False}))
    kinds = (b"text/event-stream", b"text/plain", b"", b"application/x-ndjson", b"image/png")
    assert [reading.reader(kind, ()) for kind in kinds] == [None] * len(kinds)
    assert reading.reader(b"application/json", (b"unknown",)) is None
    assert reading.reader(b"Application/JSON; charset=utf-8", ()) is not None


ENCODE: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": partial(encode_zstd, level=3),
}


@pytest.mark.parametrize("coding", ENCODE)
def test_a_word_repeated_as_often_as_can_be_hides_no_cost(coding: bytes) -> None:
    encode = ENCODE[coding]
    reading = CostReading(CostSettings.model_validate({"json": "/usage/total"}))
    for size, cost in ((1000, 5), (8 << 20, 5), (24 << 20, None)):
        reader = reading.reader(b"application/json", (coding,))
        assert reader is not None
        reader.feed(encode(b'{"text": "' + b"a" * size + b'", "usage": {"total": 5}}'))
        assert reader.cost() == cost
