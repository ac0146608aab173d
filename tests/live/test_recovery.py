"""Instances that fail and are well again: an active check that passes brings them back, whatever they had to wait."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from support.backend import Backend, Connection, Script
from support.breakers import CLOSED, OPEN, changes, openings, state, states
from support.instance_process import InstanceProcess
from support.world import Gateway, until


class Part:
    """How an instance behaves: to checks at `/health`, and to all other requests, each by a script for one of them."""

    def __init__(self) -> None:
        self.check: Script = well
        self.request: Script = well
        self.checks = self.requests = 0

    def __call__(self, connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            if asked.target == "/health":
                self.checks += 1
                self.check(connection)
            else:
                self.requests += 1
                self.request(connection)


def well(connection: Connection) -> None:
    connection.answer(b"fine")


def busy(connection: Connection) -> None:
    connection.answer(b"busy", "503 Busy")


def reset(connection: Connection) -> None:
    connection.reset()
    raise ConnectionResetError


class Scripted:
    """An instance that does to all requests what a script says, checks included."""

    def __init__(self, script: Script) -> None:
        self.part = Part()
        self._bad = script
        self.backend = Backend(self.part)

    def __enter__(self) -> Scripted:
        self.backend.__enter__()
        self.port = self.backend.port
        return self

    def __exit__(self, *_: object) -> None:
        self.backend.close()

    def spoil(self) -> None:
        self.part.check = self.part.request = self._bad

    def mend(self) -> None:
        self.part.check = self.part.request = well

    def count(self) -> int:
        return self.part.requests


class Killed(InstanceProcess):
    """A process that gets SIGKILL and is started again."""

    def spoil(self) -> None:
        self.kill()

    def mend(self) -> None:
        self.start()


class Stopped(InstanceProcess):
    """A process that gets SIGSTOP and goes on: no check fails, since its time is not over by then."""

    def spoil(self) -> None:
        self.pause()

    def mend(self) -> None:
        self.resume()


def service(*ports: int, **passive: Any) -> dict[str, Any]:
    """Breakers stay open for an hour: only a check can close them. None counts as down before."""
    return {
        "instances": [f"http://127.0.0.1:{port}" for port in ports],
        "health_check": {"path": "/health", "interval": "100ms", "timeout": "1h", "unhealthy_after": 100},
        "timeout": {"connect": "500ms", "response": "500ms"},
        "passive_health": {"failures": 3, "open_for": "1h", **passive},
    }


@contextlib.contextmanager
def running(*ports: int, workers: int = 2, **passive: Any) -> Iterator[Gateway]:
    config = {"gateway": {"workers": workers}, "services": {"s": service(*ports, **passive)}}
    with Gateway(config) as gateway:
        gateway.wait_for_control()
        yield gateway


def opened(gateway: Gateway) -> int:
    """How often breakers opened, in all workers."""
    return changes(gateway).count("breaker open")


@pytest.mark.parametrize(
    "victim",
    [
        pytest.param(lambda: Killed("b"), id="kill"),
        pytest.param(lambda: Stopped("b"), id="stop"),
        pytest.param(lambda: Scripted(reset), id="reset"),
        pytest.param(lambda: Scripted(busy), id="503"),
    ],
)
def test_what_failed_and_is_well_again_is_used_again(victim: Any) -> None:
    """Every worker has ejected it, for an hour; there is no other way back than by a check."""
    with InstanceProcess("a") as other, victim() as broken, running(other.port, broken.port) as gateway:
        until(lambda: gateway.get("/api/s/small/x").status == 200 and broken.count() > 0, "it gets requests")
        broken.spoil()
        until(lambda: gateway.get("/api/s/small/x").status and opened(gateway) >= 2, "both workers have ejected it")
        broken.mend()
        back = broken.count() + 10
        until(lambda: gateway.get("/api/s/small/x").status == 200 and broken.count() > back, "it gets requests again")
        until(lambda: gateway.get("/api/s/small/x").status == 200 and states(gateway) == [{"active": 2}] * 2)


def test_an_ejection_that_no_check_saw_a_reason_for_ends_with_the_next_check() -> None:
    """One worker of two has seen three requests fail, between two checks as it were."""
    part = Part()

    def fails_three_times(connection: Connection) -> None:
        (busy if part.requests <= 3 else well)(connection)

    part.request = fails_three_times
    with InstanceProcess("a") as a, Backend(part) as b, running(a.port, b.port) as gateway, gateway.wire() as wire:
        until(lambda: wire.ask("GET", "/api/s/small/x").status and opened(gateway), "one worker has ejected it")
        until(lambda: wire.ask("GET", "/api/s/small/x").status == 200 and part.requests > 10, "it gets requests again")
        assert changes(gateway) == ["breaker open", "breaker half-open", "breaker closed"]
        assert states(gateway) == [{"active": 2}, {"active": 2}]


def test_checks_that_see_nothing_of_what_is_wrong_cost_one_request() -> None:
    """The instance fails requests and passes its checks: it is tried once, and then left alone until a check fails."""
    part = Part()
    part.request = busy
    with InstanceProcess("a") as a, Backend(part) as b, running(a.port, b.port, workers=1) as gateway:

        def ask() -> int:
            return gateway.get("/api/s/small/x").status

        until(lambda: ask() and part.requests == 4, "three requests have it ejected, and one tries it")
        checks = part.checks
        until(lambda: ask() == 200 and part.checks > checks + 5)
        assert part.requests == 4
        assert changes(gateway) == ["breaker open", "breaker half-open", "breaker open"]
        assert (state(gateway, b), openings(gateway, b)) == (OPEN, 2)
        part.request, part.check = well, busy
        checks = part.checks
        until(lambda: part.checks > checks + 1, "a check fails")
        part.check = well
        until(lambda: ask() == 200 and part.requests > 10, "it gets requests again")
        assert state(gateway, b) == CLOSED


def test_a_control_process_that_comes_later_knows_what_is_ejected() -> None:
    with InstanceProcess("a") as a, Scripted(reset) as broken, running(a.port, broken.port) as gateway:
        gateway.clean = False
        broken.spoil()
        until(lambda: gateway.get("/api/s/small/x").status and opened(gateway) >= 2, "both workers have ejected it")
        os.kill(gateway.control(), signal.SIGKILL)
        gateway.wait_for_control()
        broken.mend()
        back = broken.count() + 10
        until(lambda: gateway.get("/api/s/small/x").status == 200 and broken.count() > back, "it gets requests again")
