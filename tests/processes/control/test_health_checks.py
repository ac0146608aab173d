"""Health checks on real sockets: what `/health` reports, and how checks live on while instances come and go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from portico.core.found import Found
from portico.processes.control import health as health_module
from portico.processes.control.health import HealthChecks
from support.checked import Instance, World, configured

TIMEOUT = 20.0


Scene = Callable[[World, Instance, Instance], Awaitable[None]]


def play(scene: Scene) -> None:
    """A scene with two instances."""

    async def run() -> None:
        one, other, world = Instance(), Instance(), World()
        await one.start()
        await other.start()
        try:
            await scene(world, one, other)
        finally:
            await world.health.close()
            await one.stop()
            await other.stop()

    asyncio.run(asyncio.wait_for(run(), TIMEOUT))


RARELY = "{path: /health, interval: 1h, timeout: 1h}"


# ---- /health


def test_a_report_is_no_older_than_it_may_be_while_another_waits_for_an_instance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An instance hangs, for which the first report waits; a later report has newer results of the others."""
    monkeypatch.setattr(health_module, "_REPORT_AGE", 0.0)

    async def scene(world: World, hangs: Instance, neighbour: Instance) -> None:
        world.health.watch(configured(RARELY, hangs.url, neighbour.url))
        await hangs.asked_times(1)
        await neighbour.asked_times(1)
        hangs.answers.clear()
        first = asyncio.create_task(world.health.report())
        await hangs.asked_times(2)
        await neighbour.asked_times(2)
        await looked_at(world, neighbour)
        neighbour.status = "503 No"
        second = asyncio.create_task(world.health.report())
        await neighbour.asked_times(3)
        hangs.answers.set()
        assert statuses(await first) == ["healthy", "healthy"]
        assert statuses(await second) == ["healthy", "unhealthy"]
        assert hangs.asked == 2, "both waited for the one probe"

    play(scene)


def test_concurrent_reports_share_one_round_of_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "_REPORT_AGE", 1e6)

    async def scene(world: World, one: Instance, other: Instance) -> None:
        world.health.watch(configured(RARELY, one.url, other.url))
        await one.asked_times(1)
        await other.asked_times(1)
        reports = await asyncio.gather(*(world.health.report() for _ in range(100)))
        assert all(report is reports[0] for report in reports)
        assert await world.health.report() is reports[0]
        assert (one.asked, other.asked) == (2, 2)

    play(scene)


def test_of_many_instances_is_reported_what_the_checks_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """And how old it is; one that is never checked is asked anew, as far as there are few of these."""
    monkeypatch.setattr(health_module, "_ASKED", 1)

    async def scene(world: World, one: Instance, other: Instance) -> None:
        port = other.url.rpartition(":")[2]
        unchecked = f"{{instances: ['{other.url}', 'http://localhost:{port}'], health_check: false}}"
        world.health.watch(configured(RARELY, one.url, other.url, services=f", u: {unchecked}"))
        await one.asked_times(1)
        await other.asked_times(1)
        while not all(check.last for check in world.health.checks.values() if check.settings is not None):
            await asyncio.sleep(0.01)
        report = await world.health.report()
        assert statuses(report) == ["healthy", "healthy"]
        assert all(instance["age"] >= 0 for instance in report["s"]["instances"])
        assert report["s"]["response_time"] == min(instance["response_time"] for instance in report["s"]["instances"])
        assert [instance["status"] for instance in report["u"]["instances"]] == ["healthy", "unchecked"]
        assert "age" not in report["u"]["instances"][0]
        assert report["u"]["status"] == "healthy"
        assert (one.asked, other.asked) == (1, 1)

    play(scene)


