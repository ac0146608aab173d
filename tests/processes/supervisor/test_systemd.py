"""Notifications to systemd, on real sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from portico.processes.supervisor.systemd import Systemd


def bound(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(address)
    listening.settimeout(10)
    return listening


def test_the_life_of_a_gateway(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with bound(path) as listening:
        systemd = Systemd({"NOTIFY_SOCKET": path})
        systemd.ready("serving")
        assert listening.recv(4096) == b"READY=1\nSTATUS=serving"
        systemd.reloading()
        lines = dict(line.split("=", 1) for line in listening.recv(4096).decode().splitlines())
        assert lines["RELOADING"] == "1"
        assert int(lines["MONOTONIC_USEC"]) > 0
        systemd.stopping()
        assert listening.recv(4096).startswith(b"STOPPING=1\n")


def test_an_abstract_socket() -> None:
    name = f"portico-test-{os.getpid()}"
    with bound("\0" + name) as listening:
        Systemd({"NOTIFY_SOCKET": "@" + name}).ready("serving")
        assert listening.recv(4096).startswith(b"READY=1\n")


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog(tmp_path: Path, environ: dict[str, str], interval: float | None) -> None:
    path = str(tmp_path / "notify")
    with bound(path) as listening:
        systemd = Systemd({"NOTIFY_SOCKET": path, **environ})
        assert systemd.watchdog_interval == interval
        systemd.sign_of_life()
        systemd.sign_of_life()
        systemd.ready("")
        said = [listening.recv(4096)[:10] for _ in range(2 if interval else 1)]
        assert said == [*([b"WATCHDOG=1"] if interval else []), b"READY=1\nST"], "and only when it is due"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_notify_socket_nothing_is_sent(environ: dict[str, str]) -> None:
    systemd = Systemd({**environ, "WATCHDOG_USEC": "1000000"})
    systemd.ready("serving")
    assert systemd.watchdog_interval is None


def test_a_service_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "none")}).ready("serving")
