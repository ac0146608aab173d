"""The gateway under test, as a process, and what can be seen of it from outside."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from . import portico
from .backend import Backend
from .client import TIMEOUT, Wire, ask
from .messages import Message
from .proc import alive, children, established, listening_inodes, resident, socket_inodes
from .process import Process
from .waiting import until

__all__ = ["Gateway", "alive", "established", "socket_inodes", "until"]

_LISTENING = re.compile(r"portico \S+ listening on (https?)://\S+:(\d+)")
_REDIRECTING = re.compile(r"redirecting to https from http://\S+:(\d+)")
_ADMIN = re.compile(r"admin API on http://\S+:(\d+)")


class Gateway(Process):
    """`portico run` on a free port with a configuration of its own. Stopped with SIGTERM, it has to exit with 0.

    `config` is laid over the least there can be; a service may be a `Backend`. Services are asked for their documents
    only where `gateway.endpoints.docs` is written. Of this process's environment it sees nothing but paths.
    """

    STOP_WITHIN = 0.0
    SEPARATES = True

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        port: int = 0,
        command: tuple[str, ...] = ("run",),
        wait: bool = True,
        cores: frozenset[int] | None = None,
    ) -> None:
        super().__init__(cores=cores)
        own = {"TMPDIR": str(self.directory), "XDG_STATE_HOME": str(self.directory)}
        self._env = {**portico.environment(), **own, **(env or {})}
        self.file = self.directory / "portico.yaml"
        self.port = port
        self.exit_code = 0
        self.clean = True
        """Whether tracebacks and errors among its events fail the test."""
        self._told_to_stop = False
        self._arguments = command
        self._wait = wait
        if config is not None:
            self.write(config)

    def write(self, config: Mapping[str, Any]) -> None:
        """Write the configuration's file (SIGHUP makes a running gateway read it)."""
        gateway = {"embedded_redis": False, **config.get("gateway", {})}
        gateway["endpoints"] = {"docs": "off", **(gateway.get("endpoints") or {})}
        services = {
            name: {"url": service.url, "health_check": False} if isinstance(service, Backend) else service
            for name, service in config.get("services", {}).items()
        }
        whole = {**config, "gateway": gateway, "services": services}
        self.file.write_text(portico.configuration(whole, self.port))

    # ---- its life

    def command(self) -> list[str]:
        config = ["--config", self.file] if self.file.exists() else []
        return portico.command(*self._arguments, *config)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.stop()
        finally:
            self.end()

    def start(self) -> None:
        self._told_to_stop = False
        self.launch()
        if not self._wait:
            return
        if not self.port:
            self.wait_until_ready(self._announced_port)
            self.port = self._announced_port()
        self.wait_until_ready(self.is_ready)
        self.wait_until_ready(self._has_let_go)

    def stop(self) -> None:
        """SIGTERM; it ends by itself, with exit code 0 and nothing untoward among its events."""
        process = self.running
        if process.poll() is None and not self._told_to_stop:
            self.signal(signal.SIGTERM)
        code = process.wait(TIMEOUT)
        assert code == self.exit_code, f"exit code {code}\n{self.err()}"
        if self.clean:
            assert not self.complaints(), "\n".join(self.complaints())

    def _announced_port(self) -> int:
        found = _LISTENING.search(self.err())
        return int(found[2]) if found else 0

    def reload(self) -> None:
        """Have it read its file, until every worker uses what is there."""
        answer = ask(self.admin_port, "POST", "/admin/reload", "Host: localhost")
        assert answer.status == 200, answer.body

    def is_ready(self) -> bool:
        try:
            with Wire(self.port) as wire:
                wire.socket.settimeout(2)
                return wire.ask("GET", "/readyz").status == (400 if self.speaks_tls else 200)
        except ValueError:
            raise
        except Exception:
            return False

    def _has_let_go(self) -> bool:
        """Whether the control process has: it is forked with the listening socket, and closes it."""
        return len(self.workers()) < len(self.family())

    @property
    def speaks_tls(self) -> bool:
        found = _LISTENING.search(self.err())
        return found is not None and found[1] == "https"

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

    def port_of(self, listener: str) -> int:
        """The port of one of several listeners."""
        events = [event for event in self.events() if event.get("listener") == listener]
        *_, found = filter(None, (_LISTENING.match(event["event"]) for event in events))
        return int(found[2])

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
        self.wait_until_ready(lambda: self.get("/metrics").status == 200)

    # ---- what it wrote

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
        workers = self.workers()
        others = [pid for pid in self.family() if pid not in workers]
        assert len(others) == 1, others
        return others[0]

    def signal(self, number: int) -> None:
        self._told_to_stop = self._told_to_stop or number in (signal.SIGTERM, signal.SIGINT)
        super().signal(number)

    def memory(self) -> int:
        """Resident bytes of all workers."""
        return sum(resident(pid) for pid in self.workers())
