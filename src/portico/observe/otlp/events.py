"""Events of the gateway as log records, beside the lines on standard error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from portico.observe.events import PLAIN
from portico.observe.otlp.logs import ERROR, INFO, WARN, record
from portico.observe.otlp.protobuf import Value

_OWN: Final = "portico.otlp"
"""The logger of exporters: what they report is not sent the same way."""


class Loop(Protocol):
    """An event loop, as far as it is needed here."""

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> object:
        """Call it on the loop's thread."""


class EventExport(logging.Handler):
    """Hands events to an exporter, on the thread of the event loop."""

    def __init__(self, export: Callable[[bytes], None], loop: Loop) -> None:
        super().__init__()
        self._export = export
        self._loop = loop
        self._thread = threading.get_ident()

    def start(self) -> None:
        """From now on."""
        logging.getLogger().addHandler(self)

    def stop(self) -> None:
        """No more."""
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == _OWN:
            return
        try:
            encoded = _encoded(record)
            if threading.get_ident() == self._thread:
                self._export(encoded)
            else:
                self._loop.call_soon_threadsafe(self._export, encoded)
        except Exception:
            self.handleError(record)


def _encoded(event: logging.LogRecord) -> bytes:
    severity = ERROR if event.levelno >= logging.ERROR else WARN if event.levelno >= logging.WARNING else INFO
    values: dict[str, Value | None] = {
        f"portico.{key}": str(value) for key, value in vars(event).items() if key not in PLAIN and value is not None
    }
    if event.exc_info and event.exc_info[0] is not None:
        values["exception.type"] = event.exc_info[0].__name__
        values["exception.message"] = str(event.exc_info[1])
        values["exception.stacktrace"] = logging.Formatter().formatException(event.exc_info)
    return record(severity, event.levelname, event.getMessage(), values)
