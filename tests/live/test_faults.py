"""Exceptions that nobody foresaw, in running processes: who notices, and what goes on."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from support.backend import Backend
from support.client import Wire, ask, request
from support.fault import Fault, failing
from support.messages import Message
from support.traffic import traffic
from support.world import Gateway, until


def config(backend: Backend, workers: int = 1, **more: Any) -> dict[str, Any]:
    return {"gateway": {"workers": workers}, "services": {"echo": backend, **more}}


def reload(gateway: Gateway) -> Message:
    return ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost")


def tracebacks(gateway: Gateway) -> list[str]:
    """The events with one, and with what they say besides."""
    return [str(event) for event in gateway.events() if "injected" in event.get("traceback", "")]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """For what the processes run first."""
    own = tmp_path / "code"
    own.mkdir()
    return own


# ---- one connection


WRITE = """
    from portico.wire import turn
    own = turn.write
    def write(descriptor, data):
        if b"/livez" not in data and data.startswith(b"HTTP/1.1 200"):
            once()
        return own(descriptor, data)
    turn.write = write
"""


def test_a_write_that_fails_costs_one_connection(backend: Backend, directory: Path) -> None:
    fault = Fault(directory, WRITE)
    with Gateway(config(backend), env=fault.env) as gateway, gateway.wire() as other, gateway.wire() as wire:
        for each in (wire, other):
            assert each.ask("GET", "/api/echo/bytes/5").status == 200
        fault.inject()
        wire.send(request("GET", "/api/echo/bytes/5"))
        assert wire.rest() == b""
        assert all(other.ask("GET", "/api/echo/bytes/5").status == 200 for _ in range(20))
        assert all(gateway.get("/api/echo/bytes/5").status == 200 for _ in range(20))
        assert len(tracebacks(gateway)) == 1
        gateway.clean = False


def test_a_deadline_that_fails_costs_one_connection(backend: Backend, directory: Path) -> None:
    fault = Fault(directory, failing("portico.wire.http1.server", "ServerConnection.deadline_passed"))
    written = config(backend)
    written["gateway"]["limits"] = {"header_timeout": "1s"}
    with Gateway(written, env=fault.env) as gateway:
        fault.inject()
        with Wire(gateway.port) as first, Wire(gateway.port) as second, Wire(gateway.port) as third:
            for wire in (first, second, third):
                wire.send(b"GET / HTTP/1.1\r\n")
            ends = [_end_of(wire) for wire in (first, second, third)]
        assert sorted(end.startswith(b"HTTP/1.1 408") for end in ends) == [False, True, True]
        assert len(tracebacks(gateway)) == 1
        gateway.clean = False


def _end_of(wire: Wire) -> bytes:
    """What comes until the connection ends, in whatever way."""
    try:
        return wire.rest()
    except ConnectionResetError:
        return b""


# ---- what control sends to a worker


ADOPTION = failing("portico.proxy.overload", "Overload.limit")
BUILD = failing("portico.snapshot.builder", "SnapshotBuilder._own_endpoints")
HEALTH = """
    from portico.snapshot.live import LiveServices
    own = LiveServices.set_health
    def set_health(self, states):
        if states:
            once()
        own(self, states)
    LiveServices.set_health = set_health
