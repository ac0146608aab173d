"""What is said of instances to which no connection can be opened: at once, and not too often."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from portico.upstreams import reachability as module
from portico.upstreams.reachability import Reachability

from .members import Clock

REFUSED = "connection refused"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    caplog.set_level(logging.INFO, "portico.upstreams")
    kept = Kept()
    module.logger.addHandler(kept)
    yield kept.records
    module.logger.removeHandler(kept)


def texts(events: list[logging.LogRecord]) -> list[str]:
    return [event.getMessage() for event in events]


def test_the_first_failure_is_an_event_at_once(clock: Clock, events: list[logging.LogRecord]) -> None:
    Reachability("s", "http://a:80").failed(REFUSED)
    assert texts(events) == ["instance cannot be reached"]
    assert events[0].levelno == logging.WARNING
    assert vars(events[0]) | {"service": "s", "instance": "http://a:80", "error": REFUSED} == vars(events[0])


def test_those_that_follow_are_counted(clock: Clock, events: list[logging.LogRecord]) -> None:
    reachability = Reachability("s", "http://a:80")
    for _ in range(1000):
        reachability.failed(REFUSED)
        clock.now += 0.07
    assert texts(events) == ["instance cannot be reached"] * 7, "once more every ten seconds"
    assert {vars(event)["left_out"] for event in events[1:]} == {"142"}


def test_another_cause_is_another_event(clock: Clock, events: list[logging.LogRecord]) -> None:
    reachability = Reachability("s", "http://a:80")
    reachability.failed(REFUSED)
    clock.now += 2
    reachability.failed("the TLS handshake failed: its certificate has expired")
    assert len(events) == 2


def test_the_end_of_it_is_an_event(clock: Clock, events: list[logging.LogRecord]) -> None:
    reachability = Reachability("s", "http://a:80")
    reachability.failed(REFUSED)
    assert reachability.is_failing
    reachability.succeeded()
    assert texts(events) == ["instance cannot be reached", "instance can be reached again"]
    assert not reachability.is_failing
    assert reachability.problem(clock.now) == ""


def test_one_that_comes_and_goes_does_not_fill_the_log(clock: Clock, events: list[logging.LogRecord]) -> None:
    reachability = Reachability("s", "http://a:80")
    for _ in range(1000):
        reachability.failed(REFUSED)
        reachability.succeeded()
        clock.now += 0.01
    assert len(events) <= 22
    reachability.failed(REFUSED)
    clock.now += 1
    reachability.failed(REFUSED)
    assert texts(events)[-1] == "instance cannot be reached", "within a second"


def test_what_happened_long_ago_says_nothing_now(clock: Clock) -> None:
    reachability = Reachability("s", "http://a:80")
    assert reachability.problem(clock.now) == ""
    reachability.failed(REFUSED)
    assert reachability.problem(clock.now + 14) == REFUSED
    assert reachability.problem(clock.now + 16) == ""


def test_a_connection_that_is_opened_and_refused_then(clock: Clock, events: list[logging.LogRecord]) -> None:
    """As by a server of TLS 1.3 that wants a certificate: the next connection is opened all the same."""
    reachability = Reachability("s", "http://a:80")
    for _ in range(10):
        reachability.failed("TLS failed: no certificate", was_open=True)
        assert not reachability.is_failing
        clock.now += 2
    assert len(events) == 2
