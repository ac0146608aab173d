"""More than a service, or the worker, can take: refused at once, or a short wait; nothing is left over."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from support.backend import Backend, Connection, content
from support.beside import repeated
from support.client import Wire, request
from support.messages import Message
from support.metrics import page
from support.websocket import SWITCHING, WebSocket
from support.world import Gateway, until


class Gate:
    """A service that holds every request for `/held` until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            if asked.target.endswith("/held"):
                self.open.wait(20)
            connection.answer(asked.target.encode())


@pytest.fixture
def gate() -> Iterator[Gate]:
    own = Gate()
    yield own
    own.open.set()


def problem(answer: Message) -> str:
    """What an overloaded gateway says."""
    assert answer.status == 503
    assert answer.json()["reason"] == "overloaded"
    assert answer.get("retry-after") == "1"
    detail: str = answer.json()["detail"]
    return detail


def hold(stack: ExitStack, gateway: Gateway, backend: Backend, path: str, count: int) -> list[Wire]:
    """So many requests that are under way at the service."""
    before = len(backend.targets())
    wires = [stack.enter_context(gateway.wire()) for _ in range(count)]
    for wire in wires:
        wire.send(request("GET", path))
    until(lambda: len(backend.targets()) == before + count, "the service has them")
    return wires


def gauges(gateway: Gateway, service: str) -> dict[str, float]:
    return {name[8:]: value for (name, labels), value in page(gateway).items() if labels == (f'service="{service}"',)}


def service(backend: Backend, **more: Any) -> dict[str, Any]:
    return {"url": backend.url, "health_check": False, **more}


def test_beyond_max_requests_the_service_receives_nothing(gate: Gate) -> None:
    with Backend(gate) as backend, Gateway({"services": {"a": service(backend, max_requests=3)}}) as gateway:
        gateway.wait_for_control()
        with ExitStack() as stack:
            wires = hold(stack, gateway, backend, "/api/a/held", 3)
            with gateway.wire() as late:
                for _ in range(3):
                    assert "a has too much to do" in problem(late.ask("GET", "/api/a/late"))
                problem(late.ask("POST", "/api/a/late", body=content(100_000)))
                assert late.ask("GET", "/livez").status == 200
            assert gauges(gateway, "a") == {
                "service_in_flight": 3,
                "service_limit": 3,
                "service_waiting": 0,
                "overloaded_total": 4,
            }
            gate.open.set()
            assert [wire.receive().status for wire in wires] == [200] * 3
        assert gateway.get("/api/a/late").status == 200
        assert backend.targets().count("/late") == 1


def test_a_client_that_leaves_releases_its_permit(gate: Gate) -> None:
    with Backend(gate) as backend, Gateway({"services": {"a": service(backend, max_requests=2)}}) as gateway:
        with ExitStack() as stack:
            hold(stack, gateway, backend, "/api/a/held", 2)
            problem(gateway.get("/api/a/late"))
        until(lambda: gateway.get("/api/a/late").status == 200, "the permits are free")


def test_every_end_releases_the_permit(gate: Gate) -> None:
    """Whatever becomes of a request: more of them than there are permits, one after the other."""

    def ill(connection: Connection) -> None:
        asked = connection.next_request()
        assert asked is not None
        match asked.target:
            case "/reset":
                connection.reset()
            case "/garbage":
                connection.send(b"no HTTP\r\n\r\n")
            case "/short":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            case "/slow":
                connection.wait_for_end()
            case "/503":
                connection.answer(b"", "503 Busy")
            case _:
                connection.answer(b"fine")

    settings = {"max_requests": 2, "retries": 1}
    dead = {"url": "http://127.0.0.1:1", "health_check": False, **settings}
    hasty = {"service": "a", "path": "/hasty", "timeout": {"response": "100ms"}}
    with (
        Backend(ill) as backend,
        Gateway({"services": {"a": service(backend, **settings), "dead": dead}, "routes": [hasty]}) as gateway,
    ):
        for path, status in (("api/a/reset", 502), ("api/a/garbage", 502), ("hasty/slow", 504), ("api/a/503", 503)):
            for _ in range(3):
                assert gateway.get(f"/{path}").status == status
        for _ in range(3):
            with gateway.wire() as wire:
                wire.send(request("GET", "/api/a/short"))
                assert wire.rest().endswith(b"half")
            with gateway.wire() as wire:
                wire.send(request("POST", "/api/a/x", "Transfer-Encoding: chunked") + b"no chunk\r\n")
                assert wire.receive().status == 400
            assert gateway.get("/api/dead/x").status == 502
        assert gateway.get("/api/a/x").body == b"fine"


