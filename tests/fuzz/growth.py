"""What a peer can make the gateway spend: eight times the bytes may cost about eight times the time, not sixty-four."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .case import Answer, Case
from .simulation import Simulation

_FACTOR: Final = 8
_ALLOWED: Final = 4.0 * _FACTOR
_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class Growth:
    """A kind of input: `make(n)` is a case of size n whose bytes come in pieces of `piece`, `least` the first size."""

    name: str
    make: Callable[[int], Case]
    least: int


def check_growth(growth: Growth) -> str | None:
    """What is wrong with the cost; None where it grows as the input does."""
    small, large = (_cost(growth.make(size)) for size in (growth.least, growth.least * _FACTOR))
    if large < small * _ALLOWED:
        return None
    return f"{growth.name}: {small * 1000:.1f} ms for {growth.least}, {large * 1000:.1f} ms for {_FACTOR} times as much"


def _cost(case: Case) -> float:
    """Processor time that the gateway needs to read a case's bytes, the best of a few."""
    return min(_measured(case) for _ in range(_ATTEMPTS))


def _measured(case: Case) -> float:
    with Simulation(case) as simulation:
        client = simulation.clients[0]
        for piece in client.pieces:
            client.line.say(piece)
        started = time.process_time()
        simulation.loop.run()
        cost = time.process_time() - started
        simulation.turn()
        for service in simulation.services:
            for piece in service.pieces:
                service.line.say(piece)
        started = time.process_time()
        simulation.loop.run()
        return cost + time.process_time() - started


def _from_client(text: str, unit: str, piece: int, end: str = "") -> Callable[[int], Case]:
    return lambda size: Case([text + unit * size + end], sizes=[piece], limits=_WIDE, exact=True)


def _from_service(text: str, unit: str, piece: int, end: str = "") -> Callable[[int], Case]:
    get = "GET /api/plain HTTP/1.1\r\nHost: a\r\n\r\n"
    return lambda size: Case([get], [Answer(text + unit * size + end)], sizes=[piece], exact=True)


_WIDE: Final = {"header_size": 1 << 20, "url_length": 1 << 20, "header_count": 1 << 16, "body_size": 1 << 30}
_GET: Final = "GET /api/plain HTTP/1.1\r\nHost: a\r\n"
_POST: Final = "POST /api/plain HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_OK: Final = "HTTP/1.1 200 OK\r\n"
_CHUNKS: Final = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

GROWTHS: Final = (
    Growth("a head byte by byte", _from_client(_GET, "X: yyyyyyyy\r\n", 1), 300),
    Growth("a target byte by byte", _from_client("GET /", "x", 1), 1500),
    Growth("a target of segments", _from_client("GET ", "/x", 4096, " HTTP/1.1\r\nHost: a\r\n\r\n"), 10_000),
    Growth("a target of dots", _from_client("GET /", "/.x", 4096, " HTTP/1.1\r\nHost: a\r\n\r\n"), 10_000),
    Growth("a target of percent signs", _from_client("GET /", "%41", 4096, " HTTP/1.1\r\nHost: a\r\n\r\n"), 10_000),
    Growth("a line without a colon", _from_client(_GET, "x", 4096, "\r\n\r\n"), 50_000),
    Growth("a line of white space", _from_client(_GET + "X", " ", 4096, "\r\n\r\n"), 50_000),
    Growth("a list in Connection", _from_client(_GET + "Connection: a", ",a", 4096, "\r\n\r\n"), 20_000),
    Growth("names in Connection", lambda size: _names(size), 2000),
    Growth("a Host of letters", _from_client("GET / HTTP/1.1\r\nHost: ", "a", 4096, "!@\r\n\r\n"), 50_000),
    Growth("a Host of percent signs", _from_client("GET / HTTP/1.1\r\nHost: ", "%4", 4096, "\r\n\r\n"), 50_000),
    Growth("many fields", _from_client(_GET, "X: y\r\n", 4096, "\r\n"), 4000),
    Growth("empty lines byte by byte", _from_client("", "\r\n", 1), 3000),
    Growth("empty lines", _from_client("", "\r\n", 65536), 100_000),
    Growth("tiny chunks", _from_client(_POST, "1\r\nx\r\n", 65536), 5000),
    Growth("tiny chunks byte by byte", _from_client(_POST, "1\r\nx\r\n", 1), 500),
    Growth("pipelined requests", _from_client("", "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", 65536), 100),
    Growth(
        "a refused body byte by byte",
        _from_client("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n", "x", 1),
        3000,
    ),
    Growth("a response's head byte by byte", _from_service(_OK, "X: yyyyyyyyy\r\n", 1), 300),
    Growth("a response's one line byte by byte", _from_service(_OK + "X: ", "y", 1), 6000),
    Growth("a response's tiny chunks", _from_service(_CHUNKS, "1\r\nx\r\n", 65536), 5000),
    Growth("a response's tiny chunks byte by byte", _from_service(_CHUNKS, "1\r\nx\r\n", 1), 500),
    Growth("a response's trailers byte by byte", _from_service(_CHUNKS + "0\r\n", "X: y\r\n", 1), 150),
    Growth("a response's body byte by byte", _from_service(_OK + "\r\n", "x", 1), 4000),
    Growth("a response's list in Connection", _from_service(_OK + "Connection: a", ",a", 4096, "\r\n\r\n"), 3000),
    Growth("a response's keep-alive", _from_service(_OK + "Keep-Alive: ", "timeout=", 4096, "\r\n\r\n"), 900),
)


def _names(size: int) -> Case:
    listed = ",".join(f"x{number}" for number in range(size))
    return Case([f"{_GET}Connection: {listed}\r\n\r\n"], limits=_WIDE)