"""


@pytest.mark.parametrize("code", [ADOPTION, BUILD], ids=["behind the swap", "before the swap"])
def test_a_worker_that_fails_to_take_a_configuration_over_says_so_and_is_replaced(
    backend: Backend, directory: Path, code: str
) -> None:
    fault = Fault(directory, code)
    over = False
    with Gateway(config(backend, workers=2), env=fault.env) as gateway:
        gateway.wait_for_control()
        before = set(gateway.workers())
        with traffic(gateway.port, lambda: not over) as driven:
            fault.inject()
            gateway.write(config(backend, workers=2, new=backend))
            answer = reload(gateway)
            assert answer.status == 500
            assert "injected" in answer.json()["detail"]
            assert answer.json()["detail"].count("worker-") == 1
            assert any("NewSnapshot" in event for event in tracebacks(gateway))
            until(lambda: len(before & set(gateway.workers())) == 1, "one worker is another")
            until(lambda: len(gateway.workers()) == 2, "the old one has left")
            over = True
        assert (driven.dropped, set(driven.statuses)) == ([], {200})
        assert all(gateway.get("/api/new/x").status == 200 for _ in range(20))
        gateway.write(config(backend, workers=2))
        assert reload(gateway).status == 200
        gateway.clean = False


def test_a_worker_reads_on_after_a_message_that_it_could_not_apply(backend: Backend, directory: Path) -> None:
    fault = Fault(directory, HEALTH)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
    check = {"path": "/", "interval": "100ms", "timeout": "5s", "unhealthy_after": 1}
    fault.inject()
    with Gateway(config(backend, down={"url": dead, "health_check": check}), env=fault.env) as gateway:
        until(fault.has_happened, "an instance is down")
        (old,) = gateway.workers()
        until(lambda: any("HealthChange" in event for event in tracebacks(gateway)), "it is reported")
        gateway.write(config(backend, new=backend))
        assert reload(gateway).status == 200
        assert gateway.get("/api/new/x").status == 200
        until(lambda: gateway.workers() and old not in gateway.workers(), "it is replaced")
        assert gateway.get("/api/new/x").status == 200
        gateway.clean = False


# ---- tasks that should have no end


UPKEEP = """
    import asyncio
    from portico.processes.worker.main import _Worker
    async def keep_up(self):
        while True:
            await asyncio.sleep(0.02)
            {how}
    _Worker._keep_up = keep_up
"""
ADMISSION = """
    import asyncio
    from portico.processes.control.reloading import Reloading
    async def keep_admitting(self):
        while True:
            await asyncio.sleep(0.02)
            once()
    Reloading.keep_admitting = keep_admitting
"""
RETURN = """
            try:
                once()
            except RuntimeError:
                return
"""


@pytest.mark.parametrize("how", ["once()", RETURN], ids=["raises", "returns"])
def test_a_worker_that_cannot_keep_up_is_replaced(backend: Backend, directory: Path, how: str) -> None:
    fault = Fault(directory, UPKEEP.replace("{how}", how.strip()))
    over = False
    with Gateway(config(backend), env=fault.env) as gateway:
        (old,) = gateway.workers()
        with traffic(gateway.port, lambda: not over) as driven:
            fault.inject()
            until(lambda: len(gateway.workers()) == 1 and old not in gateway.workers(), "another worker alone")
            over = True
        assert (driven.dropped, set(driven.statuses)) == ([], {200})
        assert any("upkeep" in event["event"] for event in gateway.events())
        gateway.clean = False


def test_control_that_lacks_a_task_is_started_again(backend: Backend, directory: Path) -> None:
    fault = Fault(directory, ADMISSION)
    with Gateway(config(backend), env=fault.env) as gateway:
        gateway.wait_for_control()
        before, workers = gateway.control(), gateway.workers()
        fault.inject()
        until(lambda: before not in gateway.family(), "the control process has ended")
        gateway.wait_for_control()
        assert gateway.workers() == workers
        assert len(tracebacks(gateway)) == 1
        gateway.clean = False


# ---- the supervisor


def test_a_supervisor_that_fails_once_tries_again(backend: Backend, directory: Path) -> None:
    fault = Fault(directory, failing("portico.processes.supervisor.main", "Supervisor._start_due"))
    with Gateway(config(backend), env=fault.env) as gateway:
        family = gateway.family()
        fault.inject()
        until(lambda: tracebacks(gateway), "it is reported")
        assert gateway.get("/api/echo/bytes/5").status == 200
        assert gateway.family() == family
        gateway.clean = False
