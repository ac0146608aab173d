"""Small requests at a rate, by clients who each wait for an answer before they ask again.

Arguments: the port, how many clients, seconds, and requests per second in all; 0 asks as fast as it is answered. Who
still waits when it is due again lets that turn go by. Outcomes are written as by `load`.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from pathlib import Path

import uvloop

from .load import OUTCOMES, Keeping, Load


async def _ask_in_turn(load: Load, first: float, period: float, end: float) -> None:
    keeping = Keeping(load, "get")
    due = first
    while due < end:
        await asyncio.sleep(due - time.monotonic())
        await keeping.ask()
        now = time.monotonic()
        due += period * math.ceil((now - due) / period) if period else now - due
    keeping.close()


async def _main(port: int, clients: int, seconds: float, rate: float) -> None:
    load = Load([port])
    period = clients / rate if rate else 0.0
    begin = time.monotonic() + 0.2
    turns = (_ask_in_turn(load, begin + period * n / clients, period, begin + seconds) for n in range(clients))
    await asyncio.gather(*turns)
    load.report.write(Path(OUTCOMES))


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
