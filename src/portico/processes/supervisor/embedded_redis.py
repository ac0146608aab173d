"""The embedded Redis: what the workers of one gateway share where no Redis is named."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from portico.config import GatewaySettings
from portico.net.redis.server import bundled_server
from portico.processes.supervisor.child import Child

logger: Final = logging.getLogger("portico.supervisor")

NAME: Final = "embedded Redis"

_MEMORY: Final = 256 << 20
"""Bytes it may hold: limits of more than a million clients. Beyond that it refuses writes rather than evict. An evicted
limit starts again unnoticed; a refusal is noticed, and workers count by themselves as if Redis were down."""
_CONNECTIONS: Final = 4096
_OPTIONS: Final = (
    *("--port", "0", "--unixsocketperm", "600", "--maxclients", str(_CONNECTIONS), "--databases", "1"),
    *("--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"),
    *("--maxmemory", str(_MEMORY), "--maxmemory-policy", "noeviction"),
)
_LAST_WORDS: Final = 200
"""Characters of its log that an event about its end holds."""
_PR_SET_PDEATHSIG: Final = 1
"""See prctl(2)."""


def program_for(gateway: GatewaySettings) -> Path | None:
    """The server that these settings need started; None where it needs none, or there is none.

    One that merely happens to be on the PATH is not used: that may not be intended. It can be named.
    """
    if gateway.redis_url is not None or gateway.worker_count == 1 or gateway.embedded_redis is False:
        return None
    return bundled_server() if gateway.embedded_redis is True else gateway.embedded_redis


class EmbeddedRedis:
    """A valkey-server or redis-server as a child of the supervisor.

    It listens on a unix socket in a directory that only its owner can enter. Nothing of what it holds is written to
    disk: a limit is worth no more than its window, and registered instances register again. Only the supervisor may use
    this object; other processes know `url`.
    """

    def __init__(self, program: Path, directory: Path, lifeline: int) -> None:
        self._program = program
        self._directory = directory
        self._lifeline = lifeline
        self._supervisor = os.getpid()
        self._connection: socket.socket | None = None
        self.child = Child(NAME, self._run, beats=True, last_words=self._last_words)

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    @property
    def _socket(self) -> Path:
        return self._directory / "redis.sock"

    @property
    def _log(self) -> Path:
        return self._directory / "redis.log"

    # ---- in the supervisor

    def look(self) -> None:
        """Send a ping, and read the answer to the one before; never waits."""
        if not self.child.pid:
            self.leave_alone()
            return
        try:
            if self._connection is None:
                self._connection = _connected(self._socket)
            with contextlib.suppress(BlockingIOError):
                if self._connection.recv(4096):
                    self._note_sign_of_life()
                else:
                    raise ConnectionResetError
            self._connection.send(b"PING\r\n")
        except BlockingIOError:  # it hangs, and has not read for a long time
            pass
        except OSError:
            self.leave_alone()

    def leave_alone(self) -> None:
        """Close the connection to it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _note_sign_of_life(self) -> None:
        self.child.last_report = time.monotonic()
        if not self.child.serves:
            self.child.serves = True
            logger.info("%s serves", NAME, extra={"pid": self.child.pid, "program": str(self._program)})

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log.read_text(errors="replace").split("\n")
            return next((line[-_LAST_WORDS:] for line in reversed(lines) if line.strip()), "")
        return ""

    # ---- in the child

    def _run(self, child: Child) -> None:  # noqa: ARG002
        """Become the server."""
        os.setsid()  # Ctrl-C is for the supervisor, which stops it after the workers
        if sys.platform == "linux":
            _die_with(self._supervisor)
        else:
            _have_killed_at_end_of(self._lifeline)
        os.chdir(self._directory)
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        program = str(self._program)
        os.execv(program, [program, "--unixsocket", str(self._socket), *_OPTIONS])  # noqa: S606


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, for whatever reason (prctl(2))."""
    import ctypes  # in this process only

    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError("prctl refused to kill the embedded Redis when the gateway dies")
    if os.getppid() != parent:
        raise ProcessLookupError("the gateway died while the embedded Redis was started")


def _have_killed_at_end_of(lifeline: int) -> None:
    """Where the kernel cannot do it: a separate process kills this one when the `lifeline` pipe closes."""
    watched = os.getpid()
    if os.fork():
        return
    while os.getppid() == watched:
        if select.select([lifeline], [], [], 1)[0]:
            os.kill(watched, signal.SIGKILL)
            break
    os._exit(0)
