"""Faults: exceptions that nobody foresaw, and what they may cost.

The event loop serves thousands of connections in turn. What one of them raises is caught where they are gone through,
so that it costs that one, is reported with its traceback, and nobody behind it is left out.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from typing import Final, Protocol

logger: Final = logging.getLogger("portico.faults")

FAULTS: Final = (Exception, CancelledError)
"""What may come out of a callback: outside of a task, CancelledError is just what a cancelled future raises."""


class Faultable(Protocol):
    """Something that can end by itself, or begin anew, after a fault."""

    def faulted(self) -> None:
        """A fault came out of it, and was reported: end it, and nothing else."""


def contain(item: Faultable, event: str = "a connection failed in a way that nobody foresaw") -> None:
    """Have the fault that is being handled cost `item` alone; to be called where it is caught."""
    logger.exception(event)
    try:
        item.faulted()
    except FAULTS:
        logger.exception("it could not be ended as it should")
