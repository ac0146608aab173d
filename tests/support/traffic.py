"""Clients that connect anew for each request, to see whether any is dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .backend import Backend
from .client import Wire
from .waiting import until

_PAUSE = 0.01
"""Seconds between the requests of a client: some hundred a second leave room for what happens meanwhile."""


class Traffic:
    """What came of their requests; `goes_on` decides before each."""

    def __init__(self, port: int, goes_on: Callable[[], bool]) -> None:
        self.port = port
        self.goes_on = goes_on
        self.statuses: list[int] = []
        self.dropped: list[Exception] = []
        self.refused = threading.Event()
        self.threads = [threading.Thread(target=self._drive) for _ in range(6)]

    def _drive(self) -> None:
        while self.goes_on():
            try:
                wire = Wire(self.port)
            except OSError:
                self.refused.set()
                return
            try:
                with wire:
                    self.statuses.append(wire.ask("GET", "/api/echo/bytes/5").status)
            except Exception as error:
                self.dropped.append(error)
            time.sleep(_PAUSE)


@contextmanager
def traffic(port: int, goes_on: Callable[[], bool] = lambda: True) -> Iterator[Traffic]:
    """Under way in the block; awaited behind it."""
    driven = Traffic(port, goes_on)
    for thread in driven.threads:
        thread.start()
    until(lambda: len(driven.statuses) > 50, "requests are served")
    yield driven
    for thread in driven.threads:
        thread.join(40)


def config(backend: Backend, workers: int, **limits: Any) -> dict[str, Any]:
    """A gateway that they can ask."""
    return {"gateway": {"workers": workers, "limits": limits}, "services": {"echo": backend}}
