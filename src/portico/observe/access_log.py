"""The access log: one line per exchange, encoded in batches written by a thread: no reader stalls a worker."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from pathlib import Path
from typing import Final, Protocol

import msgspec

from portico.core.printing import printable
from portico.observe.log_targets import Rotation, target_of

logger: Final = logging.getLogger("portico.log")

FLUSH_INTERVAL: Final = 0.1
_BATCH_SIZE: Final = 64 * 1024
"""Bytes that are handed over at once: while they are written, a worker that has one core waits."""
MAX_PENDING: Final = 16 * 1024 * 1024
"""Bytes that may wait for the writer, where nothing else is said."""
_CLOSE_TIMEOUT: Final = 2.0
_CLOSE_STEP: Final = 0.5
"""Seconds within which something has to be written while the log is closed, or the rest is given up."""
_ENCODED_AT_ONCE: Final = 32
"""Records encoded together: few enough to be in the processor's cache still."""
_REOPEN: Final = b""
"""Stands in the writer's queue for: close the file and open it again."""


class AccessRecord(msgspec.Struct, gc=False, omit_defaults=True):
    """One exchange. Times in milliseconds, sizes in bytes of content; `path` has no query; None: does not apply.

    What has a default is written only where it is something else.
    """

    timestamp: str
    method: str
    path: str
    client_ip: str
    status_code: int
    duration_ms: float
    request_id: str
    trace_id: str
    service: str
    route: str | None
    upstream: str | None
    upstream_ms: float | None
    attempts: int
    bytes_in: int
    bytes_out: int
    user: str | None
    cache: str | None
    reason: str | None
    shadow: str | None = None
    version: str | None = None
    upstream_error: str | None = None
    listener: str | None = None
    host: str | None = None
    span_id: str | None = None
    fields: dict[str, str] | None = None
    cost: dict[str, int] | None = None


class Log(Protocol):
    """What takes records."""

    def add(self, record: AccessRecord) -> None:
        """Take one."""


class AccessLog:
    """Takes records on the event loop, writes lines in a thread of its own.

    `target` is `stdout`, `stderr`, `syslog`, `syslog://host:port` or a file's path; `style` is `json` or `text`.
    `shared_lock` is a file that workers lock around a write, so that lines of several do not mix; None where there is
    one worker. `pending` bytes may wait for the writer; past that, lines are dropped and counted rather than kept in
    memory. Raises OSError where there is no such file and none can be made.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: str,
        style: str,
        shared_lock: Path | None = None,
        rotation: Rotation | None = None,
        pending: int = MAX_PENDING,
    ) -> None:
        self._loop = loop
        self._most_pending = pending
        self._target = target_of(target, shared_lock, rotation)
        self._encode = _json_lines if style == "json" else _text_lines
        self._records: list[AccessRecord] = []
        self._encoded: list[bytes] = []
        self._lines = self._size = 0
        self._flush_planned = False
        self._batches: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._handed_over = self._written = 0
        """Bytes; the writer alone changes the latter."""
        self.dropped = 0
        self._writer = threading.Thread(target=self._write_batches, name="access-log", daemon=True)
        self._writer.start()

    def add(self, record: AccessRecord) -> None:
        """Log one exchange."""
        self._records.append(record)
        if len(self._records) >= _ENCODED_AT_ONCE:
            self._encode_records()
            if self._size >= _BATCH_SIZE:
                self._hand_over()
        if not self._flush_planned:
            self._flush_planned = True
            self._loop.call_later(FLUSH_INTERVAL, self.flush)

    def flush(self) -> None:
        """Hand what is there to the writer."""
        self._flush_planned = False
        self._encode_records()
        if self._lines:
            self._hand_over()

    def reopen(self) -> None:
        """Open the file anew, after it was moved away; standard streams stay."""
        self.flush()
        self._batches.put(_REOPEN)

    def close(self) -> None:
        """Write what is left and stop the thread."""
        self.flush()
        self._batches.put(None)
        end, written = time.monotonic() + _CLOSE_TIMEOUT, -1
        while self._writer.is_alive() and self._written != written and time.monotonic() < end:
            written = self._written
            self._writer.join(_CLOSE_STEP)
        if self._writer.is_alive() and (lost := self._handed_over - self._written):
            logger.warning("the end of the access log is lost: nobody reads it", extra={"bytes": lost})

    def _encode_records(self) -> None:
        if self._records:
            try:
                encoded = self._encode(self._records)
            except Exception:  # no record may keep those behind it from being written
                encoded = b"".join(map(self._encoded_alone, self._records))
            self._encoded.append(encoded)
            self._size += len(encoded)
            self._lines += len(self._records)
            self._records.clear()

    def _encoded_alone(self, record: AccessRecord) -> bytes:
        try:
            return self._encode([record])
        except Exception:
            logger.exception("a line of the access log could not be written", extra={"request_id": record.request_id})
            self.dropped += 1
            self._lines -= 1
            return b""

    def _hand_over(self) -> None:
        encoded, self._encoded = self._encoded, []
        lines, self._lines = self._lines, 0
        size, self._size = self._size, 0
        if self._handed_over - self._written + size <= self._most_pending:
            self._handed_over += size
            self._batches.put(b"".join(encoded))
        else:
            self.dropped += lines

    def _write_batches(self) -> None:
        """The writer's life; the target is its own, so that none is closed while it writes to it."""
        while (batch := self._batches.get()) is not None:
            try:
                if batch is _REOPEN:
                    self._target.reopen()
                else:
                    self._target.write(batch)
            except OSError:
                self.dropped += batch.count(b"\n")
            except Exception:  # the next batch has another chance
                logger.exception("the access log could not be written")
                self.dropped += batch.count(b"\n")
            self._written += len(batch)


