"""An exception that nobody foresaw, on a route with a mirror: it costs one client, and no copy's room for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from portico.config import Config
from portico.proxy.mirror import Mirror, Room

from .case import Answer, Case
from .injection import check_contained, fault
from .simulation import Simulation
from .test_faults import BUSY, CHUNKED, OK, answered, get, post, put

_WRITTEN: Final[dict[str, Any]] = {
    "services": {
        "plain": {"url": "http://plain.test:81", "health_check": False},
        "shadow": {
            "url": "http://192.0.2.80:81",
            "health_check": False,
            "max_requests": 3,
            "circuit_breaker": {"failures": 3, "open_for": 1},
        },
    },
    "routes": [{"service": "plain", "path": "/api/plain", "mirror": {"service": "shadow", "max_in_flight": 3}}],
}
CONFIG: Final = Config.model_validate(_WRITTEN)
STEP: Final = 37
"""Every so many calls one is tried: all of them takes minutes. Who changes how they are contained sets it to 1."""
_NOT_TAKEN_BACK: Final = Mirror.release.__qualname__
"""Where a fault takes the room with it: before it could be given back."""


def clients() -> list[str]:
    return [
        get("plain/1") + put("plain/2") + post("plain/3"),
        get("plain/4") + get("plain/5") + post("plain/6"),
        get("plain/7") + get("plain/8"),
        post("plain/9") + put("plain/10"),
    ]


def smooth() -> Case:
    return Case(clients(), [OK, CHUNKED], [40, 1000], "0C1C2C3C..t..")


def rough() -> Case:
    """The service and the mirror refuse, break off and close; a client breaks off, too."""
    closing = Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", end="close")
    answers = [OK, BUSY, CHUNKED, closing, Answer("", end="reset")]
    return Case([*clients(), get("plain/late")], answers, [40, 1000], "0C1C2C3C4C..4x.tT..", dials="olro")


def room(simulation: Simulation) -> Room:
    """What the simulated gateway keeps for the one mirror."""

    def make() -> Room:
        raise AssertionError("there is no such mirror")

    kept: Room = simulation.builder._state.keep(("mirror", "plain", "shadow", None), make)
    return kept


def calls_in(make: Callable[[], Case]) -> int:
    with Simulation(make(), config=CONFIG) as simulation, fault(0) as injector:
        simulation.play()
    copied = {outcome for _, _, outcome in simulation.gateway.metrics.mirrored.series}
    assert {"2xx", "busy"} <= copied
    return injector.calls


@pytest.mark.parametrize("make", [smooth, rough])
def test_a_fault_beside_copies(make: Callable[[], Case]) -> None:
    for at in range(1, calls_in(make), STEP):
        with Simulation(make(), config=CONFIG) as simulation:
            with fault(at) as injector:
                simulation.play()
            if make is smooth:
                missed = [had < wanted for had, wanted in zip(answered(simulation), [3, 3, 2, 2], strict=True)]
                assert sum(missed) <= 1, f"{injector.where}: clients {missed} missed an answer"
            check_contained(simulation, injector)
            taken = room(simulation).used
            assert taken == injector.where.endswith(_NOT_TAKEN_BACK), f"{injector.where}: room for {taken} is lost"
