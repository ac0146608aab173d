"""Importing what a process keeps, without searching for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
