"""Gateways, commands and services that start with their imports done: each is forked from one process that has them.

Most of what a start costs is imports, and the tests start hundreds. What is forked is a process like any other: it has
a session, a directory, an environment, files and an exit code of its own, and runs what `python -m MODULE` runs. Only
sitecustomize is not run again: a test that brings its own, by PYTHONPATH, has its process started in the ordinary way.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from . import forking

_TESTS: Final = str(Path(__file__).resolve().parents[1])
_PYTHON: Final = [sys.executable, "-m"]
_MODULES: Final = (
    *("portico.processes.supervisor.main", "portico.processes.control.process", "portico.processes.worker.main"),
    *("portico.cli.admin_client", "portico.net.redis.probe", "typer.main", "rich.console", "rich.table"),
    *("uvicorn.lifespan.off", "uvicorn.protocols.http.h11_impl", "pydantic.v1", "encodings.idna"),
)
"""What is imported beforehand: not `portico.cli.main`, which looks at its terminal and its environment.

The last are what uvicorn and FastAPI import when an application is made.
"""

_in_use: ForkServer | None = None


class Forked:
    """One process: of `subprocess.Popen` what is used here."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.reaped(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        if self.poll() is None:
            self._wait_for_end(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code

    def _wait_for_end(self, timeout: float | None) -> None:
        descriptor = os.pidfd_open(self.pid)
        try:
            end = select.poll()
            end.register(descriptor, select.POLLIN)
            end.poll(None if timeout is None else timeout * 1000)
        finally:
            os.close(descriptor)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # nobody else has its number before it is reaped
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The side that asks; the process that forks is started when it is first needed, with the environment `env`.

    Its PYTHONPATH is the source of Portico.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._source = env["PYTHONPATH"]
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def can_start(self, command: Sequence[str], env: Mapping[str, str] | None) -> bool:
        """Whether it is `python -m`, of the same source and with nothing else on its path."""
        path = (env or {}).get("PYTHONPATH", "").split(os.pathsep)
        return list(command[:2]) == _PYTHON and self._source in path and {*path} <= {self._source, _TESTS}

    def start(self, command: Sequence[str], directory: Path, env: Mapping[str, str], files: Sequence[int]) -> Forked:
        """Like `subprocess.Popen`; `files` are its standard input, output and error."""
        _, _, module, *arguments = command
        limits = {"cores": sorted(os.sched_getaffinity(0)), "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)}
        place = {"directory": str(directory.absolute()), "env": dict(env), **limits}
        return Forked(self, self._ask({"module": module, "arguments": arguments, **place}, files))

    def reaped(self, pid: int) -> int | None:
        """The exit code of a process if it has ended; then there is no such process any more."""
        code: int | None = self._ask({"reap": pid})
        return code

    def close(self) -> None:
        """End what was forked, and what it was forked from."""
        if self._socket is not None and self._process is not None:
            self._socket.close()
            self._process.wait()

    def _ask(self, request: Mapping[str, Any], files: Sequence[int] = ()) -> Any:
        with self._lock:
            self._socket = self._socket or self._connected()
            socket.send_fds(self._socket, [json.dumps(request).encode()], list(files))
            answer = self._socket.recv(forking.REQUEST)
        if not answer:
            raise ChildProcessError("the process that forks has ended")
        return json.loads(answer)

    def _connected(self) -> socket.socket:
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [*_PYTHON, forking.__name__, str(other.fileno()), *_MODULES],
                pass_fds=[other.fileno()],
                cwd=_TESTS,
                env={**self._env, "PYTHONPATH": os.pathsep.join((self._source, _TESTS))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the tests, at whose end it ends
            )
        return own


@contextmanager
def forking_from(env: Mapping[str, str]) -> Iterator[None]:
    """Within the block processes are forked that can be."""
    global _in_use
    _in_use = ForkServer(env)
    try:
        yield
    finally:
        _in_use.close()
        _in_use = None


def server_for(command: Sequence[str], env: Mapping[str, str] | None) -> ForkServer | None:
    """What this is forked from; None where it has to be started in the ordinary way."""
    return _in_use if _in_use is not None and _in_use.can_start(command, env) else None
