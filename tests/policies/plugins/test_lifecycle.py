"""Opening and closing policies: bounded in time, each once, whatever they do and whatever runs meanwhile."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from policies.exchanges import exchange
from portico.core.errors import Answer
from portico.observe.metrics import Metrics
from portico.policies import Chain, State, build_chain
from portico.policies.plugins import lifecycle
from portico.policies.plugins.lifecycle import Plugins, PluginSet
from portico.policies.plugins.loading import PluginError
from portico.policies.plugins.settings import PluginSettings

POLICIES = """
import asyncio
import time
from portico.plugin import Policy, Settings, answer

SEEN = []

class Noted(Policy):
    class Settings(Settings):
        name: str

    async def open(self):
        SEEN.append(f"open {self.settings.name}")

    async def close(self):
        SEEN.append(f"close {self.settings.name}")

    def request(self, exchange):
        return None

class Never(Noted):
    async def open(self):
        await asyncio.Event().wait()

class Lingers(Noted):
    async def close(self):
        await asyncio.Event().wait()

class Fails(Noted):
    async def close(self):
        raise LookupError("where to")

class Plain(Noted):
    def open(self):
        SEEN.append(f"plainly open {self.settings.name}")

class Unmade(Policy):
    def __init__(self):
        raise OSError("not today")

    def finished(self, exchange):
        pass

class Gives(Policy):
    async def open(self):
        raise asyncio.TimeoutError

class Leaves(Policy):
    async def open(self):
        raise SystemExit(3)

class Interrupts(Policy):
    async def open(self):
        raise KeyboardInterrupt

class CancelsItself(Policy):
    async def open(self):
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

class Fixed(Policy):
    settings = property(lambda self: None)

    def finished(self, exchange):
        pass

class Blocks(Policy):
    async def open(self):
        await asyncio.sleep(0)
        time.sleep(0.06)
"""


_BARE = ("Unmade", "Gives", "Leaves", "Interrupts", "CancelsItself", "Fixed", "Blocks")
"""Those that take nothing under `with`."""


async def settled() -> None:
    """What is due runs."""
    for _ in range(10):
        await asyncio.sleep(0)


class World:
    """A worker's policies, from one file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "own.py").write_text(dedent(POLICIES))
        self.plugins = Plugins(Metrics())
        self.current = PluginSet()

    async def open(self, *kinds: str) -> PluginSet:
        written = [
            PluginSettings.model_validate({"use": f"./own.py:{kind}", "with": {} if kind in _BARE else {"name": kind}})
            for kind in kinds
        ]
        return await self.plugins.open({"gateway": written}, self.directory)

    def adopt(self, coming: PluginSet) -> None:
        self.plugins.adopt(coming, self.current)
        self.current = coming

    def seen(self) -> list[str]:
        module = type(self.current.all[0].policy).__module__
        found: list[str] = __import__("sys").modules[module].SEEN
        return found


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    def run(scene: Callable[[World], Awaitable[None]]) -> None:
        async def whole() -> None:
            world = World(tmp_path)
            await scene(world)
            await world.plugins.close(5)
            assert not world.plugins._open
            assert not world.plugins._closing

        asyncio.run(asyncio.wait_for(whole(), 20))

    return run


Play = Callable[[Callable[[World], Awaitable[None]]], None]


