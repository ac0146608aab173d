"""Sends what was encoded to a collector (OTLP over HTTP), in a thread: one that is away or slow costs no request.

What waits is bounded; beyond that it is dropped and counted. An outage is reported twice, by one of
a gateway's processes: when it begins, and when it is over; a collector that takes all, but too slowly, once a minute.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import logging
import queue
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from portico.core.printing import printable
from portico.observe.otlp.collector import Collector
from portico.observe.otlp.protobuf import fields_of, part
from portico.observe.otlp.reporter import Reporter

logger: Final = logging.getLogger("portico.otlp")

TOGETHER: Final = 2048
"""Records that are sent in one request."""
_LARGE: Final = 1 << 20
"""Bytes of them; a collector takes some MiB."""
RETRIED: Final = frozenset({429, 502, 503, 504})
"""Statuses after which a batch is sent again (OTLP 1.x, "Failures")."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_LONGEST_ASKED: Final = 60.0
"""Seconds of a Retry-After that are obeyed, at most."""
GIVEN_UP: Final = 60.0
"""Seconds after which a batch is dropped that could not be sent."""
_ANSWER_LIMIT: Final = 64 * 1024
"""Bytes of an answer that are read."""
_LONGEST_WORD: Final = 200
"""Characters of a collector's own words that are reported."""
_PAUSE_OF_EVENTS: Final = 60.0
"""Seconds between two reports that a collector refuses what it gets, or is too slow for it."""

QUEUE: Final = "queue_full"
FAILED: Final = "failed"
REJECTED: Final = "rejected"
"""Why records were dropped: more came than could wait; they could not be sent in time; the collector refused them."""


class _Batch(NamedTuple):
    records: list[bytes]
    size: int
    since: float


