"""What waits for a client, and how it is written."""

from __future__ import annotations

import asyncio

import pytest

from portico.processes.control.live import watcher as watcher_module
from portico.processes.control.live.watcher import EVENTS, LINES, MOST_BYTES, Watcher, pieces

RECORDS = [b'{"n": 1}', b'{"n": 2}', b'{"n": 3}']


def test_what_a_client_does_not_take_is_counted() -> None:
    async def play() -> None:
        watcher = Watcher()
        for _ in range(1000):
            watcher.put([b"x" * 1000], 1)
        records, left_out = await watcher.take()
        assert len(records) == MOST_BYTES // 1000
        assert len(records) + left_out == 2000
        watcher.put(RECORDS)
        assert await watcher.take() == (RECORDS, 0)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("form", "written"),
    [
        (EVENTS, b'event: left_out\ndata: {"left_out": 7}\n\ndata: {"n": 1}\n\ndata: {"n": 2}\n\ndata: {"n": 3}\n\n'),
        (LINES, b'{"left_out": 7}\n{"n": 1}\n{"n": 2}\n{"n": 3}\n'),
    ],
)
def test_both_forms(form: watcher_module.Form, written: bytes) -> None:
    assert form.written(RECORDS, 7) == written


def test_a_stream_ends_after_as_many_as_were_asked_for() -> None:
    async def play() -> bytes:
        watcher = Watcher()
        watcher.put(RECORDS)
        return b"".join([piece async for piece in pieces(watcher, LINES, 2, lambda: 1)])

    assert asyncio.run(play()) == b'{"n": 1}\n{"n": 2}\n'


def test_a_quiet_stream_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "HEARTBEAT", 0.0)

    async def play() -> list[bytes]:
        found = []
        async for piece in pieces(Watcher(), EVENTS, None, lambda: 1):
            found.append(piece)
            if len(found) == 3:
                break
        return found

    assert asyncio.run(play()) == [b": \n\n"] * 3