_encoder = msgspec.json.Encoder()


def _json_lines(records: list[AccessRecord]) -> bytes:
    return _encoder.encode_lines(records)


def _text_lines(records: list[AccessRecord]) -> bytes:
    return "".join(
        f"{r.timestamp} {r.client_ip} {printable(r.method)} {printable(r.path)} {r.status_code} "
        f"{r.duration_ms:.2f}ms {r.service}{'' if r.upstream is None else ' ' + r.upstream} "
        f"in={r.bytes_in} out={r.bytes_out} "
        f"id={r.request_id}{'' if r.user is None else ' user=' + _word(r.user)}"
        f"{'' if r.reason is None else ' reason=' + r.reason}"
        f"{'' if r.upstream_error is None else ' upstream_error=' + _word(r.upstream_error)}"
        f"{'' if r.shadow is None else ' shadow=' + r.shadow}"
        f"{'' if r.version is None else ' version=' + r.version}"
        f"{'' if r.listener is None else ' listener=' + r.listener}"
        f"{'' if r.host is None else ' host=' + _word(r.host)}"
        f"{'' if r.span_id is None else f' trace={r.trace_id} span={r.span_id}'}"
        f"{'' if r.fields is None else ''.join(f' {name}={_word(value)}' for name, value in r.fields.items())}\n"
        for r in records
    ).encode("utf-8", "backslashreplace")


def _word(text: str) -> str:
    """The same without spaces, which separate the parts of a line."""
    return printable(text).replace(" ", r"\x20")


_MILLISECONDS: Final = [f"{number:03d}Z" for number in range(1000)]


class Timestamps:
    """Moments as the log writes them; one is made once a millisecond, and all but that once a second."""

    __slots__ = ("_last", "_millisecond", "_prefix", "_second")

    def __init__(self) -> None:
        self._second = self._millisecond = -1
        self._prefix = self._last = ""

    def at(self, now: float) -> str:
        """`2026-01-31T12:00:00.123Z` from seconds since the epoch."""
        millisecond = int(now * 1e3)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._last = self._text_of(*divmod(millisecond, 1000))
        return self._last

    def _text_of(self, second: int, milliseconds: int) -> str:
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        return self._prefix + _MILLISECONDS[milliseconds]
