"""Connections are shared evenly by workers, and again after one of them was started anew."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.backend import Backend
from support.client import Wire
from support.messages import CutShortError
from support.proc import holder
from support.traffic import config
from support.world import Gateway, until

WORKERS = 3
EACH = 4


class Client:
    """One that asks again and again, and connects anew where its connection is closed."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.over = threading.Event()
        self.wire = Wire(gateway.port)
        self.statuses: list[int] = []
        self.lost = 0
        self.thread = threading.Thread(target=self._go_on)

    def _go_on(self) -> None:
        while not self.over.wait(0.002):
            try:
                answer = self.wire.ask("GET", "/api/echo/bytes/5")
            except (OSError, CutShortError):
                self.lost += 1
                is_last = True
            else:
                self.statuses.append(answer.status)
                is_last = answer.get("connection") == "close"
            if is_last:
                old, self.wire = self.wire, Wire(self.gateway.port)
                old.close()

    def at(self) -> int:
        """The worker that it is connected to; 0 while it connects."""
        try:
            return holder(self.wire.socket, self.gateway.workers())
        except (OSError, ProcessLookupError):
            return 0


@contextmanager
def clients(gateway: Gateway) -> Iterator[list[Client]]:
    """At work in the block."""
    some = [Client(gateway) for _ in range(WORKERS * EACH)]
    for client in some:
        client.thread.start()
    try:
        yield some
    finally:
        for client in some:
            client.over.set()
        for client in some:
            client.thread.join(20)
            client.wire.close()


def spread(some: list[Client]) -> list[int]:
    """How many of them each worker has, in order."""
    held = [client.at() for client in some]
    return sorted(held.count(pid) for pid in some[0].gateway.workers())


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Backend() as backend, Gateway(config(backend, WORKERS)) as running:
        running.wait_for_control()
        yield running


def test_workers_have_as_many_as_each_other(gateway: Gateway) -> None:
    with clients(gateway) as some:
        until(lambda: spread(some) == [EACH] * WORKERS, "all workers have as many")
    assert not any(client.lost for client in some)


def test_one_that_hangs_keeps_nobody_waiting(gateway: Gateway) -> None:
    victim = gateway.workers()[0]
    os.kill(victim, signal.SIGSTOP)
    try:
        for _ in range(WORKERS * EACH):
            with Wire(gateway.port) as wire:
                assert wire.ask("GET", "/api/echo/bytes/5").status == 200
    finally:
        os.kill(victim, signal.SIGCONT)


def test_after_one_was_started_again_it_gets_its_share(gateway: Gateway) -> None:
    """Those of the worker that was killed are at the others first; no connection is lost when these give them up."""
    with clients(gateway) as some:
        until(lambda: all(client.statuses for client in some), "all are served")
        victim = some[0].at()
        killed = sum(client.at() == victim for client in some)
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in gateway.workers(), "it has ended")
        until(lambda: len(gateway.workers()) == WORKERS, "another is there")
        until(lambda: min(spread(some)) >= EACH - 1, "the new worker has its share")
    assert sum(client.lost for client in some) <= killed
    assert {status for client in some for status in client.statuses} == {200}
