"""Events for others than those who read the lines on standard error: each is handed on, on the event loop's thread."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from portico.core.printing import sendable
from portico.observe.events import PLAIN

_LONGEST: Final = 500
"""Characters of a text or a value; what follows is cut off."""
_MOST_FIELDS: Final = 20


class Event(msgspec.Struct, frozen=True):
    """What a line on standard error says; `at` is in seconds since the epoch, `logger` such as `portico.health`."""

    at: float
    level: str
    logger: str
    text: str
    fields: dict[str, str] = {}


class Loop(Protocol):
    """An event loop, as far as it is needed here."""

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> object:
        """Call it on the loop's thread."""


class EventFeed(logging.Handler):
    """Calls `take` with each event of Portico's that the level of its log lets through."""

    def __init__(self, take: Callable[[Event], None], loop: Loop) -> None:
        super().__init__()
        self._take = take
        self._loop = loop
        self._thread = threading.get_ident()

    def start(self) -> None:
        """From now on; called on the loop's thread."""
        logging.getLogger("portico").addHandler(self)

    def stop(self) -> None:
        """No more."""
        logging.getLogger("portico").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = event_of(record)
            if threading.get_ident() == self._thread:
                self._take(event)
            else:
                with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
                    self._loop.call_soon_threadsafe(self._take, event)
        except Exception:
            self.handleError(record)


def event_of(record: logging.LogRecord) -> Event:
    """The same as data, with bounds, that can be encoded."""
    values = {key: value for key, value in vars(record).items() if key not in PLAIN and value is not None}
    fields = {_short(key): _short(value) for key, value in [*values.items()][:_MOST_FIELDS]}
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = _short(repr(record.exc_info[1]))
    return Event(round(record.created, 3), record.levelname, record.name, _short(record.getMessage()), fields)


def _short(value: object) -> str:
    return sendable(str(value)[:_LONGEST])
