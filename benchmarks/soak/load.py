"""The load of a soak: the clients of `make chaos`, and those that make a gateway remember something.

Arguments: a limit in seconds, the gateway's port. It runs until SIGTERM or the limit, and writes how often what came of
the requests, by client, on standard output: one object of JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import uvloop

from benchmarks.soak.site import users
from chaos.load import MIXTURE, TIMEOUT, Client, Load
from chaos.outcome import Outcome, Report
from chaos.talk import Talk

_HALF: Final = b"POST /echo HTTP/1.1\r\nHost: chaos.test\r\nContent-Length: 100000\r\n\r\nhalf"
_LEAVES: Final = 0.05
"""How often a client takes another connection."""
_BAD: Final = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)


class Counts(Report):
    """How often what came about: hours of outcomes would fill the memory."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    @contextmanager
    def attempt(self, client: str, due: float | None = None) -> Iterator[Outcome]:
        with super().attempt(client, due) as outcome:
            yield outcome
        self.counts[f"{client}: {outcome.failure or 'ok'}"] += 1
        self.outcomes.clear()


def _asking(client: str, pause: float, seed: int) -> Client:
    """Requests to routes with policies, each unlike the last: other URLs, users, cookies, fields."""
    chance = random.Random(seed)  # runs are alike

    async def run(load: Load) -> None:
        talk: Talk | None = None
        while not load.over.is_set():
            with load.report.attempt(client) as outcome:
                async with asyncio.timeout(TIMEOUT):
                    if talk is None or not talk.is_usable() or chance.random() < _LEAVES:
                        _close(talk)
                        talk = await Talk.open(load.port)
                    await _ask(load, talk, outcome, chance)
            if outcome.is_broken_off():
                _close(talk)
                talk = None
            await load.pause(pause)
        _close(talk)

    return run


def _close(talk: Talk | None) -> None:
    if talk is not None:
        talk.abort()


async def _ask(load: Load, talk: Talk, outcome: Outcome, chance: random.Random) -> None:
    target, *lines = chance.choice((
        (f"/cached/bytes/{chance.randrange(1, 40_000)}", "Accept-Encoding: gzip"),
        (f"/cached/bytes/{chance.randrange(1, 500)}", "Accept-Encoding: gzip, zstd"),
        (f"/guarded/small/{chance.randrange(1 << 30)}", f"Authorization: Bearer {chance.choice(users())}"),
        (f"/sticky/small/{chance.randrange(1 << 30)}", f"Cookie: session={chance.randrange(1 << 30)}"),
        (f"/small/{chance.randrange(1 << 30)}?q={chance.randrange(1 << 30)}", f"X-Odd: {chance.randrange(1 << 30)}"),
        (f"/registered/small/{next(load.numbers)}", "Accept-Language: de, en"),
    ))  # fmt: skip
    head = await talk.begin(outcome, "GET", target, b"", *lines)
    async for _ in talk.pieces(head):
        pass


async def _limited(load: Load) -> None:
    """One that is always above its limit, from new addresses of a proxy's too: most of it is refused."""
    number = 0
    while not load.over.is_set():
        with load.report.attempt("limited") as outcome:
            async with asyncio.timeout(TIMEOUT):
                talk = await Talk.open(load.port)
                try:
                    number += 1
                    who = f"X-Forwarded-For: 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
                    head = await talk.begin(outcome, "GET", "/limited/small/x", b"", who)
                    async for _ in talk.pieces(head):
                        pass
                finally:
                    talk.close()
        await load.pause(0.02)


async def _leaving(load: Load) -> None:
    """Clients that go in the middle of what they send, or of what they get, and such that send nonsense."""
    while not load.over.is_set():
        for data in (_HALF, b"GET /bytes/2000000 HTTP/1.1\r\nHost: chaos.test\r\n\r\n", *_BAD):
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(TIMEOUT):
                    reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
                    writer.write(data)
                    await load.pause(0.05)
                    await asyncio.wait_for(reader.read(1000), 0.2)
                    writer.transport.abort()
            await load.pause(0.05)


CLIENTS: Final[tuple[Client, ...]] = (
    *(client for client, number in MIXTURE for _ in range(number)),
    *(_asking("policies", 0.02, seed) for seed in range(6)),
    _limited,
    _leaving,
)


async def _main(seconds: float, port: int) -> None:
    load = Load([port], clients=CLIENTS)
    load.report = report = Counts()
    await load.run(seconds)
    print(json.dumps(report.counts))


if __name__ == "__main__":
    uvloop.run(_main(float(sys.argv[1]), int(sys.argv[2])))
