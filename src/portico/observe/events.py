"""What happens to the gateway itself, as lines on standard error: started, reloaded, an instance down, a bug."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from typing import Any, Final

import msgspec

from portico.core.printing import printable, sendable

PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

_NOT_ESCAPED: Final = re.compile("[\x7f-\x9f]")
"""Control characters that JSON allows in text."""
_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"
_COLOURS: Final = {
    "INFO": "\x1b[32m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[1;31m",
}


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "event": record.getMessage(),
            **{key: str(value) for key, value in vars(record).items() if key not in PLAIN},
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        try:
            encoded = msgspec.json.encode(event)
        except UnicodeEncodeError:  # half a character, as JSON of others may hold
            encoded = msgspec.json.encode({sendable(str(key)): sendable(value) for key, value in event.items()})
        return _NOT_ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded.decode())


class _TextFormatter(logging.Formatter):
    """A line for a human reader; in colours the level is prominent and the event's fields are dim."""

    def __init__(self, *, coloured: bool) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = self._painted(_COLOURS.get(record.levelname, ""), f"{record.levelname:<7}")
        known = {key: value for key, value in vars(record).items() if key not in PLAIN and value is not None}
        more = "".join(f" {key}={printable(str(value))}" for key, value in known.items())
        event = printable(record.getMessage())
        line = f"{self._painted(_DIM, clock)} {level} {event}{self._painted(_DIM, more)}"
        return f"{line}\n{printable(self.formatException(record.exc_info), chr(10))}" if record.exc_info else line

    def _painted(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._coloured and colour and text else text


def configure_events(level: str, style: str) -> None:
    """Send events of `level` and above to standard error as `json` or `text`; a terminal always gets text."""
    is_terminal = sys.stderr.isatty()
    coloured = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_TextFormatter(coloured=coloured) if is_terminal or style == "text" else _JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("portico").setLevel(level)
