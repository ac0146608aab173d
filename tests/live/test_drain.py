"""The end of a gateway as clients and balancers see it."""

from __future__ import annotations

import signal
import threading

import pytest

from support.backend import Backend, Connection
from support.client import Wire, request
from support.messages import read_head
from support.traffic import config, traffic
from support.world import Gateway


@pytest.mark.parametrize("workers", [1, 2])
def test_an_accepted_connection_is_served_to_the_very_end(backend: Backend, workers: int) -> None:
    """Clients that heed nothing and come until they are refused: no connection is accepted and then reset."""
    with Gateway(config(backend, workers)) as gateway:
        with traffic(gateway.port) as driven:
            gateway.signal(signal.SIGTERM)
        gateway.stop()
    assert driven.dropped == []
    assert set(driven.statuses) == {200}
    assert driven.refused.is_set()


def test_what_the_end_of_a_drain_cuts_is_logged_as_such(backend: Backend) -> None:
    """Nobody is called a client that left: the log says who ended it, and the status that the client saw."""
    begun = threading.Semaphore(0)

    def endless(connection: Connection) -> None:
        asked = connection.next_request()
        assert asked is not None
        if "stream" in asked.target:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        begun.release()
        connection.wait_for_end()

    backend.script = endless
    with (
        Gateway(config(backend, 1, drain_timeout="300ms")) as gateway,
        gateway.wire() as stream,
        gateway.wire() as late,
    ):
        stream.send(request("GET", "/api/echo/stream"))
        head = read_head(stream.file)
        assert head is not None
        late.send(request("GET", "/api/echo/late"))
        for _ in range(2):
            assert begun.acquire(timeout=20)
        gateway.signal(signal.SIGTERM)
        answer = late.receive()
        assert (answer.status, answer.json()["reason"]) == (503, "drain_timeout")
        assert answer.get("connection") == "close"
        assert not stream.rest().endswith(b"0\r\n\r\n"), "it is seen to be cut"
        gateway.stop()
        lines = {line["path"]: (line["status_code"], line["reason"]) for line in gateway.log()}
    assert lines["/api/echo/stream"] == (200, "drain_timeout")
    assert lines["/api/echo/late"] == (503, "drain_timeout")


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
