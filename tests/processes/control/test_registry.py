"""Which registrations are believed, and when they go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.config import load_text
from portico.core.found import Found
from portico.processes.control import registry as registry_module
from portico.processes.control.registration import Entry
from portico.processes.control.registry import Listeners, Registry
from portico.processes.ipc.runtime import Runtime
from upstreams.members import Clock

CONFIG = load_text("gateway: {redis_url: redis://h}\nservices: {a: {discover: redis}}", "portico.yaml", {})


class World:
    def __init__(self, directory: Path, clock: Clock) -> None:
        self.clock = clock
        self.down: set[str] = set()
        listeners = Listeners(lambda name, found: None, lambda: None, lambda name, url: url in self.down)
        self.registry = Registry(CONFIG, Runtime(directory), listeners)

    def urls(self) -> list[str]:
        self.registry.tick()
        return [found.url for found in self.registry.found().get("a", [])]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    clock = Clock()
    monkeypatch.setattr(registry_module, "time", clock)
    with asyncio.Runner() as runner:

        async def make() -> World:
            return World(tmp_path, clock)

        made = runner.run(make())
        monkeypatch.setattr(made.registry, "_schedule", lambda: None)
        yield made


def test_one_that_expires_goes_and_one_that_vanishes_early_has_its_time(world: World) -> None:
    world.registry.read("service:a", b"http://h", 10)
    world.clock.now += 9
    world.registry.missing("service:a", deleted=False)
    assert world.urls() == ["http://h"]
    world.clock.now += 1
    world.registry.missing("service:a", deleted=False)
    assert world.urls() == []


def test_one_that_somebody_deleted_goes_at_once(world: World) -> None:
    world.registry.read("service:a", b"http://h", 10)
    world.registry.missing("service:a", deleted=True)
    assert world.urls() == []


def test_a_single_registration_that_goes_was_removed(world: World) -> None:
    world.registry.read("service:a", b"http://h", 10)
    world.registry.missing("service:a", deleted=False, others_there=True)
    assert world.urls() == []


def lose(world: World) -> None:
    world.registry.read("service:a:1", b'{"url": "http://one"}', 10)
    world.registry.read("service:a:2", b'{"url": "http://two"}', 10)
    world.registry.set_up(False)
    world.clock.now += 1000
    assert world.urls() == ["http://one", "http://two"], "nobody goes while Redis is away"
    world.registry.set_up(True)
    for key in ("service:a:1", "service:a:2"):
        world.registry.missing(key, deleted=False)
    world.clock.now += 29
    assert world.urls() == ["http://one", "http://two"]


def test_what_redis_lost_stays_while_nobody_comes_back(world: World) -> None:
    lose(world)
    world.clock.now += 1000
    assert world.urls() == ["http://one", "http://two"]


def test_what_redis_lost_goes_when_others_have_come_back(world: World) -> None:
    lose(world)
    world.registry.read("service:a:1", b'{"url": "http://one"}', 10)
    assert world.urls() == ["http://one", "http://two"]
    world.clock.now += 5
    assert world.urls() == ["http://one"]


def test_what_redis_lost_goes_when_its_checks_fail(world: World) -> None:
    lose(world)
    world.down.add("http://two")
    world.clock.now += 5
    assert world.urls() == ["http://one"]


def test_the_registration_that_says_more_counts(world: World) -> None:
    world.registry.read("service:a", b"http://h", 10)
    world.registry.read("service:a:1", b'{"url": "http://h", "weight": 3, "of-a-later-version": 1}', 10)
    assert world.registry.found()["a"][0] == Found("http://h", 3)


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b"\xff", b"http://u:p@h", b"{" * 9000, b"x" * 20_000, b'{"url": 1}']
)
def test_what_cannot_be_used_is_named_and_gets_nothing(
    world: World, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        world.registry.read("service:a", value, 10)
    assert world.urls() == []
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "value",
    [
        b"http://169.254.169.254",
        b'{"url": "http://[64:ff9b::a9fe:a9fe]"}',
        b'{"url": "http://2852039166"}',
        b'{"url": "http://METADATA.google.internal."}',
        b'{"url": "http://[::1%\\u001bc \\u0000X-Evil: 1]:17199"}',
        b"http://[::1%\x1bc]",
        b"http://h\r\nX-Evil: 1",
        b'{"url": "http://h", "metadata": {"\\u001b[31m\\nforged \\u0085\\u2028": 5}}',
        b'{"url": "http://h", "version": "\\u001b[31m"}',
    ],
)
def test_what_is_refused_is_named_in_characters_that_can_be_shown(
    world: World, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    world.registry.read("service:a", value, 10)
    assert world.urls() == []
    (record,) = caplog.records
    reason = vars(record)["reason"]
    assert reason.isprintable()
    assert "Evil" not in reason


def test_the_end_of_a_line_behind_a_url_is_no_part_of_it(world: World) -> None:
    """`echo URL | redis-cli -x SET service:a` sends it along."""
    world.registry.read("service:a", b"http://h:80\n", 10)
    assert world.urls() == ["http://h"]


def test_what_was_registered_before_is_not_believed_by_a_new_control_process_that_would_not(
    world: World, tmp_path: Path
) -> None:
    """As after a crash in the middle of a reload."""
    bad, good = (Entry("a", name, "redis", url) for name, url in (("1", "http://169.254.169.254"), ("2", "http://h")))
    Runtime(tmp_path).store_registry({}, [bad, good])

    async def restart() -> list[str]:
        return World(tmp_path, world.clock).urls()

    assert asyncio.run(restart()) == ["http://h"]


def test_one_too_many_is_refused_where_somebody_waits_for_an_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry_module, "_MOST_INSTANCES", 1)
    first, second = (Entry("a", name, "redis", f"http://{name}") for name in ("1st", "2nd"))
    world.registry.check(first)
    world.registry.register(first)
    world.registry.check(first)
    with pytest.raises(ValueError, match="already"):
        world.registry.check(second)
    world.registry.read(second.key, b'{"url": "http://2nd"}', 10)
    assert world.urls() == ["http://1st"]
    assert "already" in vars(caplog.records[-1])["reason"]


def test_a_listener_that_fails_for_one_service_gets_the_others_and_later_that_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk does not keep registrations from the other listeners either."""
    reported: list[str] = []
    fails = True

    def discovered(name: str, changed: dict[str, list[Found]]) -> None:
        if fails and name == "a":
            raise RuntimeError
        reported.append(name)

    async def play() -> None:
        nonlocal fails
        text = "gateway: {redis_url: redis://h}\nservices: {a: {discover: redis}, b: {discover: redis}}"
        listeners = Listeners(discovered, lambda: None, lambda name, url: False)
        registry = Registry(load_text(text, "portico.yaml", {}), Runtime(tmp_path / "not there"), listeners)
        for name in "ab":
            registry.read(f"service:{name}", b"http://h", 10)
        registry.report_now()
        assert reported == ["b"]
        fails = False
        registry.read("service:b", b"http://i", 10)
        registry.report_now()
        assert sorted(reported) == ["a", "b", "b"]
        registry.close()

    asyncio.run(play())
    assert sum(record.exc_info is not None for record in caplog.records) == 3


