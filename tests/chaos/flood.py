"""Requests at a rate, by clients who each wait for an answer before they ask again: a closed loop, beside `open_loop`.

Arguments: the port, what is asked for (`get` or `large`), how many clients, seconds, and requests per second in all; 0
asks as fast as it is answered. Who still waits when it is due again lets that turn go by. Outcomes are written as by
`load`.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from pathlib import Path
from typing import Final

import uvloop

from .load import OUTCOMES, Keeping, Load

_COME_WITHIN: Final = 2.0
"""Seconds in which a crowd comes: opening a connection costs a worker more than a request."""
_FEW: Final = 50


async def _ask_in_turn(keeping: Keeping, first: float, period: float, end: float) -> None:
    due = first
    while due < end:
        await asyncio.sleep(due - time.monotonic())
        await keeping.ask()
        now = time.monotonic()
        due += period * math.ceil((now - due) / period) if period else now - due
    keeping.close()


async def _main(port: int, client: str, clients: int, seconds: float, rate: float) -> None:
    load = Load([port])
    period = clients / rate if rate else 0.0
    begin = time.monotonic() + 0.2
    spread = _COME_WITHIN if clients > _FEW else period
    keepings = [Keeping(load, client) for _ in range(clients)]
    firsts = (begin + spread * number / clients for number in range(clients))
    turns = (_ask_in_turn(*each, period, begin + seconds) for each in zip(keepings, firsts, strict=True))
    await asyncio.gather(*turns)
    load.report.write(Path(OUTCOMES))


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])))
