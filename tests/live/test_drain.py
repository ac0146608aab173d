"""The end of a gateway as clients and balancers see it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.backend import Backend
from support.client import Wire
from support.world import Gateway, until


class Traffic:
    """Clients that connect anew for each request, `goes_on` deciding before each; what came of their requests."""

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


@contextmanager
def traffic(port: int, goes_on: Callable[[], bool] = lambda: True) -> Iterator[Traffic]:
    driven = Traffic(port, goes_on)
    for thread in driven.threads:
        thread.start()
    until(lambda: len(driven.statuses) > 50, "requests are served")
    yield driven
    for thread in driven.threads:
        thread.join(40)


def config(backend: Backend, workers: int, **limits: Any) -> dict[str, Any]:
    return {"gateway": {"workers": workers, "limits": limits}, "services": {"echo": backend}}


@pytest.mark.parametrize("workers", [1, 2])
def test_whoever_is_let_in_is_served_to_the_very_end(backend: Backend, workers: int) -> None:
    """Clients that heed nothing and come until they are refused: no connection is let in and then reset."""
    with Gateway(config(backend, workers)) as gateway:
        with traffic(gateway.port) as driven:
            gateway.signal(signal.SIGTERM)
        gateway.stop()
    assert driven.dropped == []
    assert set(driven.statuses) == {200}
    assert driven.refused.is_set()


def test_a_balancer_that_watches_readiness_sees_nothing_fail(backend: Backend) -> None:
    with Gateway(config(backend, 2, drain_delay="1s")) as gateway:
        unready = threading.Event()

        def watch() -> None:
            while not unready.wait(0.02):
                with Wire(gateway.port) as probe:
                    if probe.ask("GET", "/readyz").status == 503:
                        unready.set()

        with traffic(gateway.port, lambda: not unready.is_set()) as driven, gateway.wire() as kept:
            assert kept.ask("GET", "/api/echo/x").status == 200
            watching = threading.Thread(target=watch)
            watching.start()
            gateway.signal(signal.SIGTERM)
            assert unready.wait(20)
            answer = kept.ask("GET", "/api/echo/x")
            assert (answer.status, answer.get("connection")) == (200, None), "connections stay open during the delay"
            watching.join(20)
        gateway.stop()
    assert driven.dropped == []
    assert not driven.refused.is_set()
    assert set(driven.statuses) == {200}
