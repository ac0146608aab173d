"""The end of a gateway as clients and balancers see it."""

from __future__ import annotations

import signal
import threading

import pytest

from support.backend import Backend
from support.client import Wire
from support.traffic import config, traffic
from support.world import Gateway


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
