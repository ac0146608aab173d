"""The steady load: a mixture of clients that go on, whatever they meet, and note every outcome.

Arguments: a limit in seconds, how many small answers there are, over and over (0: each request asks for another), and
the ports of the gateways. It runs until SIGTERM or the limit; each client then ends
what it is at. The outcomes are in `outcomes.jsonl` in the working directory. Of several gateways, clients go to the
first that says it is ready, as a balancer sends them.

Nothing is tried again here: a browser would repeat what was closed unanswered, and the gateway would look better.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final

import uvloop

from support.frames import CLOSE, TEXT, closing, encode
from support.instance_answers import PIECE
from support.pattern import content as pattern

from .outcome import LARGE, POST, WEBSOCKET, Failure, Outcome, Report
from .talk import Talk

OUTCOMES: Final = "outcomes.jsonl"
TIMEOUT: Final = 6.0
"""Seconds for one answer, and for the next piece of a stream."""
_LOOK: Final = 0.1
_CONTENT: Final = bytes(range(256)) * 16
_LARGE: Final = pattern(2 << 20)
_DOWNLOAD: Final = pattern(40 * PIECE)
_EVENTS: Final = 20
_EVENT: Final = re.compile(rb"data: (\d+) \d+\n\n")
_RESTART: Final = 1012


class Load:
    """What all clients share."""

    def __init__(self, ports: list[int], urls: int = 0, clients: Sequence[Client] | None = None) -> None:
        self.clients = clients or [client for client, number in MIXTURE for _ in range(number)]
        self.report = Report()
        self.over = asyncio.Event()
        self.ports = ports
        self.port = ports[0]
        self.numbers = count()
        self.small = cycle(range(urls)) if urls else self.numbers

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.over.set)
        loop.call_later(seconds, self.over.set)
        tasks = [asyncio.create_task(client(self)) for client in self.clients]
        if len(self.ports) > 1:
            tasks.append(asyncio.create_task(self._follow()))
        await self.over.wait()
        _, late = await asyncio.wait(tasks, timeout=TIMEOUT)
        for task in late:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), seconds)

    async def connect(self) -> Talk:
        return await Talk.open(self.port)

    async def _follow(self) -> None:
        while not self.over.is_set():
            ready = await asyncio.gather(*(_is_ready(port) for port in self.ports))
            self.port = next((port for port, is_ready in zip(self.ports, ready, strict=True) if is_ready), self.port)
            await self.pause(_LOOK)


async def _is_ready(port: int) -> bool:
    with Report().attempt("ready") as outcome:
        async with asyncio.timeout(1):
            talk = await Talk.open(port)
            try:
                await talk.ask(outcome, "GET", "/readyz")
            finally:
                talk.close()
    return not outcome.failure


Client = Callable[[Load], Coroutine[Any, Any, None]]
"""Goes on until the load is over."""


async def ask(load: Load, talk: Talk, outcome: Outcome) -> None:
    """A request that is answered at once. Small ones have a content of their own: an answer to another one is wrong."""
    if outcome.client == POST:
        content = b"%d " % next(load.numbers) + _CONTENT
        answer = await talk.ask(outcome, "POST", "/echo", content)
    elif outcome.client == LARGE:
        content = _LARGE
        answer = await talk.ask(outcome, "GET", f"/bytes/{len(content)}")
    else:
        content = b"%d" % next(load.small)
        answer = await talk.ask(outcome, "GET", f"/small/{content.decode()}")
    _expect(answer == content)


class Keeping:
    """A client that keeps its connection for as long as it can."""

    def __init__(self, load: Load, client: str) -> None:
        self._load = load
        self._client = client
        self._talk: Talk | None = None

    async def ask(self) -> None:
        """One request."""
        with self._load.report.attempt(self._client) as outcome:
            async with asyncio.timeout(TIMEOUT):
                if self._talk is None or not self._talk.is_usable():
                    self.close()
                    self._talk = await self._load.connect()
                await ask(self._load, self._talk, outcome)
        if outcome.is_broken_off() and self._talk is not None:
            self._talk.abort()
            self._talk = None

    def close(self) -> None:
        _close(self._talk)


def _keeping(client: str, pause: float) -> Client:
    """Requests over a connection that is kept."""

    async def run(load: Load) -> None:
        keeping = Keeping(load, client)
        while not load.over.is_set():
            await keeping.ask()
            await load.pause(pause)
        keeping.close()

    return run


async def _fresh(load: Load) -> None:
    """Each request with a connection of its own."""
    while not load.over.is_set():
        with load.report.attempt("fresh") as outcome:
            async with asyncio.timeout(TIMEOUT):
                talk = await load.connect()
                try:
                    await ask(load, talk, outcome)
                finally:
                    talk.close()
        await load.pause(0.04)


def _streaming(client: str, target: str, is_right: Callable[[bytes], bool]) -> Client:
    """A response that takes two seconds, over and over."""

    async def run(load: Load) -> None:
        while not load.over.is_set():
            with load.report.attempt(client) as outcome:
                async with asyncio.timeout(TIMEOUT):
                    talk = await load.connect()
                try:
                    _expect(is_right(await _stream(talk, outcome, target)))
                finally:
                    talk.close()
            await load.pause(0.1)

    return run


async def _stream(talk: Talk, outcome: Outcome, target: str) -> bytes:
    came = bytearray()
    async with asyncio.timeout(TIMEOUT) as timeout:
        head = await talk.begin(outcome, "GET", target)
        async for piece in talk.pieces(head):
            came += piece
            timeout.reschedule(asyncio.get_running_loop().time() + TIMEOUT)
    return bytes(came)


def _are_events(content: bytes) -> bool:
    """All of them, in order, and nothing else."""
    return [int(number) for number in _EVENT.findall(content)] == [*range(_EVENTS)] and not _EVENT.sub(b"", content)


async def _websocket(load: Load) -> None:
    """Messages and their echoes; a new WebSocket when one ends. A close frame of the gateway is no failure."""
    while not load.over.is_set():
        talk: Talk | None = None
        with load.report.attempt(WEBSOCKET) as outcome:
            async with asyncio.timeout(TIMEOUT):
                talk = await load.connect()
                await talk.upgrade(outcome, "/socket")
        while talk is not None and not outcome.failure and not load.over.is_set():
            before = outcome
            with load.report.attempt(WEBSOCKET) as outcome:
                outcome.begun, outcome.instance = True, before.instance
                async with asyncio.timeout(TIMEOUT):
                    if not await _is_echoed(talk, b"%d" % next(load.numbers)):
                        break
            if outcome.failure:
                outcome.extend_to(before.ended)
            await load.pause(0.05)
        _close(talk)
        await load.pause(0.1)


async def _is_echoed(talk: Talk, text: bytes) -> bool:
    """False where the gateway sends a close frame instead."""
    talk.say(encode(TEXT, text))
    frame = await talk.receive()
    if frame.opcode == CLOSE:
        if frame.code != _RESTART:
            raise Failure(f"closed with {frame.code}")
        talk.say(closing(_RESTART))
        return False
    _expect(frame.payload == text)
    return True


def _expect(is_right: bool) -> None:
    if not is_right:
        raise Failure("wrong content")


def _close(talk: Talk | None) -> None:
    if talk is not None:
        talk.close()


MIXTURE: Final[tuple[tuple[Client, int], ...]] = (
    (_keeping("get", 0.04), 4),
    (_keeping("get", 0.7), 4),
    (_keeping(POST, 0.04), 2),
    (_fresh, 2),
    (_streaming("download", f"/bytes/{len(_DOWNLOAD)}/50", _DOWNLOAD.__eq__), 2),
    (_streaming("events", f"/events/{_EVENTS}/100", _are_events), 2),
    (_websocket, 3),
)
"""Which clients, and how many of each: about two hundred requests a second."""


async def _main(seconds: float, urls: int, ports: list[int]) -> None:
    load = Load(ports, urls)
    await load.run(seconds)
    load.report.write(Path(OUTCOMES))


if __name__ == "__main__":
    uvloop.run(_main(float(sys.argv[1]), int(sys.argv[2]), [int(text) for text in sys.argv[3:]]))
