"""Gateways in which something fails, once for each time that the test wants it to."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from .portico import source

_START = """
import sys
from pathlib import Path

def once(mark=Path({mark!r})):
    '''Raise, in one process, if the test has made the fault since.'''
    try:
        mark.unlink()
    except FileNotFoundError:
        return
    raise RuntimeError("injected")

"""

_FAILING = """
from {module} import {owner}
own = {owner}.{name}
def failing(self, *arguments):
    once()
    return own(self, *arguments)
{owner}.{name} = failing
"""


def failing(module: str, method: str) -> str:
    """Code for a `Fault` that is in this method (`Class.method`), before it does anything."""
    owner, _, name = method.partition(".")
    return _FAILING.format(module=module, owner=owner, name=name)


class Fault:
    """Code that every process of a gateway runs first; where it calls `once`, that raises after each `inject`."""

    def __init__(self, directory: Path, code: str) -> None:
        self.mark = directory / "fault"
        (directory / "sitecustomize.py").write_text(_START.format(mark=str(self.mark)) + dedent(code))
        self.env = {"PYTHONPATH": f"{directory}:{source()}"}

    def inject(self) -> None:
        """Have it happen the next time."""
        self.mark.touch()

    def has_happened(self) -> bool:
        """Whether it has by now."""
        return not self.mark.exists()
