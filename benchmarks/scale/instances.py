"""Thousands of instances: what it takes to check them, to list them, to replace them all."""

from __future__ import annotations

import http.client
import resource
import subprocess
import time
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.scale import many
from benchmarks.scale.build import Build, Subject
from benchmarks.scale.busy import Stalls, family, working
from benchmarks.scale.row import Figure, Measured, Row
from support import portico

_SETTLED: Final = 7.0
"""Seconds until every instance was checked once: the interval is five."""
_LOOK: Final = 12.0
_LONG: Final = 90.0


def _config(services: int, each: int, port: int, first: int = 1, **more: Any) -> dict[str, Any]:
    urls = many.addresses(services, each, port, first)
    return {"services": {f"s{number}": {"instances": urls[number], **more} for number in range(services)}}


def ask(port: int, method: str, target: str) -> tuple[int, float]:
    """The status of an answer that may take long, and the seconds it took."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LONG)
    try:
        connection.request(method, target)
        response = connection.getresponse()
        response.read()
        return response.status, time.monotonic() - began
    finally:
        connection.close()


def _checks(services: int, most: float) -> Row:
    def measure(build: Build) -> Measured:
        with many.serving() as port, Subject(build, _config(services, 10, port, health_check="/health")) as gateway:
            time.sleep(_SETTLED)
            with working(gateway.control()) as work:
                time.sleep(_LOOK)
            found = {"control's CPU": work.share, "healthy ones called down": gateway.err().count("instance down")}
            if services == _ASKED:
                found["GET /health"] = min(_health(gateway) for _ in range(5)) * 1e3
            return found

    figures = [Figure("control's CPU", "%", most), Figure("healthy ones called down", "", 0)]
    if services == _ASKED:
        figures.append(Figure("GET /health", "ms", 50))
    return Row(f"HTTP checks every 5 s of {services:,} services of 10 instances", figures, measure)


def _health(gateway: Subject) -> float:
    status, seconds = ask(gateway.port, "GET", "/health")
    return seconds if status == 200 else float("inf")


def _services() -> Row:
    """The command, by the CPU time of its process."""

    def measure(build: Build) -> Measured:
        with many.serving() as port, Subject(build, _config(1000, 10, port, health_check=False)) as gateway:
            command = ["services", "--config", gateway.file, "--admin", f"127.0.0.1:{gateway.admin_port}"]
            return {"seconds": min(run(build, *command) for _ in range(3))}

    return Row("portico services with 1,000 services of 10 instances", [Figure("seconds", "s of CPU", 1)], measure)


def run(build: Build, *arguments: object) -> float:
    """CPU seconds of a command of a build. Raises CalledProcessError."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(portico.command(*arguments), env=build.env, check=True, capture_output=True, timeout=_LONG)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _replaced(services: int, each: int, seconds: float | None, stall: float | None) -> Row:
    """A reload after which no instance is what it was; by the best of two."""

    def measure(build: Build) -> Measured:
        with many.serving() as port, Subject(build, _config(services, each, port, health_check=False)) as gateway:
            found = [_reloaded(gateway, _config(services, each, port, first, health_check=False)) for first in (2, 3)]
            return {what: min(each[what] for each in found) for what in found[0]}

    figures = [Figure("done after", "s of CPU", seconds), Figure("longest stall", "ms of CPU", stall)]
    return Row(f"reload that replaces {services:,} services of {each:,} instances", figures, measure)


def _reloaded(gateway: Subject, config: dict[str, Any]) -> Measured:
    (worker,) = gateway.workers()
    gateway.write(config)
    with Stalls(gateway.port, worker) as stalls, working(*family(gateway.pid)) as work:
        status, _ = ask(gateway.admin_port, "POST", "/admin/reload")
    return {"done after": sum(work.of.values()) if status == 200 else float("inf"), "longest stall": stalls.longest}


_ASKED: Final = 300
ROWS: Final[Sequence[Row]] = (
    _checks(100, 5),
    _checks(_ASKED, 15),
    _checks(1000, 50),
    _services(),
    _replaced(300, 10, 1, 30),
    _replaced(1000, 10, 3, 30),
    _replaced(1, 3000, None, 30),
)
