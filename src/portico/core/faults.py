"""Faults: unexpected exceptions, and what they may cost.

The event loop serves thousands of connections in turn. What one of them raises is caught in the loop over them, so
that it ends only that one, is reported with its traceback, and none of those after it is skipped.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from typing import Final, Protocol

logger: Final = logging.getLogger("portico.faults")

FAULTS: Final = (Exception, CancelledError)
"""What a callback may raise: outside of a task, CancelledError is just what a cancelled future raises."""


class Faultable(Protocol):
    """Something that can end itself, or start again, after a fault."""

    def faulted(self) -> None:
        """It raised a fault, which was reported: end it, and nothing else."""


def described(error: BaseException) -> str:
    """Its kind and its text, if it has any: others' exceptions may fail even at that."""
    try:
        text = str(error)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def contain(item: Faultable, event: str = "a connection failed in a way that nobody foresaw") -> None:
    """Limit the fault that is being handled to `item`; to be called where it is caught."""
    logger.exception(event)
    try:
        item.faulted()
    except FAULTS:
        logger.exception("it could not be ended as it should")