def test_what_changes_is_reported_by_url_and_nothing_else(tmp_path: Path) -> None:
    reported: list[dict[str, list[Found]]] = []

    async def play() -> None:
        text = "gateway: {redis_url: redis://h}\nservices: {a: {discover: redis}}"
        listeners = Listeners(lambda _, changed: reported.append(changed), lambda: None, lambda name, url: False)
        registry = Registry(load_text(text, "portico.yaml", {}), Runtime(tmp_path), listeners)

        def read(key: str, url: str, weight: int = 1) -> None:
            registry.read(key, b'{"url": "%s", "weight": %d}' % (url.encode(), weight), 10)
            registry.report_now()

        read("service:a:1", "http://h")
        read("service:a:2", "http://i")
        read("service:a", "http://h", 3)
        read("service:a:2", "http://j")
        read("service:a:2", "http://j")
        registry.missing("service:a:1", deleted=True)
        registry.report_now()
        registry.close()

    asyncio.run(play())
    assert reported == [
        {"http://h": [Found("http://h")]},
        {"http://i": [Found("http://i")]},
        {"http://h": [Found("http://h"), Found("http://h", 3)]},
        {"http://j": [Found("http://j")], "http://i": []},
        {"http://h": [Found("http://h", 3)]},
    ]


def test_what_is_registered_is_kept_now_and_then_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands, writing all at every change would be all that the process does."""
    monkeypatch.setattr(registry_module, "_STORE_PAUSE", 1e9)

    async def play() -> None:
        text = "gateway: {redis_url: redis://h}\nservices: {a: {discover: redis}}"
        listeners = Listeners(lambda *_: None, lambda: None, lambda name, url: False)
        registry = Registry(load_text(text, "portico.yaml", {}), Runtime(tmp_path), listeners)
        for number in range(3):
            registry.read(f"service:a:{number}", b'{"url": "http://h%d"}' % number, 10)
            registry.report_now()
        assert Runtime(tmp_path).found() == {"a": [Found("http://h0")]}
        registry.close()
        assert len(Runtime(tmp_path).found()["a"]) == 3

    asyncio.run(play())
