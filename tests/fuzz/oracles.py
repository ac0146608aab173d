"""What must hold of every run, whatever came in; each oracle raises AssertionError with a sentence."""

from __future__ import annotations

from .house import House
from .left_over import check_bounds, check_end, check_faults, check_pools
from .passed_on import check_passed_on
from .sent_back import check_client


def check_all(house: House) -> None:
    """Everything, for a case that has been played; ends the case's world."""
    check_faults(house)
    check_bounds(house)
    check_passed_on(house)
    for client in house.clients:
        check_client(house, client)
    check_pools(house)
    house.expire()
    check_end(house)
    check_faults(house)
