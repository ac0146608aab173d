"""A thousand clients that ask for one URL that is in no cache yet; the first of them leaves at half of its answer.

As a program: the port. Outcomes are written as by `load`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

import uvloop

from support.instance_answers import PIECE
from support.instance_process import InstanceProcess
from support.pattern import content as pattern

from .fault import Fault
from .gateways import Start
from .load import OUTCOMES, TIMEOUT, Load
from .outcome import LARGE, Outcome
from .processes import asked
from .row import Row

_CLIENTS: Final = 1000
_PIECES: Final = 20
_TARGET: Final = f"/bytes/{_PIECES * PIECE}/100"
"""It takes two seconds."""
_CONTENT: Final = pattern(_PIECES * PIECE)
_LASTS: Final = 10.0


def stampede(fault: Fault, start: Start, seconds: float) -> Row:
    """The service has to be asked once."""
    with (
        InstanceProcess("a") as one,
        InstanceProcess("b") as two,
        start(fault.name, [one.port, two.port]) as subject,
    ):
        began = time.monotonic()
        outcomes = asked(_LASTS, "stampede", subject.ports[0])
        row = Row(fault.name, subject.name, fault.promise, outcomes, began, (began, time.monotonic()))
        count = one.count() + two.count()
        row.notes.append(f"{count} asked for by {_CLIENTS + 1} clients")
        row.expect(count == 1, f"the service was asked {count} times")
        row.expect(len(outcomes) == _CLIENTS, "not all clients asked")
        return row


async def _main(port: int) -> None:
    load = Load([port])
    leader = await load.connect()
    head = await leader.begin(Outcome(LARGE, 0.0), "GET", _TARGET)
    followers = asyncio.gather(*(_follow(load) for _ in range(_CLIENTS)))
    left = len(_CONTENT) // 2
    async for piece in leader.pieces(head):
        left -= len(piece)
        if left <= 0:
            break
    leader.abort()
    await followers
    load.report.write(Path(OUTCOMES))


async def _follow(load: Load) -> None:
    with load.report.attempt(LARGE) as outcome:
        async with asyncio.timeout(_LASTS + TIMEOUT):
            talk = await load.connect()
            try:
                if await talk.ask(outcome, "GET", _TARGET) != _CONTENT:
                    raise ValueError
            finally:
                talk.close()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1])))
