"""The supervisor and its children: who dies, who is missed, who is started again."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from support.backend import Backend, Connection, content
from support.client import Wire, request
from support.messages import CutShortError
from support.portico import run_portico
from support.scripts import sends_halves
from support.world import Gateway, alive, until


def config(backend: Backend, workers: int = 1, **more: Any) -> dict[str, Any]:
    return {"gateway": {"workers": workers, **more}, "services": {"echo": backend}}


class Slow:
    """A script that answers `/slow` on command, everything else at once."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            if asked.target == "/slow":
                self.arrived.set()
                assert self.go_on.wait(30)
            connection.answer(b"done")


@pytest.fixture
def slow(backend: Backend) -> Iterator[Slow]:
    script = Slow()
    backend.script = script
    yield script
    script.go_on.set()


def answers(gateway: Gateway, target: str = "/api/echo/bytes/5") -> bool:
    try:
        return gateway.get(target).status == 200
    except OSError:
        return False
    except Exception:  # a connection that a dying worker cut
        return False


def test_a_killed_worker_is_replaced(backend: Backend) -> None:
    with Gateway(config(backend, workers=2)) as gateway:
        gateway.wait_for_control()
        before = gateway.workers()
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(gateway.workers()) == 2 and before[0] not in gateway.workers(), "a new worker")
        assert before[1] in gateway.workers()
        until(lambda: all(answers(gateway) for _ in range(20)), "everything is served")
        assert any("started again" in event["event"] for event in gateway.events())


def test_the_only_worker_killed_again_and_again(backend: Backend) -> None:
    with Gateway(config(backend)) as gateway:
        for _ in range(3):
            until(lambda: gateway.workers() and answers(gateway), "it serves")
            victim = gateway.workers()[0]
            os.kill(victim, signal.SIGKILL)
            until(lambda dead=victim: gateway.workers() and dead not in gateway.workers(), "a new worker")  # type: ignore[misc]
        until(lambda: answers(gateway), "it serves")


def test_without_the_control_process_traffic_goes_on(backend: Backend) -> None:
    with Gateway(config(backend)) as gateway:
        gateway.wait_for_control()
        worker, control = gateway.workers(), gateway.control()
        with gateway.wire() as wire:
            os.kill(control, signal.SIGSTOP)  # hung first: nothing of its may be on the way of a request
            try:
                for _ in range(50):
                    assert wire.ask("GET", "/api/echo/bytes/5").body == content(5)
                assert wire.ask("GET", "/livez").status == 200
                assert wire.ask("GET", "/readyz").status == 200
            finally:
                os.kill(control, signal.SIGKILL)
            for _ in range(200):
                assert wire.ask("GET", "/api/echo/bytes/5").body == content(5)
        until(lambda: gateway.get("/health").status == 200, "/health is back")
        assert gateway.control() != control
        assert gateway.workers() == worker
        (back,) = until(lambda: [each for each in gateway.events() if each["event"] == "control serves again"])
        assert (int(back["pid"]), back["away"][-1]) == (gateway.control(), "s")
        until(
            lambda: b'method="GET",service="echo",status="200"' in gateway.get("/metrics").body, "and so are the counts"
        )


def test_sigterm_lets_a_running_request_finish(backend: Backend, slow: Slow) -> None:
    with Gateway(config(backend)) as gateway, gateway.wire() as running, gateway.wire() as idle, gateway.wire() as half:
        assert idle.ask("GET", "/livez").status == 200
        half.send(b"GET /api/echo/x HTTP/1.1\r\n")
        running.send(request("GET", "/api/echo/slow"))
        assert slow.arrived.wait(20)
        gateway.signal(signal.SIGTERM)
        assert idle.rest() == b"", "an idle connection is closed"
        until(lambda: _turns_away(gateway.port), "new connections are refused", 5)
        half.send(b"Host: x\r\n\r\n")
        late = half.receive()
        assert (late.status, late.get("connection")) == (200, "close"), "a request that had begun is served"
        slow.go_on.set()
        answer = running.receive()
        assert (answer.status, answer.body) == (200, b"done")
        assert answer.get("connection") == "close"
        assert running.rest() == b""
        gateway.stop()
        assert {line["status_code"] for line in gateway.log()} == {200}


