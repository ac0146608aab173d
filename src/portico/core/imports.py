"""Importing what a process keeps, without searching for garbage."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def kept() -> Iterator[None]:
    """For imports: what a program imports it keeps.

    To search it for garbage, meanwhile and once more at its end, would take a third of what a short command takes
    altogether.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def left_out(module: str) -> Iterator[None]:
    """Within the block, who imports this module is told that there is none, unless it was imported before.

    For parts of packages that these can do without, and nobody here wants.
    """
    if module in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules[module] = None
    try:
        yield
    finally:
        del modules[module]
