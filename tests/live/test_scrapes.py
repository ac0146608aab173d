"""Many requests for own endpoints at once: so many are admitted, and proxied traffic goes on."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from support.backend import Backend
from support.client import Wire, ask, request
from support.messages import Message
from support.metrics import samples
from support.world import Gateway, until

RUNNING, WAITING = 64, 448
"""Requests for one own endpoint that a worker may have under way, and those that may wait for that."""


@contextmanager
def held(pid: int) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def flood(stack: ExitStack, gateway: Gateway, target: str, count: int) -> list[Wire]:
    """So many requests on as many connections."""
    wires = [stack.enter_context(gateway.wire()) for _ in range(count)]
    for wire in wires:
        wire.send(request("GET", target))
    return wires


def answers(wires: list[Wire], count: int) -> dict[Wire, Message]:
    """The answers to those of them that have one, as soon as there are so many."""
    poll = select.poll()
    by_number = {wire.socket.fileno(): wire for wire in wires}
    for number in by_number:
        poll.register(number, select.POLLIN)
    until(lambda: len(poll.poll(0)) >= count, f"{count} are answered")
    return {by_number[number]: by_number[number].receive() for number, _ in poll.poll(0)}


CONFIG = {"workers": 1, "limits": {"hang_timeout": "1h"}}


@pytest.mark.parametrize("target", ["/metrics", "/health", "/"])
def test_so_many_requests_for_an_own_endpoint_and_no_more(backend: Backend, target: str) -> None:
    """While control does nothing they pile up; those that are too many are refused, and all else goes on."""
    with Gateway({"gateway": CONFIG, "services": {"echo": backend}}) as gateway, ExitStack() as stack:
        gateway.wait_for_control()
        with held(gateway.control()):
            wires = flood(stack, gateway, target, RUNNING + WAITING + 3)
            refused = answers(wires, 3)
            with gateway.wire() as other:
                assert other.ask("GET", "/api/echo/x").status == 200
                assert other.ask("GET", "/readyz").status == 200
            refused |= answers([wire for wire in wires if wire not in refused], WAITING + 3 - len(refused))
            for answer in refused.values():
                assert (answer.status, answer.json()["reason"]) == (503, "overloaded")
                assert answer.get("retry-after") == "1"
        assert [wire.receive().status for wire in wires if wire not in refused] == [200] * RUNNING
        assert gateway.get(target).status == 200, "there is room again"


def test_those_that_wait_are_answered_as_soon_as_that_is_possible(backend: Backend) -> None:
    with Gateway({"gateway": CONFIG, "services": {"echo": backend}}) as gateway, ExitStack() as stack:
        gateway.wait_for_control()
        wires = flood(stack, gateway, "/metrics", 2 * RUNNING)
        assert [wire.receive().status for wire in wires] == [200] * 2 * RUNNING


def test_callers_of_one_own_endpoint_do_not_use_up_the_limit_of_another(backend: Backend) -> None:
    with Gateway({"gateway": CONFIG, "services": {"echo": backend}}) as gateway, ExitStack() as stack:
        gateway.wait_for_control()
        with held(gateway.control()):
            answers(flood(stack, gateway, "/health", RUNNING + WAITING + 1), 1)
            scrape = flood(stack, gateway, "/metrics", 1)[0]
        assert scrape.receive().status == 200


def test_a_scrape_shows_what_was_answered_before_it_began(backend: Backend) -> None:
    """Also while many others scrape: a collection that was under way may have looked before."""
    with Gateway({"gateway": {"workers": 2}, "services": {"echo": backend}}) as gateway, ExitStack() as stack:
        gateway.wait_for_control()
        labels = ('method="GET"', 'service="echo"', 'status="200"')
        for number in range(1, 11):
            flood(stack, gateway, "/metrics", 8)
            assert ask(gateway.port, "GET", "/api/echo/x").status == 200
            page = gateway.get("/metrics")
            assert samples(page.body.decode())["gateway_requests_total", labels] == number
