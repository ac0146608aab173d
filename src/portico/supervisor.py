"""The supervisor: holds the listening sockets, starts the other processes, again if they die, and stops them."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from portico import __version__
from portico.config import Config
from portico.descriptors import allow_descriptors
from portico.listeners import Listeners
from portico.observe.events import configure_events
from portico.runtime import Runtime

logger: Final = logging.getLogger("portico.supervisor")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_BACKOFF: Final = 0.1
_BACKOFF_LIMIT: Final = 5.0
_STEADY: Final = 10.0
"""Seconds after which a process counts as having started well, so that its next restart is immediate again."""
_KILL_GRACE: Final = 2.0
_BACKLOG: Final = 4096


@dataclass
class Child:
    """One process that has to run."""

    name: str
    main: Callable[[str], None]
    pid: int = 0
    started: float = 0.0
    restarts: int = 0
    start_at: float = 0.0


def _unix_listener(path: Path) -> socket.socket:
    """A socket that outlives the control process: who connects while that is started again waits instead of failing."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Supervisor:
    """Runs one gateway: a control process and `gateway.workers` workers around the listening sockets."""

    def __init__(self, config: Config, config_path: Path | None, listeners: Listeners) -> None:
        self.config = config
        self.config_path = config_path
        self.listeners = listeners
        self.children: list[Child] = []
        self.companions: list[Child] = []
        """Processes that run beside the gateway and stop after it."""
        self.lifeline = -1
        self.stopping = False
        self.impatient = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; a second SIGINT cuts the drain short."""
        configure_events(self.config.gateway.log.level, self.config.gateway.log.format)
        allow_descriptors(self.config.gateway.limits.connections)
        directory = Path(tempfile.mkdtemp(prefix="portico-"))
        self.runtime = Runtime(directory)
        self.lifeline, self._hold = os.pipe()
        os.set_inheritable(self.lifeline, True)
        try:
            self.runtime.store(self.config, 1)
            self.control_listener = _unix_listener(self.runtime.control_socket)
            self.channel_listener = _unix_listener(self.runtime.channel_socket)
            with _wakeups() as self.wakeup:
                self._start_all()
                self._watch()
                self._stop_all()
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _start_all(self) -> None:
        workers = self.config.gateway.workers
        count = len(os.sched_getaffinity(0)) if workers == "auto" and hasattr(os, "sched_getaffinity") else workers
        count = (os.cpu_count() or 1) if count == "auto" else count
        gc.freeze()
        self.children = [Child("control", self._control)]
        self.children += [Child(f"worker-{index}", self._worker) for index in range(int(count))]
        self.children += self.companions
        for child in self.children:
            self._start(child)
        scheme = "https" if self.config.gateway.tls else "http"
        where = _address_of(self.listeners.gateway)
        logger.info("portico %s listening on %s://%s", __version__, scheme, where, extra={"workers": count})
        if self.listeners.redirect is not None:
            logger.info("redirecting to https from http://%s", _address_of(self.listeners.redirect))

    def _control(self, name: str) -> None:  # noqa: ARG002
        from portico.control.process import run_control  # FastAPI is loaded in this process only

        self.listeners.close()
        run_control(self.runtime, self.control_listener, self.channel_listener, self.lifeline, self.config_path)

    def _worker(self, name: str) -> None:
        from portico.worker import run_worker

        run_worker(self.listeners, self.runtime, self.lifeline, f"{name}-{os.getpid()}")

    def _start(self, child: Child) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        child.started = time.monotonic()
        child.start_at = 0.0
        child.pid = os.fork()
        if child.pid == 0:
            self._become(child)

    def _become(self, child: Child) -> None:
        """The forked process's whole life; it never returns into the supervisor's code."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the process knows what to do about it
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
            os.close(self._hold)
            child.main(child.name)
            status = 0
        except BaseException:  # nothing may escape into the parent's stack
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _watch(self) -> None:
        """Until told to stop: start what died, pass signals on."""
        while not self.stopping:
            self._wait_for_signal()
            self._reap()
            now = time.monotonic()
            for child in self.children:
                if not child.pid and child.start_at <= now and not self.stopping:
                    self._start(child)

    def _wait_for_signal(self) -> None:
        pending = [child.start_at for child in self.children if not child.pid]
        timeout = max(0.0, min(pending) - time.monotonic()) if pending else 5.0
        if not select.select([self.wakeup], [], [], timeout)[0]:
            return
        for number in self.wakeup.recv(4096):
            if number in (signal.SIGTERM, signal.SIGINT):
                self.impatient = self.stopping and number == signal.SIGINT
                self.stopping = True
            elif number == signal.SIGHUP:
                self._signal_all(signal.SIGHUP)

    def _reap(self) -> None:
        for child in self.children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            child.pid = 0
            if self.stopping:
                continue
            lived = time.monotonic() - child.started
            child.restarts = 0 if lived > _STEADY else child.restarts + 1
            delay = 0.0 if child.restarts == 0 else min(_BACKOFF * 2 ** (child.restarts - 1), _BACKOFF_LIMIT)
            child.start_at = time.monotonic() + delay
            how = os.waitstatus_to_exitcode(status)
            extra = {"child": child.name, "exit": how, "restart_in": f"{delay:g}s"}
            logger.warning("a process ended and is started again", extra=extra)

    def _stop_all(self) -> None:
        """Workers drain first; the control process, which answers for them until then, ends last."""
        logger.info("stopping: running requests may finish")
        self.listeners.close()  # the workers close theirs: who comes now is turned away at once
        workers = [child for child in self.children if child.name.startswith("worker-")]
        deadline = time.monotonic() + self.config.gateway.limits.drain_timeout + _KILL_GRACE
        self._stop(workers, deadline)
        self._stop(self.children, time.monotonic() + _KILL_GRACE + 2)
        logger.info("stopped")

    def _stop(self, children: list[Child], deadline: float) -> None:
        for child in children:
            self._signal(child, signal.SIGTERM)
        while any(child.pid for child in children):
            if time.monotonic() > deadline or self.impatient:
                for child in children:
                    self._signal(child, signal.SIGKILL)
            if select.select([self.wakeup], [], [], 0.2)[0]:
                self.impatient = self.impatient or signal.SIGINT in self.wakeup.recv(4096)
            self._reap()

    def _signal_all(self, number: int) -> None:
        for child in self.children:
            self._signal(child, number)

    @staticmethod
    def _signal(child: Child, number: int) -> None:
        if child.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)


@contextlib.contextmanager
def _wakeups() -> Iterator[socket.socket]:
    """A socket that gets a byte for each signal: the way to wait for several signals at once on every POSIX system."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    for number in _SIGNALS:
        signal.signal(number, _noted)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # all is over: nothing may spoil the exit status
        signal.set_wakeup_fd(-1)
        reader.close()
        writer.close()


def _noted(number: int, frame: object) -> None:
    """The byte in the wakeup socket says it all."""
