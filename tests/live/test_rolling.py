"""SIGUSR1: every worker is replaced, and no client notices."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from support.backend import Backend, Connection
from support.client import Wire, request
from support.frames import CLOSE, TEXT, Frame
from support.scripts import sends_halves
from support.traffic import config, traffic
from support.websocket import WebSocket, echo
from support.world import Gateway, until

RESTART = b"\x03\xf4"


def said(gateway: Gateway, words: str) -> bool:
    return any(words in event["event"] for event in gateway.events())


def roll(gateway: Gateway) -> None:
    """Replace all workers, and wait until the old ones have gone."""
    gateway.wait_for_control()
    old = set(gateway.workers())
    gateway.signal(signal.SIGUSR1)
    until(lambda: said(gateway, "all workers are new"), "the rolling restart is over")
    begun = [each for each in gateway.events() if each["event"] == "rolling restart: workers are replaced"]
    assert begun[-1]["reason"] == "SIGUSR1"
    new = set(gateway.workers())
    assert len(new) == len(old)
    assert not new & old


class Mixed:
    """A service: a WebSocket, an answer whose second half waits for a command, and others at once."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def __call__(self, connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            if asked.target == "/halves":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
                assert self.go_on.wait(60)
                connection.send(b"half")
            else:
                connection.answer(b"12345")


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_lost_under_load(backend: Backend, workers: int) -> None:
    """New connections, kept ones, a download under way and readiness all go on; a WebSocket is closed with 1012."""
    backend.script = mixed = Mixed()
    over = threading.Event()
    kept: list[tuple[int, str | None]] = []
    unready: list[int] = []

    def keep_alive() -> None:
        while not over.is_set():
            with Wire(gateway.port) as wire:
                answer = None
                while not over.is_set() and (answer is None or answer.get("connection") != "close"):
                    answer = wire.ask("GET", "/api/echo/x")
                    kept.append((answer.status, answer.get("connection")))

    def watch() -> None:
        with Wire(gateway.port) as wire:
            while not over.wait(0.02):
                answer = wire.ask("GET", "/readyz")
                unready.extend([answer.status] if answer.status != 200 else [])
                if answer.get("connection") == "close":
                    return

    with Backend(echo) as sockets:
        written = config(backend, workers)
        written["services"]["ws"] = sockets
        with (
            Gateway(written) as gateway,
            traffic(gateway.port, lambda: not over.is_set()) as driven,
            gateway.wire() as running,
            WebSocket(gateway.port, "/api/ws/x") as ws,
        ):
            clients = [threading.Thread(target=each) for each in (keep_alive, keep_alive, watch)]
            for client in clients:
                client.start()
            running.send(request("GET", "/api/echo/halves"))
            assert running.file.readline() == b"HTTP/1.1 200 OK\r\n"
            ws.say(TEXT, b"hello")
            assert ws.next_frame() == Frame(TEXT, b"hello")
            try:
                gateway.wait_for_control()
                old = set(gateway.workers())
                gateway.signal(signal.SIGUSR1)
                until(lambda: old - set(gateway.workers()), "the first worker takes no connections any more")
                mixed.go_on.set()  # the second one, which may have the WebSocket, stays until the first has left
                frame = ws.next_frame()
                assert frame is not None
                assert (frame.opcode, frame.payload) == (CLOSE, RESTART)
                ws.say(CLOSE, frame.payload)
                assert running.rest().endswith(b"\r\n\r\nhalfhalf")
                until(lambda: said(gateway, "all workers are new"), "the rolling restart is over")
            finally:
                mixed.go_on.set()
                over.set()
                for client in clients:
                    client.join(20)
    assert driven.dropped == []
    assert not driven.refused.is_set()
    assert {status for status, _ in kept} | set(driven.statuses) == {200}
    assert "close" in {connection for _, connection in kept}, "some were asked to come anew"
    assert unready == []