def test_a_response_under_way_is_drained_whole(backend: Backend) -> None:
    signalled = threading.Event()
    backend.script = sends_halves(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", signalled, b"half")
    with Gateway(config(backend)) as gateway, gateway.wire() as wire:
        wire.send(request("GET", "/api/echo/x"))
        assert wire.file.readline() == b"HTTP/1.1 200 OK\r\n"
        gateway.signal(signal.SIGTERM)
        until(lambda: any("stopping" in event["event"] for event in gateway.events()), "it is stopping")
        signalled.set()
        assert wire.rest().endswith(b"\r\n\r\nhalfhalf")
        gateway.stop()


def test_a_request_that_does_not_end_is_cut_in_the_end(backend: Backend, slow: Slow) -> None:
    with Gateway(config(backend, limits={"drain_timeout": "300ms"})) as gateway, gateway.wire() as wire:
        wire.send(request("GET", "/api/echo/slow"))
        assert slow.arrived.wait(20)
        gateway.stop()
        answer = wire.receive()
        assert (answer.status, answer.json()["reason"]) == (503, "drain_timeout")
        assert wire.rest() == b""


def _turns_away(port: int) -> bool:
    """Refused, or answered that it is no longer ready: either lets a balancer go elsewhere. Silence does not."""
    try:
        with Wire(port) as wire:
            wire.socket.settimeout(1)
            answer = wire.ask("GET", "/readyz")
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    except (TimeoutError, CutShortError):
        return False
    return answer.status == 503


def test_sigint_stops_it_too(backend: Backend) -> None:
    with Gateway(config(backend)) as gateway:
        family = gateway.family()
        gateway.signal(signal.SIGINT)
        assert gateway.running.wait(20) == 0
        assert not any(alive(pid) for pid in family)


def test_nothing_is_left_after_the_end(backend: Backend) -> None:
    with Gateway(config(backend, workers=2)) as gateway:
        gateway.wait_for_control()
        family = gateway.family()
        assert len(family) == 3
        assert list(gateway.directory.glob("portico-*")), "the sockets between its processes"
        gateway.stop()
        assert not any(alive(pid) for pid in family)
        assert not list(gateway.directory.glob("portico-*"))


def test_a_killed_supervisor_takes_its_children_along(backend: Backend) -> None:
    with Gateway(config(backend, workers=2)) as gateway:
        gateway.wait_for_control()
        family = gateway.family()
        gateway.running.kill()
        gateway.running.wait(20)
        until(lambda: not any(alive(pid) for pid in family), "all are gone")
        gateway.exit_code = -signal.SIGKILL


def test_a_changed_file_is_taken_over(backend: Backend, slow: Slow) -> None:
    """Requests that run, before and meanwhile, see nothing of it."""
    with Backend(name="other") as other, Gateway(config(backend, workers=2)) as gateway:
        gateway.wait_for_control()
        failures: list[object] = []
        over = threading.Event()

        def drive() -> None:
            with Wire(gateway.port) as wire:
                while not over.is_set():
                    answer = wire.ask("GET", "/api/echo/x")
                    if answer.status != 200:
                        failures.append(answer)

        drivers = [threading.Thread(target=drive) for _ in range(4)]
        with gateway.wire() as running:
            running.send(request("GET", "/api/echo/slow"))
            assert slow.arrived.wait(20)
            for driver in drivers:
                driver.start()
            try:
                services = {"echo": backend, "new": other}
                gateway.write({"gateway": {"workers": 2}, "services": services, "policies": {"cors": {}}})
                gateway.signal(signal.SIGHUP)
                until(lambda: all(answers(gateway, "/api/new/x") for _ in range(10)), "every worker knows it")
                assert gateway.get("/api/new/x").json()["backend"] == "other"
                assert gateway.get("/api/new/x").get("access-control-allow-origin") == "*"
                assert gateway.get("/").json()["services"] == ["echo", "new"]
                until(lambda: b"gateway_config_generation 2.0" in gateway.get("/metrics").body, "the metric says so")
                gateway.write({"gateway": {"workers": 2}, "services": {"echo": backend}})
                gateway.signal(signal.SIGHUP)
                until(lambda: all(gateway.get("/api/new/x").status == 404 for _ in range(10)), "and that it is gone")
            finally:
                over.set()
                for driver in drivers:
                    driver.join(20)
            slow.go_on.set()
            assert running.receive().body == b"done"
        assert failures == []


def test_a_broken_file_changes_nothing(backend: Backend) -> None:
    with Gateway(config(backend)) as gateway:
        gateway.wait_for_control()
        for text in ("services: {echo: {uri: http://127.0.0.1:1}}\n", "services: [\n", "services: {}\nrouts: []\n"):
            count = len(_errors(gateway))
            gateway.file.write_text(text)
            gateway.signal(signal.SIGHUP)
            until(lambda n=count: len(_errors(gateway)) > n, "an event says so")  # type: ignore[misc]
            assert "portico.yaml" in str(_errors(gateway)[-1])
            assert gateway.get("/api/echo/bytes/5").body == content(5)
        gateway.write(config(backend))
        gateway.signal(signal.SIGHUP)
        until(lambda: any("reloaded" in event["event"] for event in gateway.events()), "a good one is taken over again")
        assert gateway.get("/api/echo/bytes/5").body == content(5)
        until(lambda: answers(gateway), "it serves")
        gateway.clean = False  # the errors were wanted
        assert "Traceback" not in gateway.err()


def _errors(gateway: Gateway) -> list[dict[str, Any]]:
    return [event for event in gateway.events() if event["level"] == "ERROR"]


def test_a_new_worker_gets_the_newest_configuration(backend: Backend) -> None:
    with Gateway(config(backend)) as gateway:
        gateway.wait_for_control()
        gateway.write({"services": {"later": backend}})
        gateway.signal(signal.SIGHUP)
        until(lambda: answers(gateway, "/api/later/x"), "the new service is known")
        victim = gateway.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: gateway.workers() and victim not in gateway.workers(), "a new worker")
        until(lambda: answers(gateway, "/api/later/x"), "it knows the new service")
        os.kill(gateway.control(), signal.SIGKILL)
        until(lambda: answers(gateway, "/health"), "control is back")
        assert gateway.get("/").json()["services"] == ["later"]
        assert answers(gateway, "/api/later/x")


