"""What is remembered of an instance's response heads, and how much of it."""

from __future__ import annotations

import pytest

from portico.wire.http1 import response_heads as module
from portico.wire.http1.response_heads import ResponseHeads


def head(number: int, fields: int = 1) -> bytes:
    lines = b"\r\n".join(b"X-%d: %020d" % (each, number) for each in range(fields))
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + lines


def test_heads_with_many_fields_reduce_how_many_entries_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_BYTES", 50_000)
    heads = ResponseHeads()
    most = 0
    for number in range(200):
        for _ in range(2):
            assert heads[head(number, 20)].status == 200
        assert 3 * sum(map(len, heads)) <= 50_000
        most = max(most, len(heads))
    assert 5 < most < 20


def test_what_does_not_come_again_is_forgotten() -> None:
    heads = ResponseHeads()
    for _ in range(2):
        assert heads[head(1)].status == 200
    assert list(heads) == [head(1)]
    heads.age(0.0)
    assert not heads
    assert not heads._once
    for _ in range(2):
        assert heads[head(1)].status == 200
    assert list(heads) == [head(1)]
