"""The load, as a process."""

from __future__ import annotations

from support.commands import python
from support.cores import LOAD
from support.process import Job

from . import outcome
from .load import OUTCOMES, TIMEOUT
from .outcome import Outcome

_GRACE = 30.0


class _Asking(Job):
    """One of the modules that ask; what became of their requests is in a file."""

    def outcomes(self, within: float) -> list[Outcome]:
        self.result(within)
        return outcome.read(self.directory / OUTCOMES)


class LoadProcess(_Asking):
    """The steady load on the gateways at these ports, `most` seconds at most; its small answers are `urls` many."""

    def __init__(self, ports: list[int], most: float, urls: int = 0) -> None:
        super().__init__(*_module("load", most, urls, *ports))

    def finish(self) -> list[Outcome]:
        """Let every client end what it is at; all outcomes."""
        self.running.terminate()
        return self.outcomes(3 * TIMEOUT)


def asked(seconds: float, name: str, *arguments: object) -> list[Outcome]:
    """What became of the requests of `flood` or `open_loop`, which goes on for so long, on the cores of the load."""
    with _Asking(*_module(name, *arguments), cores=LOAD) as asking:
        return asking.outcomes(seconds + _GRACE)


def _module(name: str, *arguments: object) -> list[str]:
    return python(f"chaos.{name}", *arguments)
