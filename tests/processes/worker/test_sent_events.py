"""Events of a worker on their way to control."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import cast

import pytest

from portico.processes.ipc import channel
from portico.processes.worker import sent_events as sent_events_module
from portico.processes.worker.sent_events import SentEvents

logger = logging.getLogger("portico.upstreams")


class Control:
    """Control's end of the channel."""

    def __init__(self) -> None:
        self.received: list[channel.Happened] = []

    def write(self, frame: bytes) -> None:
        message = channel._decode(frame[4:])
        assert isinstance(message, channel.Happened)
        self.received.append(message)

    def connect(self, events: SentEvents) -> None:
        events.connected(cast(asyncio.StreamWriter, self))


@pytest.fixture
def events() -> Iterator[SentEvents]:
    events = SentEvents(cast(asyncio.AbstractEventLoop, None))
    events.start()
    yield events
    events.stop()


def test_what_was_logged_while_control_was_away_comes_once_it_is_there(events: SentEvents) -> None:
    control = Control()
    logger.warning("breaker %s", "open", extra={"service": "shop"})
    control.connect(events)
    logger.warning("breaker %s", "closed", extra={"service": "shop"})
    assert [message.event.text for message in control.received] == ["breaker open", "breaker closed"]
    assert control.received[0].event.fields == {"service": "shop"}
    events.disconnected()
    logger.warning("later")
    assert len(control.received) == 2


def test_too_many_are_counted(events: SentEvents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_events_module, "_RATE", 0.0)
    control = Control()
    control.connect(events)
    for _ in range(500):
        logger.warning("again")
    assert len(control.received) == 100
    events._allowed = 1.0
    logger.warning("at last")
    assert (control.received[-1].event.text, control.received[-1].left_out) == ("at last", 400)


def test_events_of_other_threads_are_sent_by_the_loop() -> None:
    async def play() -> list[str]:
        events, control = SentEvents(asyncio.get_running_loop()), Control()
        control.connect(events)
        events.start()
        thread = threading.Thread(target=lambda: logger.warning("from a thread"))
        thread.start()
        thread.join()
        assert not control.received
        await asyncio.sleep(0)
        events.stop()
        return [message.event.text for message in control.received]

    assert asyncio.run(play()) == ["from a thread"]
