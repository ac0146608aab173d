"""Which events are kept and sent to whom."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator

import pytest

from portico.observe.event_feed import Event, event_of
from portico.processes.control.live.events import Events
from portico.processes.control.live.watcher import EVENTS, LINES


def events() -> Events:
    return Events(lambda: 1)


async def sent(stream: AsyncGenerator[bytes, None], number: int) -> bytes:
    """The first pieces of a stream."""
    found = b"".join([await anext(stream) for _ in range(number)])
    await stream.aclose()
    return found


@pytest.mark.parametrize(
    ("logger", "text", "kind"),
    [
        ("portico.control", "configuration reloaded", "config"),
        ("portico.health", "instance down", "instance"),
        ("portico.upstreams", "instance cannot be reached", "instance"),
        ("portico.upstreams", "breaker open", "breaker"),
        ("portico.acme", "a certificate was issued", "certificate"),
        ("portico.canary", "the canary has stepped up", "canary"),
        ("portico.registry", "instance registered", "registry"),
        ("portico.audit", "the admin API was used", "audit"),
        ("portico.policies.mine", "anything", "log"),
    ],
)
def test_who_has_logged_it_says_what_kind_it_is(logger: str, text: str, kind: str) -> None:
    own = events()
    own.logged(Event(1.5, "INFO", logger, text, {"service": "shop"}), "worker-1")
    (event,) = own.kept()
    assert event["kind"] == kind
    assert (event["at"], event["source"], event["text"], event["fields"]) == (
        1.5,
        "worker-1",
        text,
        {"service": "shop"},
    )


def test_what_is_said_about_an_instance_is_of_its_kind_whoever_says_it() -> None:
    own = events()
    own.logged(Event(1.5, "INFO", "portico.control", "an instance is drained", {"instance": "http://h:1"}))
    assert [event["kind"] for event in own.kept(["instance"])] == ["instance"]


def test_a_client_that_comes_back_gets_what_it_has_missed() -> None:
    own = events()
    for number in range(5):
        own.publish("config", f"event {number}")
    seen = own.kept()[2]["id"]
    assert [event["text"] for event in own.kept(after=seen)] == ["event 3", "event 4"]
    assert own.kept(after=own.last()) == []

    async def play() -> None:
        stream = own.stream(after=seen)
        piece = await sent(stream, 1)
        assert [line[:4] for line in piece.splitlines()] == [b"data", b"id: ", b"", b"data", b"id: ", b""]
        assert piece.endswith(f"id: {own.last()}\n\n".encode())

    asyncio.run(play())


@pytest.mark.parametrize("after", ["", "abc-3", "x", "1-1-1", "0-99999999999999999999", "\x00", "ä", "-", "9" * 5000])
def test_the_id_of_another_process_means_all_that_is_kept(after: str) -> None:
    own = events()
    own.publish("config", "one")
    assert [event["text"] for event in own.kept(after=after)] == ["one"]


def test_an_id_of_the_future_is_after_all() -> None:
    own = events()
    own.publish("config", "one")
    assert own.kept(after=own.last() + "000") == []


def test_what_is_kept_is_bounded_and_a_talkative_policy_pushes_out_no_others() -> None:
    own = events()
    own.publish("config", "reloaded")
    first = own.last()
    for number in range(2000):
        own.publish("log", f"chatter {number}")
    texts = [event["text"] for event in own.kept()]
    assert (len(texts), texts[0], texts[1], texts[-1]) == (201, "reloaded", "chatter 1800", "chatter 1999")
    piece = asyncio.run(sent(own.stream(after=first), 1))
    assert piece.startswith(b'event: left_out\ndata: {"left_out": 1800}\n\n')


def test_only_the_kinds_that_are_asked_for_come() -> None:
    own = events()

    async def play() -> list[str]:
        stream = own.stream(["config", "canary"], "", LINES)
        await anext(stream)
        own.publish("config", "config")
        own.publish("log", "log")
        own.publish("canary", "canary")
        await anext(stream)
        found = await sent(stream, 1)
        return [json.loads(line)["text"] for line in found.splitlines()]

    assert asyncio.run(play()) == ["config", "canary"]
    assert [event["text"] for event in own.kept(["log"])] == ["log"]


def test_a_client_that_leaves_is_forgotten() -> None:
    own = events()

    async def play() -> None:
        stream = own.stream(form=EVENTS)
        await anext(stream)
        assert own._watchers
        await stream.aclose()

    asyncio.run(play())
    assert not own._watchers


def test_events_have_bounds_and_can_be_encoded() -> None:
    record = logging.makeLogRecord({"name": "portico.x", "levelname": "ERROR", "msg": "x" * 9999})
    for number in range(100):
        setattr(record, f"field{number}", "\ud800" + "y" * 9999)
    try:
        raise ValueError("why")
    except ValueError as error:
        record.exc_info = (ValueError, error, None)
    event = event_of(record)
    assert len(event.text) == 500
    assert len(event.fields) == 21
    assert event.fields["exception"] == "ValueError('why')"
    own = events()
    own.logged(event)
    assert own.kept()[0]["fields"]["field0"].startswith("\\ud800y")
