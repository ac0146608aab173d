"""Asking the workers for their totals, over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from portico.config import load_text
from portico.core.found import Found
from portico.processes.control import rounds as rounds_module
from portico.processes.control import workers as workers_module
from portico.processes.control.workers import Workers
from portico.processes.ipc import channel

TIMEOUT = 10.0


class FakeWorker:
    """A worker that reports on command."""

    def __init__(self, workers: Workers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.workers = workers
        self.reader = reader
        self.writer = writer

    async def collected(self) -> int:
        """The number of the next `Collect`."""
        message = await channel.receive(self.reader)
        assert isinstance(message, channel.Collect)
        return message.number

    def report(self, in_flight: int, answers: int) -> None:
        channel.send(self.writer, channel.Report(json.dumps({"in_flight": in_flight}).encode(), answers))

    async def leave(self) -> channel.Message | None:
        """Close its own end; what control had sent that was not received yet."""
        self.writer.write_eof()
        return await channel.receive(self.reader)


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[FakeWorker], Awaitable[None]]], None]:
    """Plays a scene with one connected worker."""
    monkeypatch.setattr(workers_module, "_COLLECT_TIMEOUT", 10 * TIMEOUT)
    monkeypatch.setattr(rounds_module, "_SHORTEST_PAUSE", 0.0)

    def run(scene: Callable[[FakeWorker], Awaitable[None]]) -> None:
        async def connected() -> None:
            path = str(tmp_path / "channel")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            workers = Workers()
            server = await workers.listen(listener)
            worker = FakeWorker(workers, *await asyncio.open_unix_connection(path))
            try:
                channel.send(worker.writer, channel.Hello("w"))
                worker.report(0, 0)
                while not workers._totals:
                    await asyncio.sleep(0)
                await scene(worker)
            finally:
                worker.writer.close()
                server.close()
                await server.wait_closed()

        asyncio.run(asyncio.wait_for(connected(), TIMEOUT))

    return run


Play = Callable[[Callable[[FakeWorker], Awaitable[None]]], None]


def test_concurrent_callers_share_one_collection(play: Play) -> None:
    async def scene(worker: FakeWorker) -> None:
        workers = worker.workers
        asking = [workers.running, workers.totals] * 100
        callers = asyncio.gather(*(ask() for ask in asking))
        worker.report(1, await worker.collected())
        running, (live, ended), *_ = await callers
        assert (running, live, ended) == ({"w": {"in_flight": 1}}, [{"in_flight": 1}], [])
        assert await worker.leave() is None, "nothing more was asked of the worker"

    play(scene)


def test_a_caller_during_a_collection_gets_the_next_one(play: Play) -> None:
    async def scene(worker: FakeWorker) -> None:
        first = asyncio.create_task(worker.workers.running())
        number = await worker.collected()
        later = [asyncio.create_task(worker.workers.running()) for _ in range(100)]
        worker.report(1, number)
        assert await first == {"w": {"in_flight": 1}}
        number = await worker.collected()
        assert not any(caller.done() for caller in later)
        worker.report(2, number)
        assert await asyncio.gather(*later) == [{"w": {"in_flight": 2}}] * 100
        assert await worker.leave() is None, "a hundred callers cost one collection more"

    play(scene)


def test_an_answer_to_an_earlier_collection_does_not_count(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker was late with it, and nobody waits for it any more."""

    async def scene(worker: FakeWorker) -> None:
        monkeypatch.setattr(workers_module, "_COLLECT_TIMEOUT", 0.0)
        assert await worker.workers.running() == {"w": {"in_flight": 0}}, "what it reported last"
        monkeypatch.setattr(workers_module, "_COLLECT_TIMEOUT", 10 * TIMEOUT)
        late = await worker.collected()
        caller = asyncio.create_task(worker.workers.running())
        number = await worker.collected()
        worker.report(1, late)
        while worker.workers._totals["w"] != {"in_flight": 1}:
            await asyncio.sleep(0)
        assert not caller.done()
        worker.report(2, number)
        assert await caller == {"w": {"in_flight": 2}}

    play(scene)


# ---- preparing a configuration


def prepared(worker: FakeWorker, timeout: float = TIMEOUT) -> asyncio.Task[dict[str, str]]:
    config = load_text("services: {s: {url: http://h}}", "portico.yaml", {})
    return asyncio.get_running_loop().create_task(worker.workers.preparation(config, timeout))


async def next_kind(worker: FakeWorker) -> str:
    return type(await channel.receive(worker.reader)).__name__


def test_a_worker_that_can_use_a_configuration_says_so(play: Play) -> None:
    async def scene(worker: FakeWorker) -> None:
        asked = prepared(worker)
        assert await next_kind(worker) == "Prepare"
        channel.send(worker.writer, channel.Prepared())
        assert await asked == {}
        assert await worker.leave() is None, "nothing is abandoned"

    play(scene)


