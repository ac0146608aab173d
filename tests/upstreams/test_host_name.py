"""A name's addresses: looked up in the background, kept while that fails, in turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from portico.upstreams import host_name as host_name_module
from portico.upstreams.host_name import HostName, look_up, look_up_few
from upstreams.members import Clock


class Resolver:
    """Answers with `answer`, which may be a failure; while `held` it does not answer."""

    def __init__(self, *addresses: str) -> None:
        self.answer: Sequence[str] | Exception = addresses
        self.asked: list[str] = []
        self.held = asyncio.Event()
        self.held.set()

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        await self.held.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(host_name_module, "time", clock)
    return clock


async def firsts_of(name: HostName, count: int) -> list[str]:
    return [(await name.known())[0] for _ in range(count)]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_addresses_are_used_round_robin_and_looked_up_once(clock: Clock) -> None:
    async def run() -> None:
        resolver = Resolver("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1")
        name = HostName("svc", resolver)
        firsts = await firsts_of(name, 9)
        assert sorted(firsts) == sorted(["10.0.0.1", "10.0.0.2", "10.0.0.3"] * 3)
        assert resolver.asked == ["svc"]
        assert sorted(await name.known()) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"], "all of them are there to be tried"
        requests = [name.next() for _ in range(6)]
        assert sorted(map(str, requests)) == sorted(["10.0.0.1", "10.0.0.2", "10.0.0.3"] * 2)

    asyncio.run(run())


def test_callers_before_the_first_answer_share_one_look_up(clock: Clock) -> None:
    async def run() -> None:
        resolver = Resolver("10.0.0.1", "10.0.0.2")
        resolver.held.clear()
        name = HostName("svc", resolver)
        assert name.next() is None
        coming = [asyncio.ensure_future(name.known()) for _ in range(4)]
        await settle()
        coming[0].cancel()
        await settle()
        resolver.held.set()
        firsts = [(await each)[0] for each in coming[1:]]
        assert set(firsts) == {"10.0.0.1", "10.0.0.2"}
        assert resolver.asked == ["svc"]

    asyncio.run(run())


def test_old_addresses_go_on_while_they_are_looked_up_again(clock: Clock) -> None:
    async def run() -> None:
        resolver = Resolver("10.0.0.1")
        name = HostName("svc", resolver)
        name.refresh = 5.0
        await name.known()
        resolver.answer = ["10.0.0.2"]
        clock.now += 4.9
        assert await firsts_of(name, 2) == ["10.0.0.1"] * 2
        assert len(resolver.asked) == 1
        resolver.held.clear()
        clock.now += 0.2
        assert await firsts_of(name, 2) == ["10.0.0.1"] * 2
        await settle()
        assert len(resolver.asked) == 2
        resolver.held.set()
        await settle()
        assert await firsts_of(name, 2) == ["10.0.0.2"] * 2

    asyncio.run(run())


@pytest.mark.parametrize("failure", [OSError("no such host"), UnicodeError("no such name"), ()], ids=repr)
def test_what_was_known_goes_on_while_look_ups_fail(
    clock: Clock, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    async def run() -> None:
        resolver = Resolver("10.0.0.1")
        name = HostName("svc", resolver)
        await name.known()
        resolver.answer = failure
        for _ in range(3):
            clock.now += 11
            assert await firsts_of(name, 2) == ["10.0.0.1"] * 2
            await settle()
        assert len(resolver.asked) == 4
        resolver.answer = ["10.0.0.2"]
        clock.now += 11
        await name.known()
        await settle()
        assert await firsts_of(name, 1) == ["10.0.0.2"]

    with caplog.at_level(logging.INFO, "portico.dns"):
        asyncio.run(run())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"], "one event for each change"


def test_without_any_address_each_caller_looks_up_again(clock: Clock) -> None:
    async def run() -> None:
        resolver = Resolver()
        resolver.answer = OSError("no such host")
        name = HostName("svc", resolver)
        for _ in range(2):
            with pytest.raises(OSError, match="no address"):
                await name.known()
        assert len(resolver.asked) == 2
        resolver.answer = ["10.0.0.1"]
        assert await firsts_of(name, 1) == ["10.0.0.1"]

    asyncio.run(run())


def test_an_address_that_refused_comes_last_until_it_answers_or_all_do(clock: Clock) -> None:
    async def run() -> None:
        name = HostName("svc", Resolver("10.0.0.1", "10.0.0.2"))
        await name.known()
        name.refused("10.0.0.1")
        assert await firsts_of(name, 4) == ["10.0.0.2"] * 4
        assert {name.next() for _ in range(4)} == {"10.0.0.2"}
        name.refused("10.0.0.2")
        assert set(await firsts_of(name, 4)) == {"10.0.0.1", "10.0.0.2"}
        assert {name.next() for _ in range(4)} == {"10.0.0.1", "10.0.0.2"}
        name.answered("10.0.0.1")
        assert await firsts_of(name, 2) == ["10.0.0.1"] * 2
        clock.now += 11
        await name.known()
        await settle()
        assert set(await firsts_of(name, 4)) == {"10.0.0.1", "10.0.0.2"}, "a look-up gives all another chance"

    asyncio.run(run())


METADATA = "169.254.169.254"


def test_a_screened_name_stands_for_no_address_without_a_service(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        resolver = Resolver("10.0.0.1", METADATA, "fe80::1%2", "::ffff:169.254.1.1", "64:ff9b::a9fe:a9fe")
        name = HostName("svc", resolver)
        name.screen(())
        assert await firsts_of(name, 2) == ["10.0.0.1"] * 2
        assert name.next() == "10.0.0.1"
        for answer in ([METADATA], [METADATA, "169.254.170.2"]):
            clock.now += 11
            resolver.answer = answer
            await name.known()
            await settle()
            assert await firsts_of(name, 2) == ["10.0.0.1"] * 2, "what was known goes on"
        name.screen((ip_network("169.254.0.0/16"),))
        await name.known()
        await settle()
        assert set(await firsts_of(name, 2)) == {METADATA, "169.254.170.2"}, "allowed by name, and looked up at once"

    with caplog.at_level(logging.INFO, "portico.dns"):
        asyncio.run(run())
    events = [vars(record).get("addresses") for record in caplog.records if "no service has" in record.getMessage()]
    assert events[1:] == [METADATA, f"{METADATA}, 169.254.170.2"], "one event for each set of them"


def test_a_name_that_is_to_be_screened_loses_what_it_stood_for_at_once(clock: Clock) -> None:
    async def run() -> None:
        resolver = Resolver(METADATA)
        name = HostName("svc", resolver)
        assert await firsts_of(name, 1) == [METADATA], "whoever writes a name into the file may mean any address"
        name.screen(())
        assert name.next() is None
        with pytest.raises(OSError, match="no address"):
            await name.known()
        resolver.answer = ["10.0.0.1"]
        assert await firsts_of(name, 1) == ["10.0.0.1"]
        name.screen(())
        assert len(resolver.asked) == 3, "the same again changes nothing"

    asyncio.run(run())


def test_registered_names_leave_the_threads_that_look_names_up_to_others(clock: Clock) -> None:
    """The system has a few, and whoever registers names also says whose name server keeps them waiting."""

    async def run() -> None:
        slow = Resolver("10.0.0.1")
        slow.held.clear()
        registered = [HostName(f"slow-{number}", slow) for number in range(10)]
        for name in registered:
            name.screen(())
            name.keep_fresh()
        cut_short = asyncio.ensure_future(look_up_few("slow-check", slow))
        await settle()
        assert slow.asked == ["slow-0", "slow-1"]
        cut_short.cancel()
        await settle()
        written = HostName("svc", Resolver("10.0.0.2"))
        assert await firsts_of(written, 1) == ["10.0.0.2"]
        slow.held.set()
        assert await firsts_of(registered[9], 1) == ["10.0.0.1"]

    asyncio.run(run())


def test_a_caller_that_gives_up_does_not_free_the_thread(clock: Clock) -> None:
    async def run() -> None:
        slow = Resolver("10.0.0.1")
        slow.held.clear()
        for number in range(4):
            waiting = asyncio.ensure_future(look_up_few(f"slow-{number}", slow))
            await settle()
            waiting.cancel()
            await settle()
        assert slow.asked == ["slow-0", "slow-1"]
        slow.held.set()
        assert await look_up_few("another", slow) == ("10.0.0.1",)
        assert slow.asked == ["slow-0", "slow-1", "another"], "those that had no thread yet ask for none any more"

    asyncio.run(run())


def test_the_systems_resolver() -> None:
    assert "127.0.0.1" in asyncio.run(look_up("localhost"))
    with pytest.raises((OSError, UnicodeError)):
        asyncio.run(look_up("a" * 64 + ".invalid"))


def test_a_look_up_that_fails_in_a_way_that_nobody_foresaw_is_one_that_failed(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        resolver = Resolver()
        resolver.answer = RuntimeError("odd")
        name = HostName("svc", resolver)
        with pytest.raises(OSError, match="no address"):
            await name.known()
        assert caplog.records[0].exc_info
        resolver.answer = ["10.0.0.1"]
        assert await name.known() == ["10.0.0.1"]
        resolver.answer = RuntimeError("odd")
        clock.now += name.refresh
        name.keep_fresh()
        await settle()
        assert await name.known() == ["10.0.0.1"], "what was known goes on"

    asyncio.run(run())