def test_a_queue_is_served_in_order_and_has_an_end(gate: Gate) -> None:
    settings = {"max_requests": 1, "queue": {"size": 3, "timeout": "20s"}}
    with Backend(gate) as backend, Gateway({"services": {"a": service(backend, **settings)}}) as gateway:
        gateway.wait_for_control()
        with ExitStack() as stack:
            (first,) = hold(stack, gateway, backend, "/api/a/held", 1)
            waiting = []
            for number in range(3):
                wire = stack.enter_context(gateway.wire())
                wire.send(request("POST", f"/api/a/{number}", body=content(50_000)))
                waiting.append(wire)
                until(lambda: gauges(gateway, "a")["service_waiting"] == len(waiting), "it waits")
            problem(gateway.get("/api/a/late"))
            waiting.pop(1).__exit__(None, None, None)
            until(lambda: gauges(gateway, "a")["service_waiting"] == 2, "who left waits no more")
            assert len(backend.targets()) == 1
            gate.open.set()
            assert first.receive().status == 200
            assert [wire.receive().body for wire in waiting] == [b"/0", b"/2"]
            assert backend.targets() == ["/held", "/0", "/2"]
            assert [len(each.body) for each in backend.requests] == [0, 50_000, 50_000]


def test_a_request_that_is_queued_too_long_is_refused(gate: Gate) -> None:
    settings = {"max_requests": 1, "queue": {"size": 3, "timeout": "50ms"}}
    with (
        Backend(gate) as backend,
        Gateway({"services": {"a": service(backend, **settings)}}) as gateway,
        ExitStack() as stack,
    ):
        (first,) = hold(stack, gateway, backend, "/api/a/held", 1)
        with gateway.wire() as wire:
            for _ in range(5):
                problem(wire.ask("POST", "/api/a/x", body=content(1000)))
        gate.open.set()
        assert first.receive().status == 200
        assert gateway.get("/api/a/x").status == 200


def test_an_adaptive_limit_begins_with_its_least(gate: Gate) -> None:
    settings = {"max_requests": {"adaptive": {"least": 2, "most": 50}}}
    with (
        Backend(gate) as backend,
        Gateway({"services": {"a": service(backend, **settings)}}) as gateway,
        ExitStack() as stack,
    ):
        wires = hold(stack, gateway, backend, "/api/a/held", 2)
        problem(gateway.get("/api/a/late"))
        gate.open.set()
        assert [wire.receive().status for wire in wires] == [200, 200]
        for _ in range(200):
            assert gateway.get("/api/a/x").status == 200


def test_permits_outlive_reloads(gate: Gate) -> None:
    def config(most: int) -> dict[str, Any]:
        return {"services": {"a": service(backend, max_requests=most, versions={"v1": {}})}}

    with Backend(gate) as backend, Gateway(config(2)) as gateway, ExitStack() as stack:
        gateway.wait_for_control()
        wires = hold(stack, gateway, backend, "/api/a/held", 2)
        problem(gateway.get("/v1/a/late"))
        gateway.write(config(3))
        gateway.signal(1)
        until(lambda: gauges(gateway, "a")["service_limit"] == 3, "the new configuration holds")
        wires += hold(stack, gateway, backend, "/v1/a/held", 1)
        problem(gateway.get("/api/a/late"))
        gate.open.set()
        assert [wire.receive().status for wire in wires] == [200] * 3


