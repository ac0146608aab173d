"""A client that plays a case of the request corpus: sends its bytes on a connection of their own and reads."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from support.corpus import raw_bytes

from .strict import Head, NotStrictError, take_response

AT_ONCE = 48
"""Cases under way at the same time."""
AFTERWARDS = b"GET /afterwards HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
"""A request behind an accepted case: its answer shows that nothing was left over in either direction."""
TIMEOUT = 15.0


@dataclass
class Received:
    """What came back to the client."""

    responses: list[Head] = field(default_factory=list)
    interims: list[int] = field(default_factory=list)
    closed: bool = False
    """The gateway ended the connection while the client's side was open."""
    surplus: bytes = b""
    """Bytes that are no whole response."""
    unclean: bool = False
    """They are not strictly valid, so nobody knows where a response ends."""

    @property
    def statuses(self) -> list[int]:
        return [response.status for response in self.responses]


def address_of(number: int) -> str:
    """An address of the loopback network for one case."""
    return f"127.77.{number // 250}.{number % 250 + 1}"


def methods_of(case: Any) -> list[str]:
    """The methods of the requests that a case is to be read as; a refusal is answered with a body."""
    return [accepted["method"] for accepted in case.get("accept", [])]


class Conversation:
    """One connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, methods: list[str]) -> None:
        self.reader = reader
        self.writer = writer
        self.methods = methods
        self.received = Received()
        self.ended = False

    async def receive(self, wanted: int, timeout: float) -> None:
        """Read until so many final responses have come, the other side closes, or nothing comes for `timeout`."""
        while not self.ended and not self.received.unclean and len(self.received.responses) < wanted:
            try:
                data = await asyncio.wait_for(self.reader.read(65536), timeout)
            except TimeoutError:
                return
            except ConnectionError:
                data = b""
            self.ended = not data
            self.received.surplus += data
            self._take()

    def _take(self) -> None:
        received = self.received
        while received.surplus:
            number = len(received.responses)
            method = self.methods[number] if number < len(self.methods) else ""
            try:
                found = take_response(received.surplus, method, self.ended)
            except NotStrictError:
                received.unclean = True
                return
            if found is None:
                return
            head, received.surplus = found
            if head.status < 200:
                received.interims.append(head.status)
            else:
                received.responses.append(head)


async def converse(port: int, address: str, methods: list[str]) -> Conversation:
    """Connect from this address."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((address, 0))
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return Conversation(*await asyncio.open_connection(sock=sock), methods)


async def play(case: Any, port: int, address: str, quiet: float = TIMEOUT, probe: bool = False) -> Received:
    """Send the case and receive what comes.

    `quiet` is how long a gateway may say nothing before it counts as one that says nothing more. With `probe` a case
    that leaves the connection open is followed by `AFTERWARDS`. An `open` case ends where a client closes its side.
    """
    accepted = case.get("accept", [])
    wanted = len(accepted) + ("refuse" in case)
    stays = "refuse" not in case and bool(accepted) and bool(accepted[-1]["keep_alive"])
    talk = await converse(port, address, methods_of(case))
    writer = talk.writer
    try:
        with suppress(ConnectionError):
            writer.write(raw_bytes(case["raw"]))
            if case.get("open"):
                writer.write_eof()
            await talk.receive(wanted, quiet)
            if stays and probe and not talk.ended:
                writer.write(AFTERWARDS)
                await talk.receive(wanted + 1, quiet)
            if not stays or probe:
                await talk.receive(wanted + 99, quiet)
            talk.received.closed = talk.ended
            if not talk.ended and not case.get("open"):
                writer.write_eof()
            await talk.receive(wanted + 99, quiet)
    finally:
        writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return talk.received


async def play_all(
    cases: list[Any], port: int, quiet: float = TIMEOUT, probe: bool = False, at_once: int = AT_ONCE
) -> list[Received]:
    """Play the cases, many at a time, each from the address of its number."""
    turn = asyncio.Semaphore(at_once)

    async def in_turn(number: int, case: Any) -> Received:
        async with turn:
            return await play(case, port, address_of(number), quiet, probe)

    return list(await asyncio.gather(*(in_turn(number, case) for number, case in enumerate(cases))))
