"""The filter that wants a body as a whole: what it does where there is none."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from portico.plugin import Exchange, Head, Policy, whole
from portico.policies.plugins import whole as whole_module
from portico.policies.plugins.reports import Reminders

from .scene import Scene, chunked, get, post, reply, scene
from .test_response_bodies import Changing, Filtering


class Masking(Policy):
    """Wants all of a body, of eight bytes at most."""

    def __init__(self, otherwise: Literal["pass", "fail"] = "pass") -> None:
        self.otherwise = otherwise

    def body(self, exchange: Exchange, head: Head) -> Any:
        return whole(exchange, head, lambda body: b"<" + body + b">", 8, self.otherwise)


class HeadOnly(Policy):
    def response(self, exchange: Exchange, head: Any) -> None:
        head.headers.set("X-Seen", "1")


@pytest.fixture(autouse=True)
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said about bodies that are no whole."""
    said: list[str] = []
    monkeypatch.setattr(whole_module.logger, "warning", lambda text, why, **more: said.append(text % why))
    monkeypatch.setattr(whole_module, "_events", Reminders())
    return said


CHUNKS = reply(chunked("abc", "def"), "Transfer-Encoding: chunked")
LONG = reply(chunked("abcdef", "ghijkl", "mno"), "Transfer-Encoding: chunked")


def test_a_body_is_changed_as_a_whole(events: list[str]) -> None:
    with scene(Masking(), answers=[reply("abcdef"), CHUNKS, reply("")], sizes=[1]) as own:
        own.ask(post("12345678") + get() * 2)
        assert [bytes(each.body) for each in own.responses()] == [b"<abcdef>", b"<abcdef>", b"<>"]
        assert own.requests[0].body == b"<12345678>"
    assert events == []


def test_one_that_is_too_large_passes_unchanged_and_an_event_says_so_once(events: list[str]) -> None:
    with scene(Masking(), answers=[LONG, reply("abcdefghi", 'ETag: "a"'), LONG], sizes=[5]) as own:
        own.ask(get() * 3)
        assert [bytes(each.body) for each in own.responses()] == [b"abcdefghijklmno", b"abcdefghi", b"abcdefghijklmno"]
        assert own.responses()[1].all(b"content-length") == [b"9"]
        assert own.responses()[1].all(b"etag") == [b'"a"']
    assert events == [
        "a policy wants a body as a whole, and gets none: a body is larger than 8 bytes; it passes unchanged"
    ]


@pytest.mark.parametrize("answer", [reply("abcdefghi"), reply(chunked("abcdefghi"), "Transfer-Encoding: chunked")])
def test_one_that_is_too_large_may_fail_the_exchange(answer: Any) -> None:
    with scene(Masking("fail"), answers=[answer]) as own:
        own.ask(get())
        assert own.response().status == 500
        assert own.failures() == [("Masking", "body", "NoWholeError")]


def events_of(own: Scene) -> None:
    """A service that sends an event, and does not end."""
    own.say(get())
    own.service.say()
    own.service.line.say(b"9\r\ndata: 1\n\n\r\n")
    own.simulation.turn()


def test_a_stream_of_events_is_not_held_back(events: list[str]) -> None:
    """Behind two other policies: one that passes bytes on, one that reads heads only."""
    stream = reply("", "Content-Type: text/event-stream; charset=utf-8", "Transfer-Encoding: chunked")
    with scene(Filtering(Changing), HeadOnly(), Masking(), answers=[stream]) as own:
        events_of(own)
        assert own.received().endswith(b"\r\n9\r\ndata: 1\n\n\r\n")
        assert b"X-Seen: 1\r\n" in own.received()
        own.reset()
    assert "a stream of events has no whole" in events[0]


def test_a_stream_of_events_may_fail_the_exchange() -> None:
    stream = reply("", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
    with scene(Masking("fail"), answers=[stream]) as own:
        own.ask(get())
        assert own.response().status == 500
        assert own.failures() == [("Masking", "body", "NoWholeError")]
