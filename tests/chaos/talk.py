"""A client's connection: one request at a time, its response read to the byte, a WebSocket's frames."""

from __future__ import annotations

import asyncio
import json
import select
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from support.frames import Frame, decode, missing
from support.heads import split_head
from support.websocket import OFFER

from .outcome import Failure, Outcome


@dataclass(frozen=True)
class Head:
    """The status and fields of a response, names in lower case."""

    status: int
    fields: dict[str, str]


class Talk:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._closes = False

    @classmethod
    async def open(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def is_usable(self) -> bool:
        """Whether nothing has come of its end: asking on it is then right.

        The kernel is asked, too: a client that was kept from running may not have read yet what has long come.
        """
        is_over = self._reader.at_eof() or self._reader.exception() is not None
        return not (self._closes or is_over or self._writer.is_closing() or self._has_unread())

    def _has_unread(self) -> bool:
        """Between two responses that can only be the connection's end; so is a descriptor that is closed already."""
        descriptor = self._writer.get_extra_info("socket").fileno()
        if descriptor < 0:
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        """Leave without sending what may be waiting."""
        self._writer.transport.abort()

    # ---- HTTP

    async def ask(self, outcome: Outcome, method: str, target: str, body: bytes = b"") -> bytes:
        """The whole content of a response that has to be 200."""
        head = await self.begin(outcome, method, target, body)
        return b"".join([piece async for piece in self.pieces(head)])

    async def begin(self, outcome: Outcome, method: str, target: str, body: bytes = b"", *lines: str) -> Head:
        """Send a request and read the head of its response. Raises Failure where that is neither 200 nor 101."""
        own = [f"{method} {target} HTTP/1.1", "Host: chaos.test", *lines]
        if method == "POST":
            own.append(f"Content-Length: {len(body)}")
        self._writer.write("\r\n".join([*own, "", ""]).encode() + body)
        head = await self._head()
        outcome.instance = head.fields.get("x-instance", "")
        outcome.begun = bool(outcome.instance)
        outcome.retry_after = head.fields.get("retry-after", "")
        if head.status not in (200, 101):
            raise Failure(f"{head.status} {await self._reason(head)}".strip())
        return head

    async def pieces(self, head: Head) -> AsyncIterator[bytes]:
        """The content behind a head, as it comes."""
        if head.fields.get("transfer-encoding") == "chunked":
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                yield (await self._reader.readexactly(size + 2))[:size]
            await self._reader.readuntil(b"\r\n")
        elif "content-length" in head.fields:
            left = int(head.fields["content-length"])
            while left:
                piece = await self._reader.read(min(left, 65536))
                if not piece:
                    raise EOFError
                left -= len(piece)
                yield piece
        else:
            self._closes = True
            while piece := await self._reader.read(65536):
                yield piece

    async def _head(self) -> Head:
        (_, status, *_), fields = split_head(await self._reader.readuntil(b"\r\n\r\n"))
        self._closes = fields.get("connection", "").lower() == "close"
        return Head(int(status), fields)

    async def _reason(self, head: Head) -> str:
        """The word that a gateway gives for its refusal; that a service refused needs no more words."""
        body = b"".join([piece async for piece in self.pieces(head)])
        if "x-instance" in head.fields:
            return "of the service"
        return str(json.loads(body)["reason"]) if "problem+json" in head.fields.get("content-type", "") else ""

    # ---- a WebSocket

    async def upgrade(self, outcome: Outcome, target: str) -> None:
        """The handshake (RFC 6455, section 4)."""
        head = await self.begin(outcome, "GET", target, b"", *OFFER)
        if head.status != 101:
            raise Failure(f"{head.status} in place of 101")

    def say(self, frame: bytes) -> None:
        self._writer.write(frame)

    async def receive(self) -> Frame:
        return await read_frame(self._reader)


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """The next frame; raises EOFError where there is none."""
    data = b""
    while size := missing(data):
        data += await reader.readexactly(size)
    return decode(data)