def test_each_is_opened_once_and_closed_once(play: Play) -> None:
    async def scene(world: World) -> None:
        world.adopt(await world.open("Noted", "Noted", "Plain"))
        seen = world.seen()
        assert seen == ["open Noted", "open Noted", "plainly open Plain"]
        world.adopt(await world.open("Noted"))
        world.plugins.adopt(world.current, world.current)
        await settled()
        assert seen[3:] == ["open Noted", "close Noted", "close Noted", "close Plain"]
        await world.plugins.close(5)
        assert seen[7:] == ["close Noted"]

    play(scene)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("Never", "./own.py:Never (gateway): open() came to no end within 0.01 s"),
        ("Unmade", "./own.py:Unmade (gateway): OSError: not today"),
        ("Gives", "./own.py:Gives (gateway): open() raised TimeoutError"),
        ("Leaves", "./own.py:Leaves (gateway): open() raised ProcessExitError: SystemExit: 3"),
        ("Interrupts", "./own.py:Interrupts (gateway): open() raised ProcessExitError: KeyboardInterrupt"),
        ("CancelsItself", "./own.py:CancelsItself (gateway): open() raised CancelledError"),
        (
            "Fixed",
            "./own.py:Fixed (gateway): AttributeError: property 'settings' of 'Fixed' object has no setter",
        ),
    ],
)
def test_one_that_does_not_open_closes_the_others(
    play: Play, monkeypatch: pytest.MonkeyPatch, kind: str, problem: str
) -> None:
    monkeypatch.setattr(lifecycle, "OPEN_TIMEOUT", 0.01)

    async def scene(world: World) -> None:
        world.adopt(await world.open("Noted"))
        seen = world.seen()
        with pytest.raises(PluginError) as caught:
            await world.open("Plain", kind)
        assert str(caught.value) == problem
        await world.plugins.close(5)
        opened = ["plainly open Plain", "close Plain"] if kind not in ("Unmade", "Fixed") else []
        assert sorted(seen[1:]) == sorted([*opened, "close Noted"])

    play(scene)


def test_one_whose_open_blocks_the_loop_is_named(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(world: World) -> None:
        world.adopt(await world.open("Blocks"))
        (record,) = caplog.records
        assert (record.getMessage(), vars(record)["policy"], vars(record)["hook"]) == (
            "a policy's hook blocked all requests of this worker",
            "Blocks",
            "open",
        )

    play(scene)


def test_closing_is_bounded_and_what_fails_is_reported(
    play: Play, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lifecycle, "CLOSE_TIMEOUT", 0.01)

    async def scene(world: World) -> None:
        world.adopt(await world.open("Lingers", "Fails", "Noted"))
        await world.plugins.close(5)
        assert world.seen()[-1] == "close Noted"

    play(scene)
    assert sorted(record.getMessage() for record in caplog.records) == [
        "a policy's close() came to no end within 0.01 s",
        "a policy's close() failed",
    ]


def chain_of(own: PluginSet, **more: Any) -> Chain:
    written = {"plugins": ([each.settings for each in own.by_scope["gateway"]], "gateway"), **more}
    return build_chain(written, State(), {}, plugins=own)


def test_code_is_left_when_the_last_one_of_it_is_closed(play: Play, tmp_path: Path) -> None:
    """Then it can be collected."""

    async def scene(world: World) -> None:
        world.adopt(await world.open("Noted"))
        world.plugins.has_left_code()
        old = weakref.ref(type(world.current.all[0].policy))
        (tmp_path / "own.py").write_text(dedent(POLICIES) + "# edited")
        coming = await world.open("Noted")
        assert not world.plugins.has_left_code()
        world.adopt(coming)
        await settled()
        assert world.plugins.has_left_code()
        assert not world.plugins.has_left_code()
        for _ in range(100):  # the thread that loaded it may hold its result for a moment
            gc.collect()
            if old() is None:
                break
            await asyncio.sleep(0.01)
        assert old() is None

    play(scene)


def test_an_exchange_on_its_way_to_one_keeps_it_open(play: Play) -> None:
    async def scene(world: World) -> None:
        world.adopt(await world.open("Noted", "Noted"))
        first = world.current
        ended: list[Any] = []
        waiting = exchange()
        waiting.finish = lambda own, failure: ended.append(failure)
        chain = chain_of(first)
        for hold in chain.holds:
            hold(waiting)
        world.adopt(await world.open("Noted"))
        await settled()
        seen = world.seen()
        assert "close Noted" not in seen
        for hook in chain.requests:
            assert not isinstance(hook(waiting), Answer)
        waiting.finished(None)
        assert ended == [None]
        await settled()
        assert seen.count("close Noted") == 2

    play(scene)