def test_one_that_cannot_has_all_abandon_it(play: Play) -> None:
    async def scene(worker: FakeWorker) -> None:
        asked = prepared(worker)
        assert await next_kind(worker) == "Prepare"
        channel.send(worker.writer, channel.Prepared("it does not open"))
        assert await asked == {"w": "it does not open"}
        assert await next_kind(worker) == "Abandon"

    play(scene)


def test_so_has_one_that_does_not_answer_but_not_one_that_leaves(play: Play) -> None:
    async def scene(worker: FakeWorker) -> None:
        assert await prepared(worker, timeout=0.01) == {"w": "has not prepared it within 0.01 s"}
        assert [await next_kind(worker), await next_kind(worker)] == ["Prepare", "Abandon"]
        asked = prepared(worker)
        assert await next_kind(worker) == "Prepare"
        await worker.leave()
        assert await asked == {}

    play(scene)


def test_workers_get_the_documents_that_policies_read(play: Play) -> None:
    def config(*reading: str) -> str:
        off, on = "{url: http://h}", "{url: http://h, policies: {auth: {api_key: {}}, authorize: {openapi: true}}}"
        return "services: {" + ", ".join(f"{name}: {on if name in reading else off}" for name in "ab") + "}"

    async def scene(worker: FakeWorker) -> None:
        workers = worker.workers
        workers.publish(load_text(config("a"), "portico.yaml", {}), 1)
        assert isinstance(await channel.receive(worker.reader), channel.NewSnapshot)
        workers.publish_document("b", None, b"B")
        workers.publish_document("a", None, b"A")
        assert await channel.receive(worker.reader) == channel.NewDocument("a", None, b"A"), "nobody reads the other"
        workers.publish(load_text(config("a", "b"), "portico.yaml", {}), 2)
        assert await channel.receive(worker.reader) == channel.NewDocument("b", None, b"B"), "before it is needed"
        assert isinstance(await channel.receive(worker.reader), channel.NewSnapshot)
        workers.forget_document("a", None)
        channel.send(worker.writer, channel.Hello("w"))  # as one that connects anew
        assert await channel.receive(worker.reader) == channel.NewDocument("b", None, b"B")
        assert isinstance(await channel.receive(worker.reader), channel.NewSnapshot)

    play(scene)


def test_what_ended_workers_counted_of_the_dead_is_forgotten() -> None:
    """As after many redeploys, each with other addresses and a route of its own."""
    workers = Workers()
    for number in range(100):
        url = f"http://10.0.0.{number}:80"
        workers._totals[f"worker-{number}"] = {
            "by_route": [["s", "kept", [[200, 1]], [1], 0.1], ["s", f"route-{number}", [[200, 1]], [1], 0.1]],
            "by_instance": [["s", url, [[200, 1]], [1], 0.1]],
            "openings": {"s": {url: 1}, f"s@{number}": {url: 2}},
        }
    workers.keep_parts({"kept"}, {("s", "http://10.0.0.7:80")})
    ended = [*workers._totals.values()]
    assert {each[1] for totals in ended for each in totals["by_route"]} == {"kept"}
    assert [each[1] for totals in ended for each in totals["by_instance"]] == ["http://10.0.0.7:80"]
    assert [totals["openings"] for totals in ended if totals["openings"]] == [{"s": {"http://10.0.0.7:80": 1}}]


def test_a_worker_is_sent_all_registered_instances_once_and_then_what_changes(play: Play) -> None:
    async def scene(worker: FakeWorker) -> None:
        workers, config = worker.workers, load_text("services: {a: {discover: admin}}", "portico.yaml", {})
        one, other = Found("http://one"), Found("http://other", 2)
        workers.discover("a", {"http://one": [one], "http://gone": [Found("http://gone")]})
        workers.discover("a", {"http://gone": []})
        workers.publish(config, 1)
        workers.discover("a", {"http://other": [other]})
        workers.publish(config, 2)
        messages = [await channel.receive(worker.reader) for _ in range(5)]
        assert [each.changed for each in messages if isinstance(each, channel.Discovered)] == [
            {"http://one": [one], "http://gone": [Found("http://gone")]},
            {"http://gone": []},
            {"http://other": [other]},
        ]
        found = [each.found for each in messages if isinstance(each, channel.NewSnapshot)]
        assert found == [{"a": [one]}, None]

    play(scene)


def test_breakers_that_a_worker_does_not_report_are_as_they_were(play: Play) -> None:
    async def scene(worker: FakeWorker) -> None:
        for breakers in ([["a", "http://h", 2]], None):
            report = json.dumps({"in_flight": 1 if breakers else 2, "breakers": breakers}).encode()
            channel.send(worker.writer, channel.Report(report))
        while worker.workers.reported()["w"]["in_flight"] != 2:
            await asyncio.sleep(0)
        assert worker.workers.reported()["w"]["breakers"] == [["a", "http://h", 2]]

    play(scene)