def test_a_check_that_was_late_itself_says_nothing_of_the_instance(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(world: World, hangs: Instance, other: Instance) -> None:
        hangs.answers.clear()
        world.health.watch(configured("{path: /health, interval: 20ms, timeout: 400ms, unhealthy_after: 1}", hangs.url))
        await hangs.asked_times(1)
        time.sleep(1.0)
        while not caplog.records:
            await asyncio.sleep(0.01)
        assert "do not count" in caplog.records[0].getMessage()
        assert world.turned.empty()
        assert await world.turned.get() == ("s", hangs.url, False)  # the next check is on time

    play(scene)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No\r\n\r\n", None),
        (b"HTTP/1.0 200 OK\r\n\r\nit goes on", None),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "answered 503"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "answered 101"),
        (b"220 mail.test ESMTP\r\n", "what it answers is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nBad line\r\n\r\n", "what it answers is not HTTP: the response has a line that is no"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "the head of its answer is larger than 64 KiB"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, "the head of its answer is larger than 64 KiB"),
        (b"HTTP/1.1 2", "it closed the connection"),
        (b"", "it closed the connection"),
    ],
)
def test_what_an_instance_may_answer_to_a_check(answer: bytes, error: str | None) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /health?a=b HTTP/1.1\r\nHost: 127.0.0.1:")
        writer.write(answer)
        with suppress(OSError):
            await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        is_closed.set()

    is_closed = asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(say, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        world = World()
        world.health.watch(configured("{path: '/health?a=b', interval: 1h, timeout: 1h}", url))
        report = (await world.health.report())["s"]["instances"][0]
        await world.health.close()
        await is_closed.wait()
        server.close()
        assert report.get("error", "").startswith(error or ""), report
        assert (report["status"] == "healthy") == (error is None)

    asyncio.run(asyncio.wait_for(run(), TIMEOUT))


async def looked_at(world: World, instance: Instance) -> None:
    """Until the probe of it is over."""
    probe = world.health.checks["s", instance.url].probe
    assert probe is not None
    await asyncio.wait([probe])


def statuses(report: dict[str, Any]) -> list[str]:
    """Of the instances of the service."""
    return [instance["status"] for instance in report["s"]["instances"]]


# ---- checks go on


QUICK = "{path: /health, interval: 300ms, timeout: 5}"
"""Twice asked by such a check, an instance has seen everything pass that begins within a fifth of a second."""


@pytest.mark.parametrize("change", ["reload", "registration", "admission"])
def test_one_that_hangs_is_counted_however_often_something_changes(change: str) -> None:
    """Changes come more often than a check's time runs out."""
    check = "{path: /health, interval: 10ms, timeout: 200ms, unhealthy_after: 2}"

    async def scene(world: World, hangs: Instance, other: Instance) -> None:
        hangs.answers.clear()

        async def keep_changing() -> None:
            for number in range(1_000_000):
                here = [other.url] * (number % 2)
                if change == "registration":
                    world.health.discover("s", {other.url: [Found(url) for url in here]})
                elif change == "reload":
                    world.health.watch(configured(check, hangs.url, *here, more=", discover: admin"))
                else:
                    more = "".join(f", n{each}: {{url: {other.url}}}" for each in range(number % 5))
                    world.health.watch(configured(check, hangs.url, more=", discover: admin", services=more))
                await asyncio.sleep(0.02)

        world.health.watch(configured(check, hangs.url, more=", discover: admin"))
        changing = asyncio.create_task(keep_changing())
        assert await world.turned.get() == ("s", hangs.url, False)
        changing.cancel()

    play(scene)


def test_checks_of_what_stays_as_it_is_keep_their_schedule() -> None:
    """The hourly check is not made anew while another service comes, changes and goes."""

    async def scene(world: World, stays: Instance, changes: Instance) -> None:
        world.health.watch(configured(RARELY, stays.url))
        await stays.asked_times(1)
        for check in (QUICK, "{path: /other, interval: 300ms}"):
            before = changes.asked
            other = f", other: {{url: {changes.url}, health_check: {check}}}"
            for _ in range(10):
                world.health.watch(configured(RARELY, stays.url, services=other))
                world.health.watch(configured(RARELY, f"{{url: {stays.url}, weight: 7}}", services=other))
            await changes.asked_times(before + 2)
        assert world.health.checks["s", stays.url].instance.weight == 7
        assert stays.asked == 1

    play(scene)


def test_checks_of_one_that_is_gone_stop() -> None:
    async def scene(world: World, goes: Instance, stays: Instance) -> None:
        world.health.watch(configured(QUICK, goes.url, stays.url))
        await goes.asked_times(2)
        world.health.watch(configured(QUICK, stays.url))
        asked = goes.asked
        await stays.asked_times(stays.asked + 3)
        assert goes.asked <= asked + 1, "one may have been on its way"

    play(scene)


def test_another_way_to_check_comes_into_use_at_once_and_the_state_stays() -> None:
    async def scene(world: World, one: Instance, other: Instance) -> None:
        one.status = "503 No"
        world.health.watch(configured("{path: /health, interval: 1h, unhealthy_after: 1}", one.url))
        assert await world.turned.get() == ("s", one.url, False)
        world.health.watch(configured("{path: /health, interval: 1h, expect: 503}", one.url))
        assert world.health.states() == {("s", one.url): False}, "until it passes"
        assert await world.turned.get() == ("s", one.url, True)
        assert one.asked == 2

    play(scene)


def test_many_that_come_at_once_are_not_checked_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spans: list[float] = []

    def uniform(low: float, high: float) -> float:
        spans.append(high)
        return low + 3600

    monkeypatch.setattr("random.uniform", uniform)

    async def scene(world: World, one: Instance, other: Instance) -> None:
        urls = [f"http://h{number}" for number in range(2000)]
        world.health.watch(configured("{path: /health, interval: 5}", *urls))
        await asyncio.sleep(0)
        assert (len(spans), min(spans) >= 1.5) == (2000, True)
        world.health.watch(configured("{path: /health, interval: 5}", *urls, one.url))
        await asyncio.sleep(0)
        assert (len(spans), spans[-1] <= 0.5) == (2001, True), "one that is new need not wait for room"

    play(scene)


@pytest.mark.parametrize(
    ("url", "check"),
    [("http://a..b", "{interval: 1h, unhealthy_after: 1}"), ("http://xn--a.b", "{path: /x, unhealthy_after: 1}")],
)
def test_a_name_that_is_none_is_a_failed_check(url: str, check: str) -> None:
    """And neither the end of all checks of it, nor of the whole report."""

    async def scene(world: World, one: Instance, other: Instance) -> None:
        world.health.watch(configured(check, url))
        assert await world.turned.get() == ("s", url, False)
        assert statuses(await world.health.report()) == ["unhealthy"]

    play(scene)


# ---- workers that have ejected an instance


OFTEN = "{path: /health, interval: 10ms, timeout: 1h, unhealthy_after: 100}"


def test_a_worker_that_ejected_an_instance_knows_of_the_next_check_that_passes() -> None:
    """Only it, only once, and not by a check that had begun before."""

    async def scene(world: World, one: Instance, other: Instance) -> None:
        one.answers.clear()
        world.health.watch(configured(OFTEN, one.url, other.url))
        await one.asked_times(1)
        world.health.ejected("w1", "s", one.url, False)
        one.answers.set()
        assert await world.passed.get() == ("w1", "s", one.url)
        assert one.asked >= 2
        world.health.ejected("w2", "s", other.url, False)
        assert await world.passed.get() == ("w2", "s", other.url)
        await one.asked_times(one.asked + 3)
        assert world.passed.empty()

    play(scene)


def test_a_worker_that_doubts_the_checks_knows_of_one_that_passes_after_one_that_failed() -> None:
    async def scene(world: World, one: Instance, other: Instance) -> None:
        world.health.watch(configured(OFTEN, one.url))
        world.health.ejected("w1", "s", one.url, True)
        await one.asked_times(5)
        assert world.passed.empty()
        one.status = "503 No"
        await one.asked_times(one.asked + 3)
        assert world.passed.empty()
        one.status = "200 OK"
        assert await world.passed.get() == ("w1", "s", one.url)
        assert world.turned.empty(), "although it never counted as down"

    play(scene)


def test_an_ejection_is_remembered_where_checks_change() -> None:
    async def scene(world: World, one: Instance, other: Instance) -> None:
        one.status = "503 No"
        world.health.watch(configured(OFTEN, one.url))
        world.health.ejected("w1", "s", one.url, False)
        await one.asked_times(1)
        world.health.watch(configured("{path: /health, expect: 503}", one.url))
        assert await world.passed.get() == ("w1", "s", one.url)

    play(scene)


def test_an_ejection_of_what_is_not_checked_is_none_of_its_concern() -> None:
    async def scene(world: World, one: Instance, other: Instance) -> None:
        world.health.watch(configured("false", one.url))
        world.health.ejected("w1", "s", one.url, False)
        world.health.ejected("w1", "gone", one.url, False)
        assert world.health.states() == {("s", one.url): True}

    play(scene)


def test_a_check_that_fails_in_a_way_that_nobody_foresaw_says_nothing_and_is_not_the_last_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    probe = HealthChecks._probe
    failed = asyncio.Event()

    async def fail_once(health: HealthChecks, check: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise LookupError
        return await probe(health, check)

    async def scene(world: World, one: Instance, _: Instance) -> None:
        monkeypatch.setattr(HealthChecks, "_probe", fail_once)
        world.health.watch(configured("{path: /health, interval: 50ms, timeout: 10s}", one.url))
        await failed.wait()
        assert [*world.health.states().values()] == [True]
        await one.asked_times(2)

    play(scene)
    assert caplog.records[0].exc_info
