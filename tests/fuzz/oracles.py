"""What must hold of every run, whatever came in; each oracle raises AssertionError with a sentence."""

from __future__ import annotations

from .left_over import check_bounds, check_end, check_faults, check_pools
from .passed_on import check_passed_on
from .sent_back import check_client
from .simulation import Simulation


def check_all(simulation: Simulation) -> None:
    """Everything, for a case that has been played; ends the case's world."""
    check_faults(simulation)
    check_bounds(simulation)
    check_passed_on(simulation)
    for client in simulation.clients:
        check_client(simulation, client)
    check_pools(simulation)
    simulation.expire()
    check_end(simulation)
    check_faults(simulation)
