"""What happens to the gateway itself, as lines on standard error: started, reloaded, an instance down, a bug."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Final

import msgspec

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "event": record.getMessage(),
            **{key: str(value) for key, value in vars(record).items() if key not in _PLAIN},
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(event).decode()


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {key}={value}" for key, value in vars(record).items() if key not in _PLAIN)
        head, newline, rest = super().format(record).partition("\n")
        return head + extra + newline + rest


def configure_events(level: str, style: str) -> None:
    """Send events of `level` and above to standard error as `json` or `text`; a terminal always gets text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_TextFormatter() if style == "text" or sys.stderr.isatty() else _JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("portico").setLevel(level)
