"""What the supervisor reports to systemd once it stops."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from portico.config import Config
from portico.processes.ipc.listeners import Listeners
from portico.processes.ipc.notices import RELOADED, RELOADING, SERVING
from portico.processes.supervisor.child import Child
from portico.processes.supervisor.main import Supervisor


def nothing(child: Child) -> None:
    pass


@pytest.mark.parametrize("word", [SERVING, RELOADING, RELOADED])
@pytest.mark.parametrize("name", ["worker-0", "control"])
def test_a_child_that_becomes_ready_only_then_is_not_reported(
    word: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that took long to start, or to reload, and meanwhile the gateway's port was closed."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        config = Config.model_validate({"gateway": {"host": "127.0.0.1", "port": 0}})
        listeners = Listeners.open(config.gateway)
        listeners.close_admin()
        supervisor = Supervisor(config, None, listeners)
        child = Child(name, nothing, pid=os.getpid())
        supervisor.children = [child]
        supervisor.was_ready = name == "control"
        supervisor.stopping = True
        listeners.close()

        supervisor._process(child, word)
        assert child.serves == (word == SERVING)
        with pytest.raises(BlockingIOError):
            systemd.recv(4096)
