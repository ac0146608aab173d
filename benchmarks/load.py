"""The load: what is sent to a gateway for some seconds, and what came of it."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.address import Address
from benchmarks.request import Request
from support.commands import python
from support.cores import LOAD
from support.process import DidNotEndWell, Job

_GRACE = 30  # seconds that a generator may take beyond the measurement before it counts as hung
# No run repeats the requests of another. Below 10^14, from where on Lua writes numbers rounded.
_numbers = itertools.count(int(time.time()) % 100_000 * 100_000_000, 10_000_000)


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
    """A way to put a gateway under load."""

    @property
    def request(self) -> Request:
        """What a gateway is asked once, before anything is measured, to see that it does its job."""

    def run(self, address: Address, seconds: float, directory: Path) -> Outcome:
        """Loads the gateway at `address`; `directory` is for files of its own. Raises LoadError."""


def template_file(request: Request, directory: Path) -> Path:
    """Where the request lies as it goes over the wire, for a generator to read."""
    path = directory / "request.txt"
    path.write_bytes(request.template().encode())
    return path


def first_number() -> int:
    """The number from which on a generator may count its requests."""
    return next(_numbers)


def generate(argv: Sequence[str], seconds: float) -> Outcome:
    """Runs a load generator on the cores of the load and reads the line of JSON that it prints."""
    with Job(*argv, cores=LOAD) as job:
        try:
            return _parse(job.result(seconds + _GRACE))
        except DidNotEndWell as failure:
            raise LoadError(str(failure)) from None


def module(name: str, *arguments: object) -> list[str]:
    """The command of a generator that is a module of this package."""
    return python(f"benchmarks.loads.{name}", *arguments)


def report(latencies: Sequence[float], seconds: float, received: int = 0, not_2xx: int = 0, broken: int = 0) -> None:
    """Prints what a generator measured, as wrk.lua does; `latencies` are in seconds."""
    ordered = sorted(latencies) or [0.0]
    line = {
        "requests": len(latencies),
        "microseconds": seconds * 1e6,
        "bytes": received,
        "p50": ordered[len(ordered) // 2] * 1e6,
        "p99": ordered[len(ordered) * 99 // 100] * 1e6,
        "not_2xx": not_2xx,
        "broken": broken,
    }
    print(json.dumps(line))


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
