"""A body that a thread compresses: who is to wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from portico.policies.compress.body import CodedBody

PIECE = bytes(64 << 10)


class Encoder:
    """Takes its time until it may go on."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()

    def feed(self, data: bytes) -> bytes:
        assert self.may_go_on.wait(20)
        return data[:1]

    def flush(self) -> bytes:
        return b""

    def end(self) -> bytes:
        return b"."


class Stream:
    """A client that takes everything, and the service that is its receiver."""

    def __init__(self) -> None:
        self.receiver = self
        self.writing_paused = False
        self.service_is_paused = False
        self.sent = b""
        self.ended = asyncio.Event()

    def send_body(self, data: bytes) -> None:
        self.sent += data

    def end(self, trailers: Any) -> None:
        self.ended.set()

    def pause_writing(self) -> None:
        self.service_is_paused = True

    def resume_writing(self) -> None:
        self.service_is_paused = False


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)


async def send(body: CodedBody, stream: Stream) -> int:
    """What the service sends until it is to pause: how much that is."""
    sent = 0
    while not stream.service_is_paused:
        body.feed(PIECE)
        sent += len(PIECE)
        assert sent < 1 << 24
        await asyncio.sleep(0)
    return sent


async def _plays() -> None:
    stream, encoder = Stream(), Encoder()
    body = CodedBody(stream, encoder, 0, len(PIECE), lambda *_: None, flushes=False)  # type: ignore[arg-type]
    first = await send(body, stream)
    stream.resume_writing()  # the client was slow for a moment, too
    assert await send(body, stream) <= len(PIECE) < first
    encoder.may_go_on.set()
    await until(lambda: not stream.service_is_paused)
    body.end(())
    async with asyncio.timeout(20):
        await stream.ended.wait()
    assert stream.sent == bytes(first // len(PIECE) + 1) + b"."


def test_a_service_waits_for_the_thread_also_when_its_client_has_caught_up() -> None:
    asyncio.run(_plays())