def test_new_workers_know_the_newest_configuration_and_which_instances_are_down(backend: Backend) -> None:
    with Gateway(config(backend, 2)) as gateway:
        gateway.wait_for_control()
        dead = {"url": "http://127.0.0.1:9", "health_check": {"path": "/h", "interval": "100ms", "unhealthy_after": 1}}
        gateway.write({"gateway": {"workers": 2}, "services": {"later": backend, "dead": dead}})
        gateway.signal(signal.SIGHUP)
        until(lambda: gateway.get("/api/dead/x").status == 503, "it is known to be down")
        until(lambda: said(gateway, "reloaded"), "it is in use")
        roll(gateway)
        for _ in range(8):
            assert gateway.get("/api/later/x").status == 200
            assert gateway.get("/api/dead/x").json()["reason"] == "no_healthy_upstream"


def test_a_new_worker_that_does_not_come_up_ends_it(backend: Backend) -> None:
    with Gateway(config(backend, 2)) as gateway:
        gateway.wait_for_control()
        old = set(gateway.workers())
        (stored,) = gateway.directory.glob("portico-*/config")
        kept = stored.read_bytes()
        stored.write_bytes(b"1\nnonsense")
        gateway.signal(signal.SIGUSR1)
        until(lambda: said(gateway, "did not come up"), "an event says so")
        stored.write_bytes(kept)
        assert set(gateway.workers()) == old
        assert gateway.get("/api/echo/x").status == 200
        roll(gateway)
        gateway.clean = False  # the traceback was wanted


def test_one_that_died_meanwhile_and_a_stop_in_the_middle(backend: Backend) -> None:
    hold = threading.Event()
    backend.script = sends_halves(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", hold, b"done")
    with Gateway(config(backend, 2)) as gateway, gateway.wire() as running:
        gateway.wait_for_control()
        running.send(request("GET", "/api/echo/x"))
        assert running.file.readline() == b"HTTP/1.1 200 OK\r\n"
        family = gateway.family()
        gateway.signal(signal.SIGUSR1)
        until(lambda: said(gateway, "rolling restart"), "it has begun")
        until(lambda: set(gateway.family()) - set(family), "a new worker")
        gateway.signal(signal.SIGTERM)
        hold.set()
        assert running.rest().endswith(b"done")
        gateway.stop()
        assert gateway.family() == []


def test_a_hung_worker_is_replaced(backend: Backend) -> None:
    with Gateway(config(backend, 2, hang_timeout="1s")) as gateway:
        gateway.wait_for_control()
        hung = gateway.workers()[0]
        os.kill(hung, signal.SIGSTOP)
        until(lambda: hung not in gateway.family() and len(gateway.workers()) == 2, "another in its place")
        events = [event for event in gateway.events() if event["event"] == "a process hangs and is ended"]
        assert [int(event["pid"]) for event in events] == [hung]
        gateway.clean = False  # the error was wanted


def test_a_supervisor_that_stood_still_blames_nobody(backend: Backend) -> None:
    with Gateway(config(backend, 1, hang_timeout="1s")) as gateway:
        gateway.wait_for_control()
        family = gateway.family()
        gateway.signal(signal.SIGSTOP)
        over = threading.Event()
        over.wait(2.5)
        gateway.signal(signal.SIGCONT)
        until(lambda: gateway.get("/readyz").status == 200, "it serves")
        over.wait(1.5)
        assert gateway.family() == family


def test_a_sigterm_to_one_worker_costs_nothing(backend: Backend) -> None:
    """It is no stop of the gateway: the others serve, and another comes in its place."""
    with Gateway(config(backend, 2)) as gateway:
        gateway.wait_for_control()
        victim = gateway.workers()[0]
        over = threading.Event()
        with traffic(gateway.port, lambda: not over.is_set()) as driven:
            os.kill(victim, signal.SIGTERM)
            until(lambda: victim not in gateway.family() and len(gateway.workers()) == 2, "another in its place")
            over.set()
        assert driven.dropped == []
        assert set(driven.statuses) == {200}
