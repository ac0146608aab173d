"""One fault: an exception out of one call of the gateway's own code, and what it may cost."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import portico
from portico.core.faults import contain
from portico.proxy import gateway
from portico.proxy.cache import flights, recording
from portico.proxy.waiting import WaitingForPermit
from portico.upstreams.host_name import HostName
from portico.wire import deadlines
from portico.wire.deadlines import Deadlines
from portico.wire.frontend import Frontend
from portico.wire.http1.client import _contained
from portico.wire.turn import Turn, TurnProtocol

from .case import Answer
from .plan import TOKEN
from .simulation import Simulation

_SOURCE: Final = str(Path(portico.__file__).parent)
_BUILDING: Final = tuple(f"{_SOURCE}/{name}/" for name in ("config", "snapshot"))
_EXEMPT: Final = frozenset(
    each.__qualname__
    for each in (
        *(contain, _contained, Turn.process, Turn.plan, Turn.settle, Turn._write),
        *(TurnProtocol.process_all, TurnProtocol.write_all, Deadlines._insert, Deadlines._remove, deadlines._slot),
        *(flights._proceed, recording._advance),
        *(HostName.answered, WaitingForPermit.finished, Frontend.release, gateway._some_ids),
    )
)
"""What contains faults itself, or cannot fail in any way but by being called."""
_GOOD: Final = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class InjectedError(Exception):
    """Nobody foresees it."""


class Injector:
    """Raises out of the call that has the number `at` of those that the gateway's code makes.

    With 0 it raises none, and keeps the numbers of the calls by the functions that call and are called.
    """

    def __init__(self, at: int) -> None:
        self.at = at
        self.calls = 0
        self.where = ""
        self.sites: dict[tuple[CodeType, CodeType], list[int]] = {}

    def spread(self, tries: int) -> list[int]:
        """The numbers of so many calls of each function by each other at most, from the first to the last of them."""
        numbers = {
            calls[(2 * nth + 1) * len(calls) // (2 * tries)] for calls in self.sites.values() for nth in range(tries)
        }
        return sorted(numbers)

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        code, caller = frame.f_code, frame.f_back
        if not code.co_filename.startswith(_SOURCE) or code.co_filename.startswith(_BUILDING):
            return
        if caller is None or not caller.f_code.co_filename.startswith(_SOURCE):
            return  # what the loop calls is where faults are contained
        if code.co_qualname.partition(".<locals>")[0] in _EXEMPT or code.co_name == "<genexpr>":
            return
        self.calls += 1
        if not self.at:
            self.sites.setdefault((caller.f_code, code), []).append(self.calls)
        if self.calls == self.at:
            self.where = f"{code.co_filename.removeprefix(_SOURCE)} {code.co_qualname}"
            raise InjectedError(self.where)


@contextmanager
def fault(at: int) -> Iterator[Injector]:
    """Inject it in what runs meanwhile; 0 for none."""
    injector, before = Injector(at), sys.gettrace()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a policy that nobody came to wait for
        sys.settrace(injector)
        try:
            yield injector
        finally:
            sys.settrace(before)


def check_contained(simulation: Simulation, injector: Injector) -> None:
    """The fault was reported, and nobody but the one client ever notices."""
    where = injector.where
    assert not simulation.loop.faults, f"{where}: the loop caught {simulation.loop.faults}"
    if where:
        reports = [line for line in simulation.events.lines if "InjectedError" in line]
        assert reports, f"{where}: nobody reported it"
        assert all("Traceback" in line for line in reports), f"{where}: reported without a traceback"
    _check_others_are_served(simulation, where)
    simulation.expire()
    assert simulation.server.in_flight == 0, f"{where}: {simulation.server.in_flight} in flight after all"
    assert not simulation.server.connections, f"{where}: a client's connection that never ends"
    assert all(service.line.lost for service in simulation.services), f"{where}: a service's connection that never ends"
    assert sum(instance.in_flight for instance in simulation.instances) in (0, 1), f"{where}: instances stay busy"
    caches = simulation.builder.caches
    assert not caches.flights.leading, f"{where}: what nobody fetches is waited for"
    assert caches.room.used == 0, f"{where}: {caches.room.used} bytes of what nobody fetches"
    for client in simulation.clients:
        for seen in simulation.seen_of(client):
            assert len(seen.ends) <= 1, f"{where}: an exchange ended {len(seen.ends)} times"


def _check_others_are_served(simulation: Simulation, where: str) -> None:
    """Clients after the fault, to whatever service."""
    simulation.case.answers[:] = [Answer(_GOOD)]
    simulation.case.dials = "o"
    paths = [f"/api/{service}/1" for service in simulation.config.services]
    for path in (*paths, "/livez"):
        request = f"GET {path} HTTP/1.1\r\nHost: a\r\nX-Key: new\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        newcomer = simulation.connect([request.encode()])
        simulation.settle()
        received = bytes(newcomer.line.received)
        assert received.startswith(b"HTTP/1.1 200"), f"{where}: a new client of {path} got {received[:80]!r}"