def test_a_full_instance_is_passed_over(gate: Gate) -> None:
    with Backend(gate) as one, Backend(gate) as two:
        settings = {"instances": [one.url, two.url], "health_check": False, "max_connections": 2}
        with Gateway({"services": {"a": settings}}) as gateway, ExitStack() as stack:
            wires = []
            for _ in range(4):
                before = len(one.targets()) + len(two.targets())
                wires.append(stack.enter_context(gateway.wire()))
                wires[-1].send(request("GET", "/api/a/held"))
                until(lambda: len(one.targets()) + len(two.targets()) == before + 1, "a service has it")  # noqa: B023
            assert (len(one.targets()), len(two.targets())) == (2, 2)
            assert "connections" in problem(gateway.get("/api/a/late"))
            wires.pop(0).__exit__(None, None, None)
            until(lambda: gateway.get("/api/a/x").status == 200, "there is room again")
            gate.open.set()
            assert [wire.receive().status for wire in wires] == [200] * 3


def test_an_instance_never_has_more_connections_than_it_may(backend: Backend) -> None:
    settings = service(backend, max_connections=2)
    with Gateway({"services": {"a": settings}}) as gateway, ExitStack() as stack:
        wires = [stack.enter_context(gateway.wire()) for _ in range(4)]
        for _ in range(20):
            for wire in wires:
                wire.send(request("GET", "/api/a/bytes/10"))
            for wire in wires:
                assert wire.receive().status in (200, 503)
        assert len(backend.connections) == 2


def test_a_request_limit_of_the_worker_exempts_its_own_endpoints(gate: Gate) -> None:
    config = {"gateway": {"limits": {"requests": 2}}, "services": {}}
    with Backend(gate) as backend:
        config["services"] = {"a": service(backend), "b": service(backend)}
        with Gateway(config) as gateway, ExitStack() as stack:
            gateway.wait_for_control()
            wires = hold(stack, gateway, backend, "/api/a/held", 2)
            assert "the gateway has too much to do" in problem(gateway.get("/api/b/late"))
            for path in ("/livez", "/readyz", "/health", "/metrics", "/"):
                assert gateway.get(path).status == 200
            assert gauges(gateway, "b") == {"service_in_flight": 0, "overloaded_total": 1}
            gate.open.set()
            assert [wire.receive().status for wire in wires] == [200, 200]
            assert gateway.get("/api/b/late").status == 200


def test_open_websockets_hold_no_permit_but_a_connection() -> None:
    def switch(connection: Connection) -> None:
        asked = connection.next_request()
        assert asked is not None
        connection.send(SWITCHING)
        connection.wait_for_end()

    with Backend(switch) as backend:
        config = {
            "gateway": {"limits": {"requests": 1}},
            "services": {"a": service(backend, max_requests=1, max_connections=3)},
        }
        with Gateway(config) as gateway, ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(WebSocket(gateway.port, "/api/a/ws"))
            assert "connections" in problem(gateway.get("/api/a/x"))


@contextmanager
def stuttering(pid: int) -> Iterator[None]:
    """A process that is stopped most of the time: its event loop is always late."""

    def stutter() -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.08)
        os.kill(pid, signal.SIGCONT)

    with repeated(stutter, 0.01):
        yield


def test_a_worker_whose_loop_is_late_refuses_all_but_a_few_and_exempts_its_own_endpoints(gate: Gate) -> None:
    with Backend(gate) as backend:
        config = {"gateway": {"limits": {"lag": "10ms"}}, "services": {"a": service(backend)}}
        with Gateway(config) as gateway, ExitStack() as stack:
            gateway.wait_for_control()
            with gateway.wire() as wire, stuttering(gateway.workers()[0]):
                assert wire.ask("GET", "/api/a/x").status == 200, "who is alone is answered"
                wires = hold(stack, gateway, backend, "/api/a/held", 8)
                until(lambda: wire.ask("GET", "/api/a/x").status == 503, "the loop is late")
                for path in ("/livez", "/readyz", "/health"):
                    assert gateway.get(path).status == 200
            gate.open.set()
            assert [each.receive().status for each in wires] == [200] * 8
            assert gauges(gateway, "a")["overloaded_total"] >= 1
