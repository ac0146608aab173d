"""A body that comes in a second read: right behind its head it goes on with it, else the head goes on alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from fuzz.case import Answer as Said
from fuzz.case import Case
from fuzz.left_over import check_bounds
from fuzz.loop import Line
from fuzz.sent_back import responses_of
from fuzz.simulation import Simulation
from portico.proxy.forward import Forwarding
from portico.proxy.waiting import SMALL
from portico.wire.http1.server import ServerConnection

OK = Said("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class World:
    """One client of the simulation, and what is written to services, write by write."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.line = simulation.clients[0].line
        self.writes: list[bytes] = []

    def say(self, *pieces: bytes) -> None:
        """Each comes when the event loop has looked at its sockets once more after the one before it."""
        self._say(pieces)
        self.simulation.turn()

    def _say(self, pieces: tuple[bytes, ...]) -> None:
        self.line.say(pieces[0])
        if pieces[1:]:
            self.simulation.loop.call_soon(self._say, pieces[1:])

    @property
    def statuses(self) -> list[int]:
        return [each.status for each in responses_of(self.simulation, self.simulation.clients[0])]

    @property
    def bodies(self) -> list[tuple[bytes, bool]]:
        """Those that services got, and whether they are complete."""
        requests = [request for service in self.simulation.services for request in service.requests]
        return [(bytes(request.body), request.complete) for request in requests]


@contextmanager
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with Simulation(Case([""], [OK]), ()) as simulation:
        simulation.watch.append(check_bounds)
        own, write = World(simulation), Line.write

        def noting(line: Line, data: bytes) -> None:
            if line is not own.line:
                own.writes.append(bytes(data))
            write(line, data)

        monkeypatch.setattr(Line, "write", noting)
        yield own
        simulation.settle()
        assert [each.ends for each in simulation.seen_of(simulation.clients[0]) if len(each.ends) != 1] == []


def head(size: int, *lines: str) -> bytes:
    fields = "".join(f"{line}\r\n" for line in (f"Content-Length: {size}", *lines))
    return f"PUT /api/open/x HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()


@pytest.mark.parametrize("size", [4, SMALL])
def test_a_small_body_right_behind_its_head_goes_on_with_it(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    with world(monkeypatch) as own:
        own.say(head(size), b"x" * size)
        assert own.bodies == [(b"x" * size, True)]
        assert [len(write) for write in own.writes] == [len(own.writes[0])]
        own.simulation.settle()
        assert own.statuses == [200]


@pytest.mark.parametrize("size", [4, SMALL])
def test_a_head_goes_on_alone_where_its_body_takes_longer(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    with world(monkeypatch) as own:
        own.say(head(size))
        assert own.bodies == [(b"", False)]
        own.say(b"x" * size)
        assert own.bodies == [(b"x" * size, True)]
        own.simulation.settle()
        assert own.statuses == [200]


def test_what_is_there_of_a_body_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with world(monkeypatch) as own:
        own.say(head(6), b"ab")
        assert own.bodies == [(b"ab", False)]
        own.say(b"cd")
        assert own.bodies == [(b"abcd", False)]
        own.say(b"ef" + head(4), b"ghij")
        own.simulation.settle()
        assert own.bodies == [(b"abcdef", True), (b"ghij", True)]
        assert own.statuses == [200, 200]


def test_a_large_body_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with world(monkeypatch) as own:
        own.say(head(SMALL + 1), b"x" * (SMALL + 1))
        forwarding = cast(Forwarding, cast(ServerConnection, own.line.protocol).receiver)
        assert (forwarding.exchange.content, own.bodies) == (b"", [(b"x" * (SMALL + 1), True)])


def test_who_waits_for_100_continue_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with world(monkeypatch) as own:
        own.say(head(4, "Expect: 100-continue"))
        assert bytes(own.line.received).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        own.say(b"abcd")
        own.simulation.settle()
        assert own.bodies == [(b"abcd", True)]


@pytest.mark.parametrize("pieces", [[head(4)], [head(4), b"ab"]])
def test_a_client_that_leaves_meanwhile_leaves_nothing(monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]) -> None:
    with world(monkeypatch) as own:
        for piece in pieces:
            own.line.say(piece)
        own.line.reset()
        own.simulation.turn()
        (seen,) = own.simulation.seen_of(own.simulation.clients[0])
        assert (seen.ends, own.simulation.server.in_flight) == (["client_closed"], 0)
        assert own.writes == []
