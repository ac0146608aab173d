"""What becomes of a request, said by a worker that serves: one explanation after the other, in a part of its time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from portico.config import Config
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Stream
from portico.core.messages import RequestHead
from portico.policies.counters.guessing import Guessing
from portico.processes.ipc import channel
from portico.proxy.gateway import Snapshot
from portico.snapshot.builder import SnapshotBuilder
from portico.snapshot.explain import Question, explain, explain_received

logger: Final = logging.getLogger("portico.worker")

_MOST_WAITING: Final = 16
_SHARE: Final = 0.1
"""The share of a worker's time that explanations may take: whoever asks for many must not stall its traffic."""
_BUSY: Final = Refusal("overloaded", "too many requests are being explained; try again soon", (b"Retry-After: 1",))
_LINES: Final = (b"Content-Type: application/json", b"Cache-Control: no-store")


class Serving(NamedTuple):
    """What a worker serves by just now."""

    builder: SnapshotBuilder
    snapshot: Snapshot
    config: Config
    ports: Mapping[str, int]
    """Those of its listeners, by their names."""


class Explaining:
    """The explanations of one worker. `changing` is held while a snapshot is built: none is asked meanwhile."""

    def __init__(self, serving: Callable[[], Serving], changing: asyncio.Lock) -> None:
        self._serving = serving
        self._changing = changing
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._rests_until = 0.0
        self._guessing = Guessing()

    async def answer(self, wanted: channel.Explain) -> channel.Explained:
        """What control is answered."""
        pairs = tuple(wanted.headers)
        question = Question(wanted.method, wanted.url, pairs, wanted.body, wanted.client_ip, wanted.listener)

        async def explained(serving: Serving) -> bytes:
            return msgspec.json.encode(await explain(*serving[:3], question, wanted.most, serving.ports))

        try:
            explanation = await self._in_turn(explained)
        except ValueError as error:
            return channel.Explained(wanted.number, b"", str(error))
        except Exception:
            logger.exception("a request could not be explained")
            return channel.Explained(wanted.number, b"", "the worker failed on this: its log says why", is_busy=True)
        if explanation is None:
            return channel.Explained(wanted.number, b"", _BUSY.detail, is_busy=True)
        return channel.Explained(wanted.number, explanation)

    # ---- to clients that ask for themselves: `Explains` in proxy/aside.py

    def admits(self, token: bytes, address: str) -> bool:
        """Whether a client shows a token of the admin API. One that guesses is not listened to for a while."""
        if self._guessing.wait("", address) > 0:
            return False
        is_admitted = self._serving().config.gateway.finds_caller(token)
        if not is_admitted:
            self._guessing.failed("", address)
        return is_admitted

    async def answer_client(self, stream: Stream, request: RequestHead, content: bytes, listener: str) -> Answer:
        """What becomes of the request that a client sent."""

        async def explained(serving: Serving) -> bytes:
            return msgspec.json.encode(await explain_received(*serving[:3], request, stream.client, content, listener))

        explanation = await self._in_turn(explained)
        return _BUSY if explanation is None else Answer(200, _LINES, explanation)

    async def _in_turn(self, explained: Callable[[Serving], Awaitable[bytes]]) -> bytes | None:
        """An explanation, once it is its turn; None where too many wait."""
        if self._waiting >= _MOST_WAITING:
            return None
        self._waiting += 1
        try:
            async with self._turn:
                await asyncio.sleep(max(0.0, self._rests_until - time.monotonic()))
                async with self._changing:
                    began = time.process_time()
                    try:
                        return await explained(self._serving())
                    finally:
                        spent = time.process_time() - began
                        self._rests_until = time.monotonic() + spent * (1 / _SHARE - 1)
        finally:
            self._waiting -= 1
