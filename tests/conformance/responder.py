"""A service that answers with the bytes of the response corpus, and the client that looks at what becomes of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from wire.world import raw_bytes

from .player import AT_ONCE, PATIENCE, Heard, converse
from .strict import Head, take_request

_HERE = "127.0.0.1"
_LEAVES_AFTER = 0.5
"""Seconds without a request after which the service closes a connection on which it answered a case: a gateway that
takes what came for a response until the end gets that end."""


class ScriptedService:
    """Answers `/case/N` with the bytes of case N, and `/own/X` with `own X`; all else that comes is an error."""

    def __init__(self, cases: list[Any]) -> None:
        self.cases = cases
        self.requests: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, _HERE, 0, backlog=1024)
        self.port: int = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        pending = b""
        patience: float | None = None
        with suppress(ConnectionError, TimeoutError):
            while data := await asyncio.wait_for(reader.read(65536), patience):
                pending += data
                while found := take_request(pending):
                    request, pending = found
                    self.requests.append(request.target)
                    if not self._answer(request, writer):
                        await writer.drain()
                        writer.close()
                        return
                    if request.target.startswith("/case/"):
                        patience = _LEAVES_AFTER
        writer.close()

    def _answer(self, request: Head, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays open."""
        _, kind, name = request.target.split("/")
        if kind == "own":
            body = f"own {name}".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return True
        case = self.cases[int(name)]
        writer.write(raw_bytes(case["raw"]))
        return not case.get("eof")


@dataclass
class Seen:
    """What a client got: for the case, for a request behind it, and for one on another connection."""

    case: Heard
    behind: str | None
    """The body; None where the connection had ended."""
    beside: str | None


def _ask(method: str, target: str) -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


async def _body_of_one(port: int, target: str, patience: float) -> str | None:
    talk = await converse(port, _HERE, ["GET"])
    talk.writer.write(_ask("GET", target))
    await talk.hear(1, patience)
    talk.writer.close()
    responses = talk.heard.responses
    return responses[0].body.decode("latin-1") if len(responses) == 1 else None


async def see(case: Any, number: int, port: int, quiet: float = PATIENCE) -> Seen:
    """Ask for a case, then for two answers that must be their own."""
    method = case.get("method", "GET")
    talk = await converse(port, _HERE, [method, "GET"])
    heard, behind = talk.heard, None
    with suppress(ConnectionError):
        talk.writer.write(_ask(method, f"/case/{number}"))
        await talk.hear(1, quiet)
        heard.closed = talk.ended
        beside = asyncio.create_task(_body_of_one(port, f"/own/beside-{number}", quiet))
        if len(heard.responses) == 1 and not talk.ended:
            talk.writer.write(_ask("GET", f"/own/behind-{number}"))
            await talk.hear(2, quiet)
            behind = heard.responses[1].body.decode("latin-1") if len(heard.responses) == 2 else None
    talk.writer.close()
    return Seen(heard, behind, await beside)


async def see_all(cases: list[Any], port: int, quiet: float = PATIENCE) -> list[Seen]:
    """See every case, many at a time."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def in_turn(number: int, case: Any) -> Seen:
        async with turn:
            return await see(case, number, port, quiet)

    return list(await asyncio.gather(*(in_turn(number, case) for number, case in enumerate(cases))))
