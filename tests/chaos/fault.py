"""A fault as a thing to be run: what breaks, in which arrangements, and what is promised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .gateways import Start
from .row import Promise, Row


@dataclass(frozen=True)
class Fault:
    """One thing that breaks. `run` plays it in one arrangement of `starts`, and looks so many seconds before and after.

    With `leaves`, the broken instance has to be left before half of the fault is over; with `unmoved`, small requests
    may take no longer than before.
    """

    name: str
    run: Callable[[Fault, Start, float], Row]
    starts: tuple[Start, ...]
    promise: Promise
    leaves: bool = False
    unmoved: bool = False
