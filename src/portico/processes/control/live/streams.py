"""Responses that go on until their client leaves, or until this process ends: of a bounded number."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MOST: Final = 1024
"""Streams at once: each holds a connection, and some 100 KiB where its client does not read."""
_STUCK: Final = 60_000
"""Milliseconds after which a client that takes nothing of what waits for it is cut off."""
EVENT_STREAM: Final = "text/event-stream"


def cut_stuck(listener: socket.socket) -> None:
    """Have the kernel cut connections of this listener whose clients take nothing, where it can: else they stay, with
    what waits for them, for as long as their other end does.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STUCK)


class Streams:
    """All streams of one control process."""

    def __init__(self) -> None:
        self._running: set[_Stream] = set()
        self._is_over = False
        self.access: Callable[[], object] = lambda: None
        """Gives who may watch: once that is something else, streams end, and clients have to ask again."""

    def __len__(self) -> int:
        return len(self._running)

    def response(self, pieces: AsyncGenerator[bytes, None], media_type: str = EVENT_STREAM) -> Response:
        """A response that sends these pieces as they come. Raises HTTPException (503) where there are too many."""
        if self._is_over or len(self._running) >= MOST:
            raise HTTPException(503, f"{len(self._running)} watch already; try again soon", {"Retry-After": "5"})
        return _Stream(self._running, self._permitted(pieces), media_type)

    async def _permitted(self, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        access = self.access()
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece
                if self.access() != access:
                    return

    def close(self) -> None:
        """End all of them, and begin no more."""
        self._is_over = True
        for stream in [*self._running]:
            stream.end()


class _Stream(Response):
    """`running` is the set that it is in while it runs. Its head is sent with the first piece."""

    def __init__(self, running: set[_Stream], pieces: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._running = running
        self._pieces = pieces
        self._sending: asyncio.Task[None] | None = None

    def end(self) -> None:
        if self._sending is not None:
            self._sending.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        self._running.add(self)
        loop = asyncio.get_running_loop()
        leaving = loop.create_task(_disconnected(receive))
        self._sending = loop.create_task(self._send(send))
        try:
            await asyncio.wait((leaving, self._sending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._running.discard(self)
            leaving.cancel()
            self._sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sending

    async def _send(self, send: Send) -> None:
        async with contextlib.aclosing(self._pieces) as pieces:
            piece = await anext(pieces)  # what cannot begin raises
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                async for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except asyncio.CancelledError:
                pass  # a whole end, where the client reads
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
