"""A changed configuration comes into use, however the reload is requested."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from support.authority import Authority
from support.backend import Backend
from support.client import ask
from support.messages import Message
from support.world import Gateway, until


def config(**services: Any) -> dict[str, Any]:
    return {"gateway": {"workers": 2}, "services": services}


def reload(gateway: Gateway) -> Message:
    return ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost")


def reloads(gateway: Gateway) -> int:
    return sum("configuration reloaded" in event["event"] for event in gateway.events())


def errors(gateway: Gateway) -> list[str]:
    return [str(event) for event in gateway.events() if event["level"] == "ERROR"]


def test_a_reload_is_answered_once_every_worker_has_applied_it(backend: Backend) -> None:
    with Gateway(config(echo=backend)) as gateway:
        gateway.wait_for_control()
        for generation in range(2, 8):
            name = f"new{generation}"
            gateway.write(config(echo=backend, **{name: backend}))
            answer = reload(gateway)
            assert (answer.status, answer.json()) == (200, {"generation": generation})
            for _ in range(8):
                assert gateway.get(f"/api/{name}/x").status == 200
        assert b"gateway_config_generation 7.0" in gateway.get("/metrics").body


def test_a_reload_of_an_invalid_file_reports_why_and_changes_nothing(backend: Backend) -> None:
    with Gateway(config(echo=backend)) as gateway:
        gateway.wait_for_control()
        gateway.file.write_text("services: {echo: {uri: http://127.0.0.1:1}}\n")
        answer = reload(gateway)
        assert answer.status == 422
        assert answer.get("content-type") == "application/problem+json"
        assert f"{gateway.file}:1:19: services.echo.uri" in answer.json()["detail"]
        status = ask(gateway.admin_port, "GET", "/admin/status", "Host: localhost").json()
        assert status["generation"] == 1
        assert "services.echo.uri" in status["refused"]
        assert b"gateway_config_refused 1.0" in gateway.get("/metrics").body
        assert gateway.get("/api/echo/x").status == 200
        gateway.write(config(echo=backend))
        assert reload(gateway).json() == {"generation": 2}
        gateway.clean = False  # the error was wanted


def test_connections_to_instances_that_stay_are_kept(backend: Backend) -> None:
    with Gateway({"services": {"echo": backend}}) as gateway:
        gateway.wait_for_control()
        assert gateway.get("/api/echo/x").status == 200
        before = len(backend.connections)
        gateway.write({"services": {"echo": backend, "more": {"url": "http://127.0.0.1:9", "health_check": False}}})
        assert reload(gateway).status == 200
        assert gateway.get("/api/echo/x").status == 200
        assert len(backend.connections) == before


def test_the_file_changing_is_enough(backend: Backend) -> None:
    with Gateway(config(echo=backend), command=("run", "--reload")) as gateway:
        gateway.wait_for_control()
        gateway.write(config(echo=backend, new=backend))
        until(lambda: reloads(gateway) == 1, "it is taken over")
        assert gateway.get("/api/new/x").status == 200
        gateway.file.write_text("services: [\n")
        until(lambda: errors(gateway), "a wrong one is an event")
        assert gateway.get("/api/new/x").status == 200
        new = gateway.directory / "new"
        gateway.write(config(echo=backend))
        gateway.file.rename(new)
        new.rename(gateway.file)
        until(lambda: reloads(gateway) == 2, "and so is one that was moved into its place")
        assert gateway.get("/api/new/x").status == 404
        assert len(errors(gateway)) == 1, "each state of a file is tried once"
        gateway.clean = False  # the error was wanted


def test_a_renewed_certificate_is_enough_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    leaf = authority.leaf("first")
    with Gateway({"gateway": {"tls": leaf.written}}, command=("run", "--reload")) as gateway:
        assert ask(gateway.admin_port, "GET", "/admin/status", "Host: localhost").status == 200, "it watches by now"
        leaf.replace_by(authority.leaf("second"))
        until(lambda: reloads(gateway) == 1, "it is taken over")
        gateway.clean = False  # a pair that does not fit yet may be looked at between the two


def test_included_files_that_change_appear_and_go(backend: Backend) -> None:
    written = {"include": "more/*.yaml", **config(echo=backend)}
    gateway = Gateway(written, command=("run", "--reload"))
    gateway.clean = False
    more = gateway.file.parent / "more"
    more.mkdir()
    with gateway:
        gateway.wait_for_control()
        assert gateway.get("/api/one/x").status == 404
        for number, (name, served) in enumerate({"one": ["one"], "two": ["one", "two"]}.items(), 1):
            (more / f"{name}.yaml").write_text(f"services: {{{name}: {{url: '{backend.url}'}}}}\n")
            until(lambda number=number: reloads(gateway) == number, "it is taken over")  # type: ignore[misc]
            assert [gateway.get(f"/api/{each}/x").status for each in served] == [200] * len(served)
        (more / "one.yaml").unlink()
        until(lambda: reloads(gateway) == 3, "that it is gone is taken over")
        assert [gateway.get(f"/api/{name}/x").status for name in ("one", "two")] == [404, 200]
        (more / "two.yaml").write_text("services: {two: {urk: x}}\n")
        until(lambda: any("more/two.yaml:1:18" in line for line in errors(gateway)), "its error names the file")


def test_a_reload_requested_while_control_is_down_is_done_when_it_is_back(backend: Backend) -> None:
    with Gateway(config(echo=backend)) as gateway:
        gateway.wait_for_control()
        gateway.write(config(echo=backend, new=backend))
        os.kill(gateway.control(), signal.SIGKILL)
        gateway.signal(signal.SIGHUP)
        until(lambda: gateway.get("/api/new/x").status == 200, "it is taken over")


class ServiceManager:
    """What systemd would be: a socket, and the lines that were sent to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def received(self, line: str) -> bool:
        with suppress(BlockingIOError):
            while True:
                self.lines += self.socket.recv(4096).decode().splitlines()
        return line in self.lines


@pytest.mark.parametrize("by_signal", [True, False])
def test_systemd_is_notified(backend: Backend, tmp_path: Path, by_signal: bool) -> None:
    manager = ServiceManager(tmp_path / "notify")
    env = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "500000"}
    with manager.socket, Gateway(config(echo=backend), env=env) as gateway:
        until(lambda: manager.received("READY=1"), "ready")
        gateway.wait_for_control()
        if by_signal:
            gateway.signal(signal.SIGHUP)
        else:
            assert reload(gateway).status == 200
        until(lambda: manager.received("RELOADING=1"), "reloading")
        until(lambda: manager.received("READY=1") and manager.lines.count("READY=1") > 1, "ready again")
        until(lambda: manager.received("WATCHDOG=1"), "signs of life")
        gateway.stop()
        assert manager.received("STOPPING=1")


def test_an_instance_that_is_checked_no_more_is_down_no_more(backend: Backend) -> None:
    """Nor for workers that come later."""

    def checked(how: object) -> dict[str, Any]:
        return config(echo={"url": backend.url, "health_check": how})

    with Gateway(checked({"path": "/status/500", "interval": "100ms", "unhealthy_after": 1})) as gateway:
        until(lambda: all(gateway.get("/api/echo/x").status == 503 for _ in range(8)), "both workers know it is down")
        gateway.write(checked(False))
        assert reload(gateway).status == 200
        until(lambda: all(gateway.get("/api/echo/x").status == 200 for _ in range(8)), "both workers use it")
        victim = gateway.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(gateway.workers()) == 2 and victim not in gateway.workers(), "another worker")
        until(lambda: all(gateway.get("/api/echo/x").status == 200 for _ in range(8)), "it uses it, too")
