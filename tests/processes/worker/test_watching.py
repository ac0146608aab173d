"""What a worker sends of its exchanges while somebody watches."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec
import pytest

from observe.test_record_filter import RECORD
from portico.observe.access_log import AccessRecord, Log
from portico.observe.record_filter import RecordFilter
from portico.processes.ipc import channel
from portico.processes.worker import watching as watching_module
from portico.processes.worker.watching import Watching

EVERYTHING = RecordFilter()


class Kept:
    """A log that keeps what it takes."""

    def __init__(self) -> None:
        self.records: list[AccessRecord] = []

    def add(self, record: AccessRecord) -> None:
        self.records.append(record)


class Scene:
    """A worker's watching, with timers fired by hand and control's end of the channel."""

    def __init__(self) -> None:
        self.timers: list[Any] = []
        self.sent: list[channel.Watched] = []
        self.waiting = 0
        self.log = Kept()
        self.gateway: tuple[Log | None, int] = self.log, 500
        self.watching = Watching(cast(asyncio.AbstractEventLoop, self), self.follow)

    def call_later(self, _: float, callback: Any) -> object:
        self.timers.append(callback)
        return callback

    def follow(self) -> None:
        self.gateway = self.watching.over(self.log, 500)

    def wish(self, *filters: RecordFilter, counts: bool = False) -> None:
        wish = channel.Watch(dict(enumerate(filters)), counts)
        self.watching.receive(wish, cast(asyncio.StreamWriter, self))

    @property
    def transport(self) -> Any:
        return self

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def write(self, frame: bytes) -> None:
        message = channel._decode(frame[4:])
        assert isinstance(message, channel.Watched)
        self.sent.append(message)

    def end(self, status: int = 200, **other: Any) -> None:
        """An exchange ends."""
        log, log_from = self.gateway
        if log is not None and status >= log_from:
            log.add(msgspec.structs.replace(RECORD, status_code=status, **other))

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            timers, self.timers = self.timers, []
            for timer in timers:
                timer()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def statuses(message: channel.Watched, number: int = 0) -> list[int]:
    return [msgspec.json.decode(line)["status_code"] for line in message.tails[number][0]]


def test_while_nobody_watches_the_log_is_the_log_itself(scene: Scene) -> None:
    scene.follow()
    assert scene.gateway == (scene.log, 500)
    assert not scene.timers


def test_those_that_pass_are_sent_and_the_log_takes_what_it_took(scene: Scene) -> None:
    scene.wish(RecordFilter(statuses=("4xx",)), EVERYTHING)
    for status in (200, 404, 503):
        scene.end(status)
    scene.tick()
    assert len(scene.sent) == 1
    assert [statuses(scene.sent[0], number) for number in (0, 1)] == [[404], [200, 404, 503]]
    assert [record.status_code for record in scene.log.records] == [503]


def test_nothing_is_sent_where_nothing_comes(scene: Scene) -> None:
    scene.wish(EVERYTHING, counts=True)
    scene.tick(25)
    assert not scene.sent


def test_where_there_is_no_log_records_are_sent_alone(scene: Scene) -> None:
    scene.wish(EVERYTHING)
    scene.gateway = scene.watching.over(None, 0)
    scene.end(204)
    scene.tick()
    assert statuses(scene.sent[0]) == [204]
    assert not scene.log.records


def test_a_wish_that_ends_leaves_nothing_behind(scene: Scene) -> None:
    scene.wish(EVERYTHING, counts=True)
    scene.end()
    scene.wish()
    assert scene.gateway == (scene.log, 500)
    scene.tick(3)
    assert not scene.timers
    assert not scene.sent
    assert not scene.watching.records


def test_control_that_is_gone_ends_it(scene: Scene) -> None:
    scene.wish(EVERYTHING)
    scene.watching.disconnected()
    assert scene.gateway == (scene.log, 500)
    scene.tick()
    assert not scene.timers


def test_what_is_too_much_is_counted(scene: Scene) -> None:
    scene.wish(EVERYTHING)
    for _ in range(1000):
        scene.end()
    scene.tick()
    lines, left_out = scene.sent[0].tails[0]
    assert (len(lines), left_out) == (50, 950)
    scene.end()
    scene.tick()
    assert scene.sent[1].tails[0][1] == 0


def test_long_lines_are_bounded_too(scene: Scene) -> None:
    scene.wish(EVERYTHING, counts=True)
    for number in range(50):
        scene.end(path=f"/{number}" + "x" * 16_000)
    scene.tick(5)
    lines, left_out = scene.sent[0].tails[0]
    assert sum(map(len, lines)) < 160_000
    assert len(lines) + left_out == 50
    counts = scene.sent[-1].counts
    assert counts is not None
    assert {len(name) for name in counts["paths"]} == {200}


def test_while_control_takes_nothing_nothing_is_kept(scene: Scene) -> None:
    scene.wish(EVERYTHING)
    scene.waiting = 2 << 20
    for _ in range(5):
        scene.end()
        scene.tick()
    assert not scene.sent
    scene.waiting = 0
    scene.end()
    scene.tick()
    lines, left_out = scene.sent[0].tails[0]
    assert (len(lines), left_out) == (1, 5)


def test_counts_are_sent_once_in_five_times(scene: Scene) -> None:
    scene.wish(counts=True)
    for user in ("ann", "ann", None):
        scene.end(user=user)
    scene.tick(4)
    assert not scene.sent
    scene.tick()
    assert scene.sent[0].counts == {
        "routes": {"shop": 3},
        "consumers": {"ann": 2},
        "paths": {"/api/shop/x": 3},
        "clients": {"10.0.0.1": 3},
    }
    scene.end(route=None)
    scene.tick(5)
    counts = scene.sent[1].counts
    assert counts is not None
    assert (counts["routes"], counts["clients"]) == ({}, {"10.0.0.1": 1})


def test_names_that_are_ever_new_do_not_fill_the_memory(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching_module, "_MOST_NAMES", 100)
    monkeypatch.setattr(watching_module, "_TOGETHER", 10_000)
    scene.wish(counts=True)
    for _ in range(10):
        scene.end(path="/often")
    for number in range(1000):
        scene.end(path=f"/{number}")
    scene.end(path="/often")
    scene.tick(5)
    counts = scene.sent[0].counts
    assert counts is not None
    assert len(counts["paths"]) == 50
    assert counts["paths"]["/often"] == 11


def test_half_a_character_stops_nothing(scene: Scene) -> None:
    """As a claim of a token may have it."""
    scene.wish(EVERYTHING, counts=True)
    scene.end(user="\ud800")
    scene.end(404)
    scene.tick(5)
    assert statuses(scene.sent[0]) == [404]
    assert scene.sent[0].tails[0][1] == 1
    counts = scene.sent[-1].counts
    assert counts is not None
    assert counts["consumers"] == {"\\ud800": 1, "ann": 1}


def test_where_they_come_fast_names_are_counted_from_a_sample_and_routes_all(scene: Scene) -> None:
    scene.wish(counts=True)
    for number in range(512):
        scene.end(route=f"r{number}")
    scene.tick(5)
    counts = scene.sent[0].counts
    assert counts is not None
    assert counts["paths"] == {"/api/shop/x": 512}
    assert counts["routes"] == {f"r{number}": 1 for number in range(512)}
