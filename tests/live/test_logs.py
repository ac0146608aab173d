"""One line for each exchange, whatever became of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.client import request
from support.tokens import SECRET, bearer, token
from support.world import Gateway, until

FIELDS = {
    *("timestamp", "method", "path", "client_ip", "status_code", "duration_ms"),
    *("request_id", "trace_id", "service", "route", "upstream", "upstream_ms", "attempts", "bytes_in", "bytes_out"),
    *("user", "cache", "reason"),
}


def config(backend: Backend, **log: Any) -> dict[str, Any]:
    service = {"url": backend.url, "health_check": False}
    guarded = {**service, "policies": {"auth": {"jwt": {"secret": SECRET}}}}
    return {"gateway": {"log": log}, "services": {"echo": service, "guarded": guarded}}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Backend() as backend, Gateway(config(backend)) as own:
        yield own


def test_an_exchange_that_went_well(gateway: Gateway) -> None:
    answer = gateway.ask("POST", "/api/echo/echo?page=2", body=b"twelve bytes")
    line = gateway.logged(answer.get("x-request-id"))
    assert set(line) == FIELDS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert (line["method"], line["path"], line["client_ip"]) == ("POST", "/api/echo/echo", "127.0.0.1")
    assert (line["status_code"], line["service"], line["route"], line["attempts"]) == (200, "echo", "echo", 1)
    assert (line["bytes_in"], line["bytes_out"]) == (12, 12)
    assert line["upstream"].startswith("127.0.0.1:")
    assert 0 < line["upstream_ms"] <= line["duration_ms"]
    assert re.fullmatch(r"[0-9a-f]{32}", line["trace_id"])
    assert line["user"] is line["cache"] is line["reason"] is None


@pytest.mark.parametrize(
    ("data", "status", "reason", "method", "path"),
    [
        (request("GET", "/nowhere?x=1"), 404, "no_route", "GET", "/nowhere"),
        (request("GET", "/api/guarded/x"), 401, "credentials_missing", "GET", "/api/guarded/x"),
        (request("GET", "/api/echo/../x"), 400, "malformed_request", "GET", "/api/echo/../x"),
        (b"GET /broken HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "malformed_request", "GET", "/broken"),
        (b"\x00\x01\x02\r\n\r\n", 400, "malformed_request", "-", "-"),
        (request("POST", "/api/echo/x", "Content-Length: 99999999"), 413, "body_too_large", "POST", "/api/echo/x"),
    ],
)
def test_a_refused_exchange(gateway: Gateway, data: bytes, status: int, reason: str, method: str, path: str) -> None:
    with gateway.wire() as wire:
        wire.send(data)
        answer = wire.receive()
    line = gateway.logged(answer.get("x-request-id"))
    assert set(line) == FIELDS | ({"host"} if reason == "no_route" else set())  # who asked for what
    assert line.get("host") in (None, "gateway.test")
    assert (line["status_code"], line["reason"]) == (status, reason)
    assert (line["method"], line["path"]) == (method, path)
    assert line["attempts"] == 0
    assert line["upstream"] is None


def test_an_exchange_that_the_client_left(backend: Backend) -> None:
    arrived = threading.Event()

    def slow(connection: Connection) -> None:
        connection.next_request()
        arrived.set()
        connection.wait_for_end()

    def begun(connection: Connection) -> None:
        connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        arrived.set()
        connection.wait_for_end()

    with Gateway(config(backend)) as gateway:
        for name, script in (("before", slow), ("during", begun)):
            backend.script = script
            arrived.clear()
            with gateway.wire() as wire:
                wire.send(request("GET", f"/api/echo/{name}"))
                assert arrived.wait(20)
                if name == "during":
                    assert wire.file.readline().startswith(b"HTTP/1.1 200")
            line = gateway.logged_path(f"/api/echo/{name}")
            assert line["reason"] == "client_closed"
            assert line["status_code"] == (499 if name == "before" else 200), f"left {name} the response"
        with gateway.wire() as wire:
            wire.send(request("POST", "/api/echo/half", "Content-Length: 10") + b"half")
        line = gateway.logged_path("/api/echo/half")
        assert (line["status_code"], line["reason"]) == (499, "client_closed")


def test_a_path_cannot_forge_a_line(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(b'GET /x"\xe2\x80\xa8\x1b[31m\\n HTTP/1.1\r\nHost: a\r\n\r\n')
        answer = wire.receive()
    assert gateway.logged(answer.get("x-request-id"))["status_code"] == 400
    assert all(character == "\n" or " " <= character <= "~" for character in gateway.out())


def test_pipelined_requests_have_a_line_each(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(b"".join(request("GET", f"/api/echo/pipe-{n}") for n in range(20)))
        ids = [wire.receive().get("x-request-id") for _ in range(20)]
    assert [gateway.logged(each)["path"] for each in ids] == [f"/api/echo/pipe-{n}" for n in range(20)]


def test_no_secret_is_logged(backend: Backend) -> None:
    text = token(sub="alice")
    env = {"SECRET_KEY": "env-secret-of-more-than-thirty-two-bytes"}
    with Gateway(config(backend, level="DEBUG"), env=env) as gateway:
        for path in ("/api/guarded/x", "/nowhere", "/api/echo/../"):
            gateway.get(
                f"{path}?api_key=querysecret", bearer(text), "Cookie: session=cookiesecret", "X-Api-Key: keysecret"
            )
        gateway.get("/api/guarded/x?k=querysecret", bearer(text + "x"))
        gateway.get("/api/guarded/last")
        with gateway.wire() as wire:
            wire.send(b"GET /x?k=querysecret HTTP/1.1\r\nBroken Line\r\nCookie: cookiesecret\r\n\r\n")
            wire.receive()
        gateway.logged_path("/api/guarded/last")
        until(lambda: gateway.log()[-1]["path"] == "/x")
        written = gateway.out() + gateway.err()
        for secret in ("querysecret", "cookiesecret", "keysecret", text, text.split(".")[2], SECRET, "env-secret"):
            assert secret not in written


def test_text_format(backend: Backend) -> None:
    with Gateway(config(backend), env={"LOG_FORMAT": "text"}) as gateway:
        answer = gateway.get("/api/echo/x")
        gateway.get("/nowhere")
        until(lambda: "reason=no_route" in gateway.out(), "both lines are there")
        lines = [line for line in gateway.out().splitlines() if "/readyz" not in line]
        assert len(lines) == 2
        assert "127.0.0.1 GET /api/echo/x 200 " in lines[0]
        assert f"id={answer.get('x-request-id')}" in lines[0]
        assert not lines[0].startswith("{")
        assert "listening on" in gateway.err()
        assert not gateway.err().splitlines()[-1].startswith("{")
        gateway.clean = False  # events are text too


def test_warning_level_logs_failures_only(backend: Backend) -> None:
    with Gateway(config(backend), env={"LOG_LEVEL": "WARNING"}, port=free_port()) as gateway:
        gateway.get("/api/echo/x")
        gateway.get("/nowhere")
        failed = gateway.get("/api/echo/status/503")
        gateway.logged(failed.get("x-request-id"))
        assert len(gateway.log()) == 1
        assert not [event for event in gateway.events() if event["level"] in ("DEBUG", "INFO")]


def free_port() -> int:
    """A port that was free a moment ago, outside the range that the kernel gives to others."""
    for port in range(12_000 + os.getpid() % 10_000, 32_000, 7):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def test_fields_that_are_asked_for_and_a_sample(backend: Backend) -> None:
    fields = ["user_agent", "query", "protocol", "header.X-Tenant", "claim.sub"]
    with Gateway(config(backend, fields=fields, sample=0)) as gateway:
        assert gateway.get("/api/echo/well").status == 200
        refused = gateway.get("/api/guarded/x?page=2&password=x", "User-Agent: me", "X-Tenant: blue")
        (line,) = [gateway.logged(refused.get("x-request-id"))]
        said = {"user_agent": "me", "query": "page=2&password=***", "protocol": "HTTP/1.1", "header.X-Tenant": "blue"}
        assert line["fields"] == said
        gateway.stop()
        assert [each["status_code"] for each in gateway.log()] == [401], "what went well is left out"


def test_an_access_log_in_a_file_is_reopened(backend: Backend, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with Gateway(config(backend, access=str(path))) as gateway:
        gateway.get("/api/echo/first")
        until(lambda: path.exists() and "/api/echo/first" in path.read_text(), "the line is written")
        path.rename(tmp_path / "access.log.1")
        gateway.signal(signal.SIGHUP)
        until(path.exists, "the file is there again")
        gateway.get("/api/echo/second")
        until(lambda: "/api/echo/second" in path.read_text(), "the line is written")
        assert "/api/echo/first" not in path.read_text()
        assert gateway.out() == ""


def test_workers_share_a_file_that_is_rotated(backend: Backend, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    given = config(backend, access=str(path), rotate={"size": 4096, "keep": 500})
    given["gateway"]["workers"] = 2

    def texts() -> str:
        return "".join(each.read_text() for each in tmp_path.glob("access.log*"))

    with Gateway(given) as gateway:
        asked: list[str | None] = []
        for turn in range(6):  # a file is rotated between two writes, each of which may hold many lines
            asked += [gateway.get(f"/api/echo/{number}").get("x-request-id") for number in range(10)]
            until(lambda: texts().count("/api/echo/9") > turn, "they are written")  # noqa: B023
        gateway.stop()
    files = [*tmp_path.glob("access.log*")]
    assert len(files) > 2
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert {line["request_id"] for line in lines} >= {*asked}
    assert len({line["request_id"] for line in lines}) == len(lines)


def test_syslog(backend: Backend) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        with Gateway(config(backend, access=f"syslog://127.0.0.1:{server.getsockname()[1]}")) as gateway:
            name = gateway.get("/api/echo/x").get("x-request-id")
            lines = iter(lambda: server.recv(70_000).partition(b" access - ")[2], None)
            line = next(found for found in map(json.loads, lines) if found["request_id"] == name)
            assert (line["path"], gateway.out()) == ("/api/echo/x", "")


def test_an_access_log_that_is_off(backend: Backend) -> None:
    with Gateway(config(backend, access="off")) as gateway:
        assert gateway.get("/api/echo/x").status == 200
        gateway.stop()
        assert gateway.out() == ""


def test_lines_still_in_memory_are_written_at_the_end(backend: Backend) -> None:
    with Gateway(config(backend)) as gateway:
        with gateway.wire() as wire:
            for number in range(100):
                wire.ask("GET", f"/api/echo/{number}")
        gateway.stop()
        assert [line["path"] for line in gateway.log()] == [f"/api/echo/{number}" for number in range(100)]
