"""The load: what is sent to a gateway for some seconds, and what came of it."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.cores import LOAD, pinned
from benchmarks.request import Request

_SCRIPT = Path(__file__).with_name("load.lua")
_GRACE = 30  # seconds that wrk may take beyond the measurement before it counts as hung
_numbers = itertools.count(int(time.time()) * 1_000_000, 10_000_000)  # no run repeats the requests of another


class LoadError(Exception):
    """The load generator failed; the text is its output."""


@dataclass(frozen=True)
class Outcome:
    """What the client saw: latencies in milliseconds; `failed` counts errors among responses and connections."""

    requests: int
    seconds: float
    received: int
    p50: float
    p99: float
    failed: int


class Load(Protocol):
    """A way to put a gateway under load; a scenario that wrk cannot play brings another."""

    @property
    def request(self) -> Request:
        """What a gateway is asked once, before anything is measured, to see that it does its job."""

    def run(self, port: int, seconds: float, directory: Path) -> Outcome:
        """Loads the gateway on `port` of the loopback interface; `directory` is for files of its own."""


@dataclass(frozen=True)
class Wrk:
    """wrk with one thread: each connection sends its next request as soon as it has its response."""

    request: Request
    connections: int = 32
    options: tuple[str, ...] = field(default=("-t1", "--timeout", "10s"))

    def run(self, port: int, seconds: float, directory: Path) -> Outcome:
        template = directory / "request.txt"
        template.write_bytes(self.request.template().encode())
        load = [*self.options, f"-c{self.connections}", f"-d{max(1, round(seconds))}s", "-s", str(_SCRIPT)]
        argv = ["wrk", *load, f"http://127.0.0.1:{port}", "--", str(template), str(next(_numbers))]
        return _parse(_output(argv, seconds + _GRACE))


def missing_generator() -> str | None:
    """What to say where wrk is not installed."""
    return None if shutil.which("wrk") else "wrk is missing: apt install wrk"


def _output(argv: list[str], timeout: float) -> str:
    with (
        pinned(LOAD),
        subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        ) as process,
    ):
        try:
            output, _ = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return output


def _parse(output: str) -> Outcome:
    line = next((line for line in output.splitlines() if line.startswith("{")), None)
    if line is None:
        raise LoadError(output)
    seen = json.loads(line)
    return Outcome(
        requests=seen["requests"],
        seconds=seen["microseconds"] / 1e6,
        received=seen["bytes"],
        p50=seen["p50"] / 1e3,
        p99=seen["p99"] / 1e3,
        failed=seen["not_2xx"] + seen["broken"],
    )
