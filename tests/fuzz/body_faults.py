"""Faults on routes that change bodies: four clients with ten requests, and what a fault may cost them."""

from __future__ import annotations

from collections.abc import Sequence

from portico.config import Config

from .case import Answer, Case
from .injection import check_contained, fault
from .simulation import Simulation
from .test_faults import BUSY

_WANTED = (3, 3, 2, 2)
"""How many answers each client of a smooth case gets."""


def smooth(clients: list[str], answers: list[Answer]) -> Case:
    """Services and clients do as they should."""
    return Case(clients, answers, [40, 1000], "0C1C2C3C..t..")


def rough(clients: list[str], ok: Answer, pieces: Answer) -> Case:
    """The service refuses, breaks off in the middle and closes; a client breaks off, too."""
    cut = Answer(ok.raw[:-3], end="close")
    answers = [ok, BUSY, pieces, cut, Answer("", end="reset")]
    return Case(clients, answers, [40, 1000], "0C1C2C3C4C..4x.tT..", dials="olro")


def check_faults(case: Case, config: Config, step: int, changed: bytes = b"") -> None:
    """Play a case with a fault in every `step`th call.

    In a smooth one five answers of ten have `changed` where nothing fails, and one client at most misses some else.
    """
    with Simulation(case, config=config) as simulation, fault(0) as injector:
        simulation.play()
    if changed:
        received = b"".join(bytes(client.line.received) for client in simulation.clients)
        assert sum(_answers(simulation)) == sum(_WANTED)
        assert received.count(changed) >= 5
    for at in range(1, injector.calls, step):
        with Simulation(case, config=config) as simulation:
            with fault(at) as injector:
                simulation.play()
            if changed:
                missed = [had < wanted for had, wanted in zip(_answers(simulation), _WANTED, strict=True)]
                assert sum(missed) <= 1, f"{injector.where}: clients {missed} missed an answer"
            check_contained(simulation, injector)


def _answers(simulation: Simulation) -> Sequence[int]:
    return [bytes(client.line.received).count(b"HTTP/1.1 200") for client in simulation.clients]