class Later(Protocol):
    """An event loop, as far as it is needed here."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> object:
        """Call it after so many seconds."""


class Exporter:
    """Takes encoded records on the event loop, and sends them in batches in a thread of its own.

    A record is a whole field; `wrap` makes the message of a request of those that are sent together. Of exporters with
    one `lock`, a file, one at a time reports an outage.
    """

    def __init__(
        self, collector: Collector, wrap: Callable[[bytes], bytes], loop: Later, lock: Path | None = None
    ) -> None:
        self.collector = collector
        self.wrap = wrap
        self._loop = loop
        self._records: list[bytes] = []
        self._size = 0
        self._flush_planned = self._is_closing = False
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._handed_over = self._done = 0
        """Bytes; the thread alone changes the latter."""
        self.sent = 0
        self.dropped = {QUEUE: 0, FAILED: 0, REJECTED: 0}
        self._connection: http.client.HTTPConnection | None = None
        self._failing_since = 0.0
        self._reporter = Reporter(lock)
        self._reports = False
        """Whether the outage is reported by this one."""
        self._lost = 0
        self._reported = self._reported_full = float("-inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send_batches, name=f"otlp-{collector.signal}", daemon=True)
        self._thread.start()

    # ---- on the event loop

    def add(self, record: bytes) -> None:
        """Send one, soon."""
        self._records.append(record)
        self._size += len(record)
        if len(self._records) >= TOGETHER or self._size >= _LARGE:
            self._hand_over()
        elif not self._flush_planned:
            self._flush_planned = True
            self._loop.call_later(self.collector.delay, self.flush)

    def flush(self) -> None:
        """Hand what is there to the thread."""
        self._flush_planned = False
        if self._records:
            self._hand_over()

    def _hand_over(self) -> None:
        records, self._records = self._records, []
        size, self._size = self._size, 0
        if self._handed_over - self._done + size > self.collector.most_waiting or self._is_closing:
            self.dropped[QUEUE] += len(records)
            self._lost += len(records)
            self._report_full(len(records))
            return
        self._handed_over += size
        self._batches.put(_Batch(records, size, time.monotonic()))

    def _report_full(self, count: int) -> None:
        """Records are dropped; an outage has been reported, but a collector may just be slow."""
        now = time.monotonic()
        if not self._failing_since and not self._is_closing and now - self._reported_full >= _PAUSE_OF_EVENTS:
            self._reported_full = now
            text = "%s are dropped: the collector takes them more slowly than they come"
            facts = {"endpoint": _without_query(self.collector.url), "count": count}
            logger.warning(text, self.collector.signal, extra=facts)

    def close(self, timeout: float) -> None:
        """Send what is left, for `timeout` seconds at most: what could not be sent then is dropped."""
        self.begin_close()
        self.end_close(timeout)

    def begin_close(self) -> None:
        """Take no more, and send what is left, each batch once."""
        self.flush()
        self._is_closing = True
        self._batches.put(None)
        self._stop.set()

    def end_close(self, timeout: float) -> None:
        """Wait until that is done, for `timeout` seconds at most."""
        self._thread.join(max(0.0, timeout))

    # ---- in the thread

    def _send_batches(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                self._send(batch)
            except Exception:  # the next batch has another chance
                logger.exception("what was observed could not be exported")
                self._drop(batch, FAILED)
            self._done += batch.size
        self._disconnect()
        self._reporter.leave()

    def _send(self, batch: _Batch) -> None:
        body = self.wrap(b"".join(batch.records))
        if self.collector.gzip:
            body = gzip.compress(body, 1, mtime=0)
        pause = _FIRST_PAUSE
        while not (self._stop.is_set() and self._failing_since):  # it is not waited for while the gateway stops
            is_settled, asked = self._try(body, batch)
            if is_settled:
                return
            waits = min(max(asked, pause * random.uniform(0.8, 1.2)), _LONGEST_ASKED)  # noqa: S311
            if time.monotonic() + waits - batch.since > GIVEN_UP or self._stop.is_set():
                break
            self._stop.wait(waits)
            pause = min(pause * 2, _LONGEST_PAUSE)
        self._drop(batch, FAILED)

    def _try(self, body: bytes, batch: _Batch) -> tuple[bool, float]:
        """Send a batch once: whether that is settled, and if not, for how many seconds the collector wants a pause."""
        try:
            status, retry_after, answer = self._post(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._disconnect()
            self._begin_failing(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
            return False, 0.0
        if status in RETRIED:
            self._begin_failing(f"it answered {status}")
            return False, _seconds(retry_after)
        self._end_failing()
        if 200 <= status < 300:
            self._note_partial(batch, answer)
        else:
            self._drop(batch, REJECTED)
            self._report_refusal(f"it answered {status}{_hint(status, self.collector.url)}", len(batch.records))
        return True, 0.0

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        reused = self._connection is not None
        try:
            return self._exchange(self._connection or self._connect(), body)
        except (ConnectionError, http.client.BadStatusLine):
            self._disconnect()
            if not reused:  # it had closed a kept connection
                raise
        return self._exchange(self._connect(), body)

    def _connect(self) -> http.client.HTTPConnection:
        url = urlsplit(self.collector.url)
        assert url.hostname is not None
        timeout = self.collector.timeout
        if url.scheme == "https":
            tls = self.collector.tls() if self.collector.tls is not None else ssl.create_default_context()
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                url.hostname, url.port, timeout=timeout, context=tls
            )
        else:
            made = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
        self._connection = made
        return made

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes) -> tuple[int, str, bytes]:
        headers = {"Content-Type": "application/x-protobuf", "User-Agent": "OTel-OTLP-Exporter-Portico"}
        if self.collector.gzip:
            headers["Content-Encoding"] = "gzip"
        with _within(self.collector.timeout, connection):
            connection.request("POST", _target(self.collector.url), body, {**headers, **self.collector.headers})
            response = connection.getresponse()
            answer = response.read(_ANSWER_LIMIT)
            has_more = bool(response.read(1))
        if has_more or response.will_close:
            self._disconnect()
        return response.status, response.headers.get("Retry-After", ""), answer

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    # ---- what came of it

    def _note_partial(self, batch: _Batch, answer: bytes) -> None:
        """Count what was taken: a collector may refuse some, and say why (`partial_success`)."""
        refused, why = 0, ""
        with contextlib.suppress(ValueError):  # an answer that is none changes nothing: the status was 2xx
            for number, partial in fields_of(answer):
                if number == 1 and isinstance(partial, bytes):
                    found = dict(fields_of(partial))
                    count, words = found.get(1, 0), found.get(2, b"")
                    refused = min(count, len(batch.records)) if isinstance(count, int) else 0
                    why = words.decode("utf-8", "replace") if isinstance(words, bytes) else ""
        self.sent += len(batch.records) - refused
        if refused:
            self.dropped[REJECTED] += refused
        if refused or why:
            self._report_refusal(printable(why[:_LONGEST_WORD]) or "it does not say why", refused)

    def _report_refusal(self, why: str, count: int) -> None:
        now = time.monotonic()
        if now - self._reported >= _PAUSE_OF_EVENTS:
            self._reported = now
            logger.warning("the collector refuses %s", self.collector.signal, extra=self._facts(why, count))

    def _facts(self, why: str, count: int) -> dict[str, object]:
        return {"endpoint": _without_query(self.collector.url), "reason": why, "count": count}

    def _drop(self, batch: _Batch, why: str) -> None:
        self.dropped[why] += len(batch.records)
        self._lost += len(batch.records)

    def _begin_failing(self, why: str) -> None:
        if not self._failing_since:
            self._failing_since = time.monotonic()
            self._lost = 0
            self._reports = self._reporter.takes_over()
            if self._reports:
                text = "%s cannot be exported: they wait for the collector, and are dropped when too many do"
                facts = {"endpoint": _without_query(self.collector.url), "reason": printable(why)}
                logger.warning(text, self.collector.signal, extra=facts)

    def _end_failing(self) -> None:
        if self._failing_since:
            seconds, self._failing_since = time.monotonic() - self._failing_since, 0.0
            if self._reports:
                facts = {"endpoint": _without_query(self.collector.url), "seconds": round(seconds)}
                logger.info("%s are exported again", self.collector.signal, extra={**facts, "dropped": self._lost})
            self._reporter.leave()


@contextlib.contextmanager
def _within(timeout: float, connection: http.client.HTTPConnection) -> Iterator[None]:
    """Cut a connection off after so many seconds, and raise TimeoutError: its own timeout is that of each read, so
    that an answer may come byte by byte for ever.
    """
    is_late = threading.Event()

    def cut() -> None:
        is_late.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    timer = threading.Timer(timeout, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if is_late.is_set():
            raise TimeoutError("timed out") from error
        raise
    finally:
        timer.cancel()
    if is_late.is_set():
        raise TimeoutError("timed out")


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _without_query(url: str) -> str:
    return url.partition("?")[0]


def _hint(status: int, url: str) -> str:
    if status in (404, 405):
        return f": is {urlsplit(url).path} where it takes OTLP over HTTP?"
    if status in (401, 403):
        return ": do the headers hold what it asks for?"
    return ""


def _seconds(retry_after: str) -> float:
    """Those that a Retry-After asks for, in either form (RFC 9110, section 10.2.3)."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:6])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def wrapping(resource: bytes, scope: bytes) -> Callable[[bytes], bytes]:
    """How records become a request: in their scope, in the resource (the messages of all signals look alike)."""
    resource_part, scope_part = part(1, resource), part(1, scope)
    return lambda records: part(1, resource_part + part(2, scope_part + records))
