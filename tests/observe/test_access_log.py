"""The access log: whole lines, one per exchange, whatever they contain and however they are read."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from portico.observe.access_log import AccessLog, AccessRecord, Timestamps
from portico.observe.log_targets import _File

FIELDS = [
    *("timestamp", "method", "path", "client_ip", "status_code", "duration_ms", "request_id", "trace_id", "service"),
    *("route", "upstream", "upstream_ms", "attempts", "bytes_in", "bytes_out", "user", "cache", "reason"),
]


class FakeLoop:
    """Keeps what was planned for later."""

    def __init__(self) -> None:
        self.planned: list[Callable[[], None]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.planned.append(callback)


def record(**given: Any) -> AccessRecord:
    usual: dict[str, Any] = {
        "timestamp": "2026-01-31T12:00:00.123Z",
        "method": "GET",
        "path": "/api/gemini/health",
        "client_ip": "192.0.2.7",
        "status_code": 200,
        "duration_ms": 1.25,
        "request_id": "abc",
        "trace_id": "def",
        "service": "gemini",
        "route": "gemini",
        "upstream": "localhost:8001",
        "upstream_ms": 1.0,
        "attempts": 1,
        "bytes_in": 0,
        "bytes_out": 126,
        "user": None,
        "cache": None,
        "reason": None,
    }
    return AccessRecord(**{**usual, **given})


def open_log(
    target: str | Path, style: str = "json", lock: Path | None = None, **more: Any
) -> tuple[AccessLog, FakeLoop]:
    loop = FakeLoop()
    return AccessLog(cast(asyncio.AbstractEventLoop, loop), str(target), style, lock, **more), loop


def written(path: Path, *records: AccessRecord, style: str = "json") -> list[str]:
    log, _ = open_log(path, style)
    for each in records:
        log.add(each)
    log.close()
    assert log.dropped == 0
    text = path.read_bytes().decode()
    assert text.endswith("\n")
    return text[:-1].split("\n")


def test_json(tmp_path: Path) -> None:
    lines = written(tmp_path / "log", record(), record(route=None, status_code=404, reason="no_route", duration_ms=0.5))
    first, second = map(json.loads, lines)
    assert list(first) == FIELDS
    assert (first["status_code"], first["duration_ms"], first["user"]) == (200, 1.25, None)
    assert (second["route"], second["reason"]) == (None, "no_route")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {},
            "2026-01-31T12:00:00.123Z 192.0.2.7 GET /api/gemini/health 200 1.25ms gemini localhost:8001 "
            "in=0 out=126 id=abc",
        ),
        (
            {"upstream": None, "user": "alice", "reason": "rate_limited", "status_code": 429},
            "2026-01-31T12:00:00.123Z 192.0.2.7 GET /api/gemini/health 429 1.25ms gemini "
            "in=0 out=126 id=abc user=alice reason=rate_limited",
        ),
        (
            {"status_code": 502, "reason": "upstream_refused", "upstream_error": "connection refused"},
            "2026-01-31T12:00:00.123Z 192.0.2.7 GET /api/gemini/health 502 1.25ms gemini localhost:8001 "
            r"in=0 out=126 id=abc reason=upstream_refused upstream_error=connection\x20refused",
        ),
        (
            {"user": "Jane reason=x"},
            "2026-01-31T12:00:00.123Z 192.0.2.7 GET /api/gemini/health 200 1.25ms gemini localhost:8001 "
            r"in=0 out=126 id=abc user=Jane\x20reason=x",
        ),
        (
            {"listener": "public", "host": "a b:80"},
            "2026-01-31T12:00:00.123Z 192.0.2.7 GET /api/gemini/health 200 1.25ms gemini localhost:8001 "
            r"in=0 out=126 id=abc listener=public host=a\x20b:80",
        ),
    ],
)
def test_text(tmp_path: Path, given: dict[str, Any], line: str) -> None:
    assert written(tmp_path / "log", record(**given), style="text") == [line]


NASTY = ["a\nb", "a\r\nb", "a\x00b", "a\x1b[2Jb", "a\x85b", "a\u2028b", "a\u2029b", 'a"}\n{"', "a\\nb", "é"]


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("key", ["method", "path", "user", "host"])
def test_nothing_in_a_record_makes_a_line_of_its_own(tmp_path: Path, style: str, text: str, key: str) -> None:
    lines = written(tmp_path / "log", record(**{key: text}), record(), style=style)
    assert len(lines) == 2
    assert not set(lines[0]) & set("\n\r\x00\x1b")
    if style == "json":
        assert json.loads(lines[0])[key] == text
    else:
        assert lines[0].splitlines() == [lines[0]]
        assert lines[0].isprintable()


def test_lines_are_written_in_batches(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log, loop = open_log(path)
    for _ in range(10):
        log.add(record())
    assert len(loop.planned) == 1
    loop.planned.pop()()
    log.add(record())
    assert len(loop.planned) == 1
    log.close()
    assert path.read_bytes().count(b"\n") == 11


def test_a_busy_worker_hands_over_before_its_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log, loop = open_log(path)
    for _ in range(10_000):
        log.add(record())
    assert len(loop.planned) == 1
    assert len(log._records) < 10_000
    assert log._size < 128 * 1024
    log.close()
    assert path.read_bytes().count(b"\n") == 10_000


class FakeStdout:
    def __init__(self, number: int) -> None:
        self.number = number

    def fileno(self) -> int:
        return self.number


@contextmanager
def unread_stdout() -> Iterator[tuple[int, int]]:
    """A standard output that is not read: both ends of its pipe, to read it later."""
    reader, writer = os.pipe()
    usual = sys.__stdout__
    sys.__stdout__ = cast(Any, FakeStdout(writer))  # type: ignore[misc]
    try:
        yield reader, writer
    finally:
        sys.__stdout__ = usual  # type: ignore[misc]
        os.close(reader)
        os.close(writer)


def read_all(reader: int, into: list[bytes]) -> threading.Thread:
    """Read until the end in a thread."""

    def read() -> None:
        while not into or not into[-1].endswith(b"end\n"):
            into.append(os.read(reader, 1 << 20))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def test_a_reader_that_is_stuck_costs_lines_which_are_counted() -> None:
    with unread_stdout() as (reader, writer):
        log, _ = open_log("stdout", "text", pending=1 << 20)
        for _ in range(1_500):
            log.add(record(path="/" + "x" * 4000))
            log.flush()
        dropped, got = log.dropped, list[bytes]()
        thread = read_all(reader, got)
        log.close()
        os.write(writer, b"end\n")
        thread.join(10)
        assert not thread.is_alive()
    assert 0 < dropped < 1_500
    assert log.dropped == dropped
    assert b"".join(got).count(b"\n") - 1 + dropped == 1_500


def test_closing_does_not_wait_for_a_reader_that_is_stuck() -> None:
    """A worker that drains must end, also where its log is a pipe that is not read."""
    with unread_stdout() as (reader, writer):
        log, _ = open_log("stdout", "text", pending=1 << 20)
        while not log.dropped:
            log.add(record(path="/" + "x" * 4000))
            log.flush()
            time.sleep(0.001)  # the writer takes what the pipe can hold
        closing = threading.Thread(target=log.close, daemon=True)
        closing.start()
        closing.join(8)
        still_closing = closing.is_alive()
        thread = read_all(reader, [])
        closing.join(8)
        log._writer.join(2)
        os.write(writer, b"end\n")
        thread.join(8)
    assert not still_closing


def test_lines_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    log, _ = open_log("/dev/full")
    log.add(record())
    log.add(record())
    log.close()
    assert log.dropped == 2


def wait_for(path: Path) -> None:
    """The writer opens it in its own time."""
    end = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < end, f"{path} was not opened anew"
        time.sleep(0.001)


def test_a_file_that_was_moved_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log, _ = open_log(path, "text")
    for number in range(50):
        log.add(record(path=f"/{number}"))
        path.rename(tmp_path / f"log.{number}")
        log.reopen()
        wait_for(path)
    log.add(record(path="/last"))
    log.close()
    assert "/last" in path.read_text()
    lines = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert len(lines) == 51
    assert log.dropped == 0


def test_reopening_leaves_the_standard_streams_alone() -> None:
    with unread_stdout() as (reader, _):
        log, _ = open_log("stdout", "text")
        log.reopen()
        log.add(record())
        log.close()
        assert b"/api/gemini/health" in os.read(reader, 4096)


def test_lines_of_several_workers_do_not_mix(tmp_path: Path) -> None:
    path, lock = tmp_path / "log", tmp_path / "lock"
    logs = [open_log(path, "json", lock)[0] for _ in range(3)]
    for number in range(300):
        logs[number % 3].add(record(path="/" + "x" * (number * 10)))
        logs[number % 3].flush()
    for log in logs:
        log.close()
    paths = sorted(len(json.loads(line)["path"]) for line in path.read_text().splitlines())
    assert paths == [1 + 10 * number for number in range(300)]


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1769860800.1239, "2026-01-31T12:00:00.123Z"),
        (1769860800.9999, "2026-01-31T12:00:00.999Z"),
        (1769860801.0, "2026-01-31T12:00:01.000Z"),
    ],
)
def test_timestamps(now: float, text: str) -> None:
    timestamps = Timestamps()
    assert timestamps.at(now) == text
    assert timestamps.at(now + 86400) != text
    assert timestamps.at(now) == text


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("count", [3, 100])
def test_a_record_that_cannot_be_written_is_left_out_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, style: str, count: int
) -> None:
    log, loop = open_log(tmp_path / "log", style)
    broken: Any = object()
    for number in range(count):
        log.add(record(request_id=f"id-{number}-", **({"duration_ms": broken} if number == 1 else {})))
        for flush in loop.planned:
            flush()
        loop.planned.clear()
    log.close()
    text = (tmp_path / "log").read_text()
    assert [f"id-{number}-" in text for number in range(3)] == [True, False, True]
    assert (text.count("\n"), log.dropped) == (count - 1, 1)
    (event,) = caplog.records
    assert event.exc_info


def test_a_writer_that_failed_writes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = threading.Event()
    write = _File.write

    def fail_once(target: _File, batch: bytes) -> None:
        if not failing.is_set():
            failing.set()
            raise RuntimeError
        write(target, batch)

    monkeypatch.setattr(_File, "write", fail_once)
    log, _ = open_log(tmp_path / "log")
    log.add(record(request_id="lost"))
    log.flush()
    assert failing.wait(10)
    log.add(record(request_id="written"))
    log.close()
    text = (tmp_path / "log").read_text()
    assert ("written" in text, "lost" in text, log.dropped) == (True, False, 1)
    assert caplog.records[0].exc_info
