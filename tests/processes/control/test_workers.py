"""Asking the workers for their totals, over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest

from portico.processes.control import workers as workers_module
from portico.processes.control.workers import Workers
from portico.processes.ipc import channel

PATIENCE = 10.0


def test_who_asks_at_the_same_time_gets_an_answer_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is answered while the worker still thinks about the second."""
    monkeypatch.setattr(workers_module, "_COLLECT_TIMEOUT", 10 * PATIENCE)
    path = str(tmp_path / "channel")

    async def play() -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        workers = Workers()
        server = await workers.listen(listener)
        reader, writer = await asyncio.open_unix_connection(path)
        channel.send(writer, channel.Hello("w"))
        channel.send(writer, report(0, 0))
        while not workers._totals:
            await asyncio.sleep(0)
        first, second = asyncio.create_task(workers.running()), asyncio.create_task(workers.running())
        numbers = []
        for _ in range(2):
            asked = await channel.receive(reader)
            assert isinstance(asked, channel.Collect)
            numbers.append(asked.number)
        channel.send(writer, report(1, numbers[0]))
        assert await first == {"w": {"in_flight": 1}}
        assert not second.done()
        channel.send(writer, report(2, numbers[1]))
        assert await second == {"w": {"in_flight": 2}}
        writer.close()
        server.close()
        await server.wait_closed()

    def report(in_flight: int, answers: int) -> channel.Report:
        return channel.Report(json.dumps({"in_flight": in_flight}).encode(), answers)

    asyncio.run(asyncio.wait_for(play(), PATIENCE))