def test_a_taken_port_is_a_clear_message(backend: Backend, tmp_path: Any) -> None:
    file = tmp_path / "portico.yaml"
    file.write_text(f"gateway: {{host: 127.0.0.1, port: {backend.port}}}\nservices: {{a: {{url: '{backend.url}'}}}}\n")
    for done in (
        run_portico("run", "--config", str(file)),
        run_portico("run", GATEWAY_PORT=str(backend.port), GATEWAY_HOST="127.0.0.1", PORTICO_CONFIG=str(file)),
    ):
        assert done.returncode == 1
        assert f"127.0.0.1:{backend.port}" in done.stderr
        assert "in use" in done.stderr
        assert "GATEWAY_PORT" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_wrong_file_is_a_clear_message(tmp_path: Any) -> None:
    file = tmp_path / "portico.yaml"
    file.write_text("gateway:\n  host: 127.0.0.1\n  prot: 8000\nservices: {a: {url: 'http://127.0.0.1:1'}}\n")
    done = run_portico("run", "--config", str(file))
    assert done.returncode == 1
    assert f"{file}:3:3" in done.stderr
    assert "port" in done.stderr
    assert "Traceback" not in done.stderr
    assert run_portico("run", "--config", str(tmp_path / "none.yaml")).returncode == 1
    assert run_portico("run", "--no-such-option").returncode == 2


def test_no_request_fails_while_it_stops(backend: Backend) -> None:
    """Clients that connect anew for each request and go elsewhere when they are refused or asked to close.

    Each request is answered; no connection is accepted and then dropped.
    """
    with Gateway(config(backend, workers=2)) as gateway:
        served: list[int] = []
        dropped: list[BaseException] = []

        def drive() -> None:
            while True:
                try:
                    wire = Wire(gateway.port)
                except OSError:
                    return
                try:
                    with wire:
                        answer = wire.ask("GET", "/api/echo/bytes/5")
                except (OSError, CutShortError) as error:
                    dropped.append(error)
                    continue
                served.append(answer.status)
                if answer.get("connection") == "close":
                    return

        drivers = [threading.Thread(target=drive) for _ in range(6)]
        for driver in drivers:
            driver.start()
        until(lambda: len(served) > 100, "requests are served")
        gateway.signal(signal.SIGTERM)
        for driver in drivers:
            driver.join(40)
        gateway.stop()
        assert set(served) == {200}
        assert not dropped, f"{len(dropped)} dropped, the first with {dropped[0]!r}"
