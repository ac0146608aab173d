"""What processes do to each other: workers that share connections, and a log that nobody reads."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Final

from benchmarks.scale import many
from benchmarks.scale.build import Build, Subject
from benchmarks.scale.busy import worked
from benchmarks.scale.clients import Client, request
from benchmarks.scale.row import Figure, Measured, Row
from support.crowd import storm
from support.proc import resident
from support.waiting import until

_WORKERS: Final = 4
_CONNECTIONS: Final = 64
_REQUESTS: Final = _CONNECTIONS * 100
_ROUNDS: Final = 3
_LINES: Final = 25_000
_LONG: Final = "x" * 4000
_MIB: Final = 1 << 20


def _shared(build: Build) -> Measured:
    """CPU of the worker with most ÷ that of the one with least, under a load of many connections; the worst of some."""
    with many.serving() as port:
        service = {"url": f"http://127.0.0.1:{port}", "health_check": False}
        with Subject(build, {"gateway": {"workers": _WORKERS}, "services": {"s": service}}) as gateway:
            until(lambda: len(gateway.workers()) == _WORKERS, "all workers serve", 30)
            return {"largest ÷ smallest": max(_ratio(gateway) for _ in range(_ROUNDS))}


def _ratio(gateway: Subject) -> float:
    workers = gateway.workers()
    before = {pid: worked(pid) for pid in workers}
    storm([gateway.port], _REQUESTS, _CONNECTIONS, "/api/s/small/x")
    of_each = sorted(worked(pid) - before[pid] for pid in workers)
    return of_each[-1] / of_each[0]


class _Piped(Subject):
    """Its standard output is a pipe, and nobody reads it."""

    def launch(self) -> None:
        reading, writing = os.pipe()
        try:
            with self._err.open("wb") as err:
                self.process = subprocess.Popen(
                    self.command(),
                    cwd=self.directory,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=writing,
                    stderr=err,
                    start_new_session=True,
                )
        finally:
            os.close(writing)
        self._reading = reading

    def end(self) -> None:
        super().end()
        os.close(self._reading)


def _unread(build: Build) -> Measured:
    """What lines for a log that nobody reads take in memory, and how long the end takes that they hold up."""
    log = {"level": "INFO", "access": "stdout"}
    with many.serving() as port:
        service = {"url": f"http://127.0.0.1:{port}", "health_check": False}
        with _Piped(build, {"gateway": {"log": log}, "services": {"s": service}}) as gateway:
            (worker,) = gateway.workers()
            with Client(gateway.port) as client:
                client.ask_all(request("/api/s/small/x") for _ in range(1000))
                before = resident(worker)
                client.ask_all(request(f"/api/s/small/x{n}{_LONG}") for n in range(_LINES))
            grown = resident(worker) - before
            began = time.monotonic()
            gateway.signal(signal.SIGTERM)
            until(lambda: gateway.running.poll() is not None, "it ends", 60)
            return {"queued": grown / _MIB, "stop takes": time.monotonic() - began}


ROWS: Final = (
    Row(f"{_WORKERS} workers, CPU of each", (Figure("largest ÷ smallest", "", 1.3),), _shared),
    Row(
        "a log pipe that nobody reads",
        (Figure("queued", "MiB", 18), Figure("stop takes", "s", 1)),
        _unread,
    ),
)
