"""The gateway under test, as a process, and what can be seen of it from outside."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import yaml

from .backend import Backend
from .client import PATIENCE, Wire, ask
from .messages import Message

T = TypeVar("T")

_LISTENING = re.compile(r"portico \S+ listening on https?://\S+:(\d+)")
_REDIRECTING = re.compile(r"redirecting to https from http://\S+:(\d+)")
_ADMIN = re.compile(r"admin API on http://\S+:(\d+)")
_OWN_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "VIRTUAL_ENV", "PYTHONPATH")


def until(question: Callable[[], T], what: str = "", patience: float = PATIENCE) -> T:
    """Ask until the answer is true; AssertionError after `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < end, f"this did not come about: {what or question}"
        time.sleep(0.02)


class Gateway:
    """`portico run` on a free port with a configuration of its own. Stopped with SIGTERM, it has to exit with 0.

    `config` is laid over the least there can be; a service may be a `Backend`. Of this process's environment it sees
    nothing but paths.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        port: int = 0,
        command: tuple[str, ...] = ("run",),
        wait: bool = True,
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="portico-live-", ignore_cleanup_errors=True)
        self.directory = Path(self._directory.name)
        self.file = self.directory / "portico.yaml"
        self.port = port
        self.exit_code = 0
        self.clean = True
        """Whether tracebacks and errors among its events fail the test."""
        self._told_to_stop = False
        self._command = command
        self._wait = wait
        own = {name: os.environ[name] for name in _OWN_VARIABLES if name in os.environ}
        self._env = {**own, "TMPDIR": str(self.directory), **(env or {})}
        if config is not None:
            self.write(config)
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, config: Mapping[str, Any]) -> None:
        """Write the configuration's file (SIGHUP makes a running gateway read it)."""
        gateway = {
            "host": "127.0.0.1",
            "port": self.port,
            "admin": "127.0.0.1:0",
            "embedded_redis": False,
            **config.get("gateway", {}),
        }
        services = {
            name: {"url": service.url, "health_check": False} if isinstance(service, Backend) else service
            for name, service in config.get("services", {}).items()
        }
        self.file.write_text(yaml.safe_dump({**config, "gateway": gateway, "services": services}, sort_keys=False))

    # ---- its life

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.stop()
        finally:
            self.end()

    def start(self) -> None:
        config = ["--config", str(self.file)] if self.file.exists() else []
        with (self.directory / "out").open("wb") as out, (self.directory / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "portico", *self._command, *config],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._env,
                cwd=self.directory,
            )
        if not self._wait:
            return
        if not self.port:
            self.port = until(self._announced_port, "the gateway listens")
        until(self._is_ready, "the gateway is ready")
        until(lambda: len(self.workers()) < len(self.family()), "the control process lets go of the listener")

    def stop(self) -> None:
        """SIGTERM; it ends by itself, with exit code 0 and nothing untoward among its events."""
        process = self.running
        if process.poll() is None and not self._told_to_stop:
            self.signal(signal.SIGTERM)
        code = process.wait(PATIENCE)
        assert code == self.exit_code, f"exit code {code}\n{self.err()}"
        if self.clean:
            assert not self.complaints(), "\n".join(self.complaints())

    def end(self) -> None:
        """Whatever state it is in, nothing of it is left."""
        if self.process is not None and self.process.poll() is None:
            family = self.family()
            self.process.kill()
            self.process.wait(PATIENCE)
            for pid in family:
                with contextlib.suppress(AssertionError):
                    until(lambda pid=pid: not alive(pid), patience=5)  # type: ignore[misc]
        self._directory.cleanup()

    def _announced_port(self) -> int:
        assert self.running.poll() is None, self.err()
        found = _LISTENING.search(self.err())
        return int(found[1]) if found else 0

    def _is_ready(self) -> bool:
        assert self.running.poll() is None, self.err()
        try:
            with Wire(self.port) as wire:
                wire.socket.settimeout(2)
                return wire.ask("GET", "/readyz").status == (400 if self.speaks_tls else 200)
        except ValueError:
            raise
        except Exception:
            return False

    @property
    def speaks_tls(self) -> bool:
        return b"listening on https:" in self.err_bytes()

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    # ---- talking to it

    def ask(self, method: str, target: str, *lines: str, body: bytes | None = None) -> Message:
        return ask(self.port, method, target, *lines, body=body)

    def get(self, target: str, *lines: str) -> Message:
        return self.ask("GET", target, *lines)

    def wire(self) -> Wire:
        return Wire(self.port)

    @property
    def redirecting_port(self) -> int:
        """The port that redirects to HTTPS."""
        found = _REDIRECTING.search(self.err())
        assert found, self.err()
        return int(found[1])

    @property
    def admin_port(self) -> int:
        """The port of the admin API."""
        found = _ADMIN.search(self.err())
        assert found, self.err()
        return int(found[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for_control(self) -> None:
        until(lambda: self.get("/metrics").status == 200, "the control process answers")

    # ---- what it wrote

    def err_bytes(self) -> bytes:
        return (self.directory / "err").read_bytes()

    def err(self) -> str:
        return self.err_bytes().decode()

    def out(self) -> str:
        return (self.directory / "out").read_text()

    def events(self) -> list[dict[str, Any]]:
        """The lines on standard error that are events."""
        return [json.loads(line) for line in self.err().splitlines() if line.startswith("{")]

    def complaints(self) -> list[str]:
        """Lines on standard error that no healthy gateway writes."""
        lines = self.err().splitlines()
        plain = [line for line in lines if not line.startswith(("{", "warning: "))]
        bad = [line for line in lines if '"traceback"' in line or '"level":"ERROR"' in line]
        return plain + bad

    def log(self) -> list[dict[str, Any]]:
        """The access log so far, without what came of waiting for readiness."""
        whole = self.out().rpartition("\n")[0]
        records = [json.loads(line) for line in whole.splitlines()]
        return [record for record in records if record["path"] not in ("/readyz", "/metrics")]

    def logged(self, request_id: str | None) -> dict[str, Any]:
        """The access log's one line about an exchange."""
        assert request_id
        found = until(lambda: [line for line in self.log() if line["request_id"] == request_id], "the log has a line")
        assert len(found) == 1
        return found[0]

    def logged_path(self, path: str) -> dict[str, Any]:
        """The access log's one line with this path."""
        found = until(lambda: [line for line in self.log() if line["path"] == path], f"the log has a line for {path}")
        assert len(found) == 1
        return found[0]

    # ---- its processes

    def family(self) -> list[int]:
        """The supervisor's children."""
        return children(self.running.pid)

    def workers(self) -> list[int]:
        """The children that hold the listening socket."""
        wanted = listening_inodes(self.port)
        return [pid for pid in self.family() if wanted & socket_inodes(pid)]

    def control(self) -> int:
        """The child that does not."""
        others = [pid for pid in self.family() if pid not in self.workers()]
        assert len(others) == 1, others
        return others[0]

    def signal(self, number: int) -> None:
        self._told_to_stop = self._told_to_stop or number in (signal.SIGTERM, signal.SIGINT)
        self.running.send_signal(number)

    def memory(self) -> int:
        """Resident bytes of all workers."""
        return sum(resident(pid) for pid in self.workers())


def alive(pid: int) -> bool:
    """Whether the process runs: a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def children(pid: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def listening_inodes(port: int) -> set[str]:
    return _inodes(port, "0A")


def established(port: int) -> int:
    """How many connections somebody has to this port."""
    return len(_inodes(port, "01"))


def _inodes(port: int, state: str) -> set[str]:
    """The sockets with this port at their own end, in a state of `man 5 proc_pid_net`'s tables."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == state and int(columns[1].rpartition(":")[2], 16) == port:
                    inodes.add(columns[9])
    return inodes


def socket_inodes(pid: int) -> set[str]:
    inodes = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                name = entry.readlink().name
                if name.startswith("socket:["):
                    inodes.add(name[8:-1])
    return inodes
