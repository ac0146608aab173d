"""What an exporter makes of a collector: one that takes all, or a part, or nothing, or speaks something else."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from portico.config.telemetry import CollectorSettings
from portico.observe.otlp.exporter import FAILED, QUEUE, REJECTED, Exporter, wrapping
from portico.observe.otlp.protobuf import fields_of, number
from portico.observe.otlp.resource import resource, scope
from portico.observe.otlp.spans import SERVER, ids, whole
from support.authority import Authority
from support.backend import Backend, Connection, Refusing
from support.collector import Answer, Collector, partial
from support.waiting import until


class Loop:
    """Nothing is called later: tests flush."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        """Not by itself."""


def span(trace: int = 1) -> bytes:
    return whole([ids(trace.to_bytes(16, "big"), b"\1" * 8, b"", 1, 2, 3), number(6, SERVER)])


@contextmanager
def exporting(url: str, lock: Path | None = None, **settings: Any) -> Iterator[Exporter]:
    written = CollectorSettings(endpoint=url, **settings)
    wrap = wrapping(resource("edge", {"a": "é\udc80"}, "worker-0"), scope())
    exporter = Exporter(written.collector("traces"), wrap, Loop(), lock)
    try:
        yield exporter
    finally:
        exporter.close(5)


def _has_failed(exporter: Exporter) -> bool:
    return exporter._failing_since > 0


def _has_sent(exporter: Exporter, count: int) -> bool:
    return exporter.sent == count


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_what_is_taken_is_counted(compression: str) -> None:
    with (
        Collector() as collector,
        exporting(collector.url, compression=compression, headers={"X-Key": "k"}) as exporter,
    ):
        for trace in range(1, 5001):
            exporter.add(span(trace))
        exporter.flush()
        until(lambda: exporter.sent == 5000, "all are taken")
        assert len({each.trace for each in collector.spans}) == 5000
        assert len(collector.paths) == 3, "two full batches, and the rest"
        assert collector.headers[0]["x-key"] == "k"
        assert collector.spans[0].resource["a"] == "é?"
        assert not any(exporter.dropped.values())


def test_a_part_that_is_refused_is_counted_and_its_reason_told(caplog: pytest.LogCaptureFixture) -> None:
    with Collector() as collector, exporting(collector.url) as exporter:
        collector.answer = lambda: partial(2, "too\x1b[31m old")
        for trace in range(1, 6):
            exporter.add(span(trace))
        exporter.flush()
        until(lambda: exporter.sent == 3, "three are taken")
        assert exporter.dropped[REJECTED] == 2
        until(lambda: caplog.records, "it is told")
        assert (caplog.records[0].__dict__["reason"], caplog.records[0].__dict__["count"]) == (r"too\x1b[31m old", 2)
        collector.answer = lambda: partial(10**12, "more than there were")
        exporter.add(span())
        exporter.flush()
        until(lambda: exporter.dropped[REJECTED] == 3, "no more than there were")
        assert exporter.sent == 3
        assert len(caplog.records) == 1, "it was told a moment ago"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\xff\xff\xff\xff\xff",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\x0a\xff\x01",
        b"HTTP/1.1 202 Fine\r\nConnection: close\r\n\r\n" + b"x" * 200_000,
        b"HTTP/1.0 200 OK\r\n\r\n<html>",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_an_answer_that_says_nothing_is_a_yes(answer: bytes) -> None:
    def script(connection: Connection) -> None:
        while connection.next_request() is not None:
            connection.send(answer)
            if b"204" not in answer and b"Content-Length" not in answer:
                return

    with Backend(script) as backend, exporting(backend.url) as exporter:
        for trace in (1, 2):
            exporter.add(span(trace))
            exporter.flush()
        until(lambda: exporter.sent == 2, "both are taken")
        assert not any(exporter.dropped.values())


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00" * 1000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"",
    ],
)
def test_garbage_is_an_outage(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    def script(connection: Connection) -> None:
        connection.next_request()
        connection.send(answer)

    with Backend(script) as backend, exporting(backend.url, timeout=2) as exporter:
        exporter.add(span())
        exporter.flush()
        until(lambda: caplog.records, "it is told")
        assert caplog.records[0].levelno == logging.WARNING
    assert exporter.dropped[FAILED] == 1
    assert len(caplog.records) == 1


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"])
def test_an_answer_that_never_ends_is_an_outage(head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    def drip(connection: Connection) -> None:
        connection.next_request()
        connection.send(head)
        with contextlib.suppress(OSError):
            while True:
                connection.send(b"y")
                time.sleep(0.02)

    with Backend(drip) as backend, exporting(backend.url, timeout=0.3) as exporter:
        exporter.add(span())
        exporter.flush()
        until(lambda: caplog.records, "it is told")
        assert caplog.records[0].__dict__["reason"] == "TimeoutError: timed out"
    assert exporter.dropped[FAILED] == 1


def test_a_collector_that_asks_for_peace_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answers = [Answer(429, {"Retry-After": "0"}), Answer(503), Answer(200)]
    with Collector() as collector, exporting(collector.url) as exporter:
        collector.answer = lambda: answers.pop(0)
        exporter.add(span())
        exporter.flush()
        until(lambda: exporter.sent == 1, "in the end it is taken")
        until(lambda: len(caplog.records) == 2, "begin and end")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert len(collector.spans) == 1


def test_of_several_processes_one_reports_an_outage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lock = tmp_path / "lock"
    with Refusing() as away:
        with exporting(away.url, lock) as first, exporting(away.url, lock) as second, exporting(away.url) as other:
            for exporter in (first, second, other):
                exporter.add(span())
                exporter.flush()
                until(functools.partial(_has_failed, exporter), "it has noticed")
            assert len(caplog.records) == 2, "one of those with a lock, and the one without"
            with Collector(away.port):
                until(lambda: all(each.sent == 1 for each in (first, second, other)), "all is taken")
            until(lambda: len(caplog.records) == 4, "the same report the end")
            assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO", "INFO"]
        with exporting(away.url, lock) as next_one:
            next_one.add(span())
            next_one.flush()
            until(lambda: len(caplog.records) == 5, "those before have left")
    with exporting(away.url, tmp_path / "no" / "lock") as alone:
        alone.add(span())
        alone.flush()
        until(lambda: len(caplog.records) == 6, "without a lock it reports")


def test_what_does_not_fit_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    with Refusing() as away, exporting(away.url, queue="1MiB") as exporter:
        for trace in range(1, 100_001):
            exporter.add(span(trace))
        exporter.flush()
        waiting = exporter._handed_over - exporter._done
        assert waiting <= 1 << 20
        assert 0 < exporter.dropped[QUEUE] < 100_000
    assert sum(exporter.dropped.values()) == 100_000
    assert len([record for record in caplog.records if "cannot be exported" in record.getMessage()]) == 1


def test_what_a_slow_collector_leaves_no_place_for_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    go_on = threading.Event()

    def slow() -> Answer:
        go_on.wait(30)
        return Answer(200)

    with Collector() as collector, exporting(collector.url, queue="1MiB") as exporter:
        collector.answer = slow
        for trace in range(1, 100_001):
            exporter.add(span(trace))
        assert exporter.dropped[QUEUE]
        assert [record.getMessage() for record in caplog.records] == [
            "traces are dropped: the collector takes them more slowly than they come"
        ]
        go_on.set()


def test_a_kept_connection_that_was_closed_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def once(connection: Connection) -> None:
        connection.next_request()
        connection.answer()

    with Backend(once) as backend, exporting(backend.url) as exporter:
        for trace in (1, 2, 3):
            exporter.add(span(trace))
            exporter.flush()
            until(functools.partial(_has_sent, exporter, trace), "it is taken")
    assert not caplog.records


def test_a_collector_with_a_certificate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority(tmp_path)
    leaf = authority.leaf("collector", "localhost")
    with Collector(tls=authority.server_context(leaf)) as collector:
        url = f"https://localhost:{collector.port}"
        with exporting(url, ca=authority.ca) as exporter:
            exporter.add(span())
            exporter.flush()
            until(lambda: exporter.sent == 1, "it is taken")
        with exporting(url) as exporter:
            exporter.add(span())
            exporter.flush()
            until(lambda: caplog.records, "it is told")
    assert "certificate verify failed" in caplog.records[0].__dict__["reason"]


def test_what_is_no_message_of_protobuf_is_noticed() -> None:
    assert list(fields_of(b"\x08\x96\x01\x12\x02hi\x19" + b"\0" * 8)) == [(1, 150), (2, b"hi"), (3, b"\0" * 8)]
    for broken in (b"\x08", b"\x12\x05hi", b"\xff" * 12, b"\x0b\x01", b"\x19\x00"):
        with pytest.raises(ValueError, match="no message of protobuf"):
            list(fields_of(broken))
