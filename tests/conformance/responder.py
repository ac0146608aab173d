"""A service that answers with the bytes of the response corpus, and the client that looks at what becomes of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from support.backend import Connection, Script
from support.corpus import raw_bytes

from .player import AT_ONCE, TIMEOUT, Received, converse
from .strict import take_request

_HERE = "127.0.0.1"
_LEAVES_AFTER = 0.5
"""Seconds without a request after which the service closes a connection on which it answered a case: a gateway that
takes what came for a response until the end gets that end."""


def by_script(cases: list[Any]) -> Script:
    """Answers `/case/N` with the bytes of case N, and `/own/X` with `own X`; all else that comes is an error."""

    def serve(connection: Connection) -> None:
        pending = b""
        while data := connection.receive():
            pending += data
            while found := take_request(pending):
                request, pending = found
                _, kind, name = request.target.split("/")
                assert kind in ("own", "case"), request.target
                if kind == "own":
                    connection.answer(f"own {name}".encode())
                    continue
                case = cases[int(name)]
                connection.send(raw_bytes(case["raw"]))
                if case.get("eof"):
                    return
                connection.socket.settimeout(_LEAVES_AFTER)

    return serve


@dataclass
class Seen:
    """What a client got: for the case, for a request behind it, and for one on another connection."""

    case: Received
    behind: str | None
    """The body; None where the connection had ended."""
    beside: str | None


def _ask(method: str, target: str) -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


async def _body_of_one(port: int, target: str, timeout: float) -> str | None:
    talk = await converse(port, _HERE, ["GET"])
    talk.writer.write(_ask("GET", target))
    await talk.receive(1, timeout)
    talk.writer.close()
    responses = talk.received.responses
    return responses[0].body.decode("latin-1") if len(responses) == 1 else None


async def see(case: Any, number: int, port: int, quiet: float = TIMEOUT) -> Seen:
    """Ask for a case, then for two answers that must be their own."""
    method = case.get("method", "GET")
    talk = await converse(port, _HERE, [method, "GET"])
    received, behind = talk.received, None
    with suppress(ConnectionError):
        talk.writer.write(_ask(method, f"/case/{number}"))
        await talk.receive(1, quiet)
        received.closed = talk.ended
        beside = asyncio.create_task(_body_of_one(port, f"/own/beside-{number}", quiet))
        if len(received.responses) == 1 and not talk.ended:
            talk.writer.write(_ask("GET", f"/own/behind-{number}"))
            await talk.receive(2, quiet)
            behind = received.responses[1].body.decode("latin-1") if len(received.responses) == 2 else None
    talk.writer.close()
    return Seen(received, behind, await beside)


async def see_all(cases: list[Any], port: int, quiet: float = TIMEOUT) -> list[Seen]:
    """See every case, many at a time."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def in_turn(number: int, case: Any) -> Seen:
        async with turn:
            return await see(case, number, port, quiet)

    return list(await asyncio.gather(*(in_turn(number, case) for number, case in enumerate(cases))))
