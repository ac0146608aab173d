"""Normal requests at a fixed rate over kept connections, and how long each took.

Arguments: the port, seconds, requests per second. A request that is due while the one before it on its connection is
still waited for counts from the moment when it was due: a gateway that stands still is not asked less often. Prints
p50, p99 and the longest in ms, and how many failed, as JSON.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.stress.wire import StressWire, request
from support.commands import python
from support.cores import LOAD
from support.process import Job

_CONNECTIONS: Final = 8
_TIMEOUT: Final = 10.0
_REQUEST: Final = request("GET", "/small", "User-Agent: probe", "Accept: */*")


@dataclass(frozen=True)
class Latency:
    """Milliseconds; `failed` in requests."""

    p50: float
    p99: float
    longest: float
    failed: int


def measured(port: int, seconds: float, rate: float) -> Latency:
    """Runs this module as a process of its own."""
    with Job(*python("benchmarks.stress.probe", port, seconds, rate), cores=LOAD) as job:
        return Latency(**json.loads(job.result(seconds + 60)))


def _measure(port: int, seconds: float, rate: float) -> Latency:
    begin = time.monotonic()
    dues = [begin + number / rate for number in range(int(seconds * rate))]
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        parts = pool.map(lambda number: _ask(port, dues[number::_CONNECTIONS]), range(_CONNECTIONS))
        took = sorted(itertools.chain.from_iterable(parts))
    if not took:
        return Latency(_TIMEOUT * 1000, _TIMEOUT * 1000, _TIMEOUT * 1000, len(dues))
    return Latency(took[len(took) // 2], took[int(len(took) * 0.99)], took[-1], len(dues) - len(took))


def _ask(port: int, dues: Sequence[float]) -> list[float]:
    """Milliseconds that the answer to each request took; nothing more after one that failed."""
    took: list[float] = []
    try:
        with StressWire(port) as wire:
            wire.socket.settimeout(_TIMEOUT)
            for due in dues:
                began = due
                if (pause := due - time.monotonic()) > 0:
                    time.sleep(pause)
                    began = time.monotonic()
                wire.send(_REQUEST)
                wire.json()
                took.append((time.monotonic() - began) * 1000)
    except (OSError, ValueError, KeyError):
        pass  # what was not answered is counted
    return took


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))))
