"""Policies that fail: what it costs, and what it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from portico.plugin import Exchange, Head, Policy, RefusedError, ResponseHead, refuse
from portico.policies.plugins.hooks import BLOCKING

from .scene import OK, RESPONSES, STREAM, Scene, chunked, get, post, scene
from .test_response_hooks import Noted

FAULTS: dict[str, Callable[[], BaseException]] = {
    "exception": ValueError,
    "cancelled": asyncio.CancelledError,
    "stop": StopIteration,
    "recursion": RecursionError,
    "exit": SystemExit,
    "interrupt": KeyboardInterrupt,
    "generator": GeneratorExit,
    "other": type("Other", (BaseException,), {}),
}
"""Each test has one of its own: an exception keeps the frames alive out of which it came."""


class Failing(Policy):
    """Raises in the hooks that it is told."""

    def __init__(self, *hooks: str, error: BaseException | None = None) -> None:
        self.hooks = hooks
        self.error = error or ValueError("no")
        self.ends = 0

    def _at(self, hook: str) -> None:
        if hook in self.hooks:
            raise self.error

    def request(self, exchange: Exchange) -> None:
        self._at("request")

    def response(self, exchange: Exchange, head: ResponseHead) -> None:
        self._at("response")
        self._at("own" if head.is_own else "service")

    def body(self, exchange: Exchange, head: Head) -> Any:
        self._at("body")
        self._at("request body" if head.status is None else "response body")
        return _Filter(self, "up" if head.status is None else "down")

    def finished(self, exchange: Exchange) -> None:
        self.ends += 1
        self._at("finished")


class _Filter:
    """Fails at its second piece, or at the end."""

    def __init__(self, policy: Failing, way: str) -> None:
        self.policy = policy
        self.way = way
        self.pieces = 0

    def feed(self, data: bytes) -> bytes:
        self.pieces += 1
        self.policy._at(f"{self.way} {self.pieces}")
        return data

    def end(self) -> bytes:
        self.policy._at(f"{self.way} end")
        return b""


def refused(own: Scene, policy: str = "Failing") -> bool:
    """Whether the only response is the refusal of a failed policy."""
    response = own.response()
    assert response.status == 500
    assert b'"reason":"policy_failed"' in response.body
    assert f'"policy":"{policy}"'.encode() in response.body
    assert own.exchange().reason == "policy_failed"
    return response.complete


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", RESPONSES)
@pytest.mark.parametrize("hook", ["request", "response", "body", "response body", "down 1", "down end"])
def test_a_failure_before_a_byte_has_gone_is_answered(hook: str, kind: str, fault: str) -> None:
    policy = Failing(hook, error=FAULTS[fault]())
    with scene(policy, answers=[RESPONSES[kind]]) as own:
        own.ask(get())
        if (hook, kind) == ("down end", "until close"):  # it comes behind bytes that have gone
            assert not own.response().complete
        else:
            assert refused(own)
        named = "body" if "down" in hook or "body" in hook else hook
        assert own.failures() == [("Failing", named, type(policy.error).__name__)]
    assert policy.ends == 1


@pytest.mark.parametrize("hook", ["request body", "up 1", "up end"])
@pytest.mark.parametrize("sent", [[post("abcd")], [post("abcd")[:-2], "cd"], ["chunked"]])
def test_a_failure_in_a_requests_body_is_answered(hook: str, sent: list[str]) -> None:
    if sent == ["chunked"]:
        sent = [get("/api/open/x", "Transfer-Encoding: chunked", method="POST"), chunked("ab", "cd")]
    policy = Failing(hook)
    with scene(policy) as own:
        own.ask(*sent)
        assert refused(own)
        assert own.failures() == [("Failing", "body", "ValueError")]
        assert not [request for request in own.requests if request.complete]
    assert policy.ends == 1


def test_a_failure_while_a_request_is_sent_ends_it_at_the_service() -> None:
    with scene(Failing("up 2")) as own:
        own.ask(get("/api/open/x", "Transfer-Encoding: chunked", method="POST"), "2\r\nab\r\n", "2\r\ncd\r\n")
        assert refused(own)
        assert own.service.line.lost
        assert own.failures() == [("Failing", "body", "ValueError")]


def streamed(own: Scene) -> None:
    """A response whose first piece has gone to the client."""
    own.say(get())
    own.service.line.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
    own.simulation.turn()
    assert own.received().endswith(b"\r\n\r\n2\r\nok\r\n")


@pytest.mark.parametrize("hook", ["down 2", "down end"])
@pytest.mark.parametrize("skip", [False, True])
def test_a_failure_behind_bytes_that_have_gone_breaks_the_response(hook: str, skip: bool) -> None:
    with scene(Failing(hook), answers=[], skip=skip) as own:
        streamed(own)
        own.service.line.say(b"2\r\nno\r\n0\r\n\r\n")
        own.simulation.turn()
        assert not own.response().complete
        assert own.simulation.clients[0].line.lost
        assert (own.exchange().status, own.exchange().reason) == (200, "policy_failed")
        assert own.failures() == [("Failing", "body", "ValueError")]


@pytest.mark.parametrize("hook", ["request", "response", "body"])
@pytest.mark.parametrize("kind", RESPONSES)
def test_a_failure_may_be_skipped(hook: str, kind: str) -> None:
    calls: list[Any] = []
    with scene(Failing(hook), Noted("b", calls), answers=[RESPONSES[kind]], skip=True) as own:
        own.ask(get())
        assert own.outcome() == (200, b"ok")
        assert own.failures() == [("Failing", hook, "ValueError")]
    assert calls[:2] == ["b request", "b response 200"]


@pytest.mark.parametrize("hook", ["up 1", "up end", "down 1", "down end"])
def test_a_filter_that_fails_is_not_skipped(hook: str) -> None:
    """Part of a body is worse than none."""
    with scene(Failing(hook), skip=True) as own:
        own.ask(post("abcd"))
        assert refused(own)
        assert own.failures() == [("Failing", "body", "ValueError")]


@pytest.mark.parametrize("skip", [False, True])
def test_a_hook_that_fails_on_a_refusal_replaces_it_or_not(skip: bool) -> None:
    with scene(Failing("own"), dials="r", skip=skip) as own:
        own.ask(get())
        assert own.response().status == (502 if skip else 500)
        assert own.failures() == [("Failing", "response", "ValueError")]


def test_a_failure_at_the_end_costs_nothing() -> None:
    calls: list[Any] = []
    with scene(Noted("a", calls), Failing("finished"), Noted("b", calls)) as own:
        own.ask(get() + get())
        assert [each.status for each in own.responses()] == [200, 200]
        assert own.failures() == [("Failing", "finished", "ValueError")] * 2
    assert calls[-2:] == ["b finished 200", "a finished 200"]


def test_the_next_request_is_served() -> None:
    with scene(Failing("response"), answers=[OK, STREAM]) as own:
        own.ask(get() + get("/livez") + get())
        assert [each.status for each in own.responses()] == [500, 200, 500]
        assert len(own.failures()) == 2


# ---- what is returned wrongly


class Returning(Policy):
    """Returns what it is told."""

    def __init__(self, hook: str, value: Callable[[], Any]) -> None:
        self.hook = hook
        self.value = value

    def _at(self, hook: str) -> Any:
        return self.value() if hook == self.hook else None

    def request(self, exchange: Exchange) -> Any:
        return self._at("request")

    def response(self, exchange: Exchange, head: ResponseHead) -> Any:
        return self._at("response")

    def body(self, exchange: Exchange, head: Head) -> Any:
        if self.hook in ("feed", "end") and head.status is not None:
            return self
        return self._at("body")

    def feed(self, data: bytes) -> Any:
        return self._at("feed") if self.hook == "feed" else data

    def end(self) -> Any:
        return self._at("end") if self.hook == "end" else b""


async def nothing() -> None:
    """A coroutine where none may be."""


WRONG: dict[str, Callable[[], Any]] = {
    "a number": lambda: 200,
    "text": lambda: "no",
    "an object": object,
    "a coroutine": nothing,
    "None": lambda: None,
    "True": lambda: True,
}


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("hook", ["request", "response", "body", "feed", "end"])
@pytest.mark.parametrize("kind", RESPONSES)
def test_what_may_not_be_returned_is_a_failure(hook: str, value: str, kind: str) -> None:
    fine = (value == "None" and hook in ("request", "response", "body")) or (
        value == "a coroutine" and hook == "request"
    )
    with scene(Returning(hook, WRONG[value]), answers=[RESPONSES[kind]]) as own:
        own.ask(get())
        if (hook, kind) == ("end", "until close"):
            assert not own.response().complete
        else:
            assert own.response().status == (200 if fine else 500)
        named = "body" if hook in ("feed", "end") else hook
        assert own.failures() == ([] if fine else [("Returning", named, "TypeError")])


@pytest.mark.parametrize("value", [bytearray(b"made"), memoryview(b"made"), type("Bytes", (bytes,), {})(b"made")])
def test_other_bytes_are_bytes(value: Any) -> None:
    with scene(Returning("feed", lambda: value)) as own:
        own.ask(get())
        assert own.outcome() == (200, b"made")


# ---- asynchronous ones


class Later(Policy):
    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    async def request(self, exchange: Exchange) -> Any:
        return await self.make()

    async def close(self) -> None:
        """There is one, so its exchanges are counted."""


async def long() -> None:
    await asyncio.sleep(1000)


async def wrong() -> str:
    return "no"


async def broken() -> None:
    await asyncio.sleep(0.1)
    raise ValueError


async def cancelled() -> None:
    raise asyncio.CancelledError


async def leaving() -> None:
    await asyncio.sleep(0.1)
    raise SystemExit(3)


async def interrupted() -> None:
    raise KeyboardInterrupt


LATER = {
    leaving: "ProcessExitError",
    interrupted: "ProcessExitError",
    long: "NoneType",
    wrong: "TypeError",
    broken: "ValueError",
    cancelled: "CancelledError",
}


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("make", LATER)
def test_one_that_waits_and_fails_is_answered_or_skipped(make: Callable[[], Any], skip: bool) -> None:
    with scene(Later(make), skip=skip) as own:
        own.say(post("abcd"))
        own.pass_time(0.9)
        own.pass_time(0.2)
        own.simulation.settle()
        assert own.response().status == (200 if skip else 500)
        assert own.failures() == [("Later", "request", LATER[make])]


@pytest.mark.parametrize("begun", [False, True])
def test_one_that_waits_is_cancelled_with_its_client(begun: bool) -> None:
    with scene(Later(long)) as own:
        if begun:
            own.say(get())
            assert own.running == [1]
            own.reset()
        else:

            def come_and_go() -> None:
                own.connection().data_received(get().encode())
                own.connection().turn.process()
                own.simulation.clients[0].line.cut = True
                own.simulation.clients[0].line._lose(ConnectionResetError())

            own.simulation.loop.call_soon(come_and_go)
        own.simulation.turn()
        assert own.exchange().status == 499
        assert own.running == [0]


# ---- slow ones


def slow(*args: Any) -> Any:
    """Takes longer than the loop may be blocked."""
    time.monotonic.__self__.now += BLOCKING * 2  # type: ignore[attr-defined]  # the simulation's clock


class Slow(Policy):
    def __init__(self, hook: str) -> None:
        self.hook = hook

    def _at(self, hook: str) -> None:
        if hook == self.hook:
            slow()

    def request(self, exchange: Exchange) -> None:
        self._at("request")

    def response(self, exchange: Exchange, head: ResponseHead) -> None:
        self._at("response")

    def body(self, exchange: Exchange, head: Head) -> Any:
        self._at("body")
        return self if head.status is not None else None

    def feed(self, data: bytes) -> bytes:
        self._at("feed")
        return data

    def end(self) -> bytes:
        self._at("end")
        return b""

    def finished(self, exchange: Exchange) -> None:
        self._at("finished")


@pytest.mark.parametrize("hook", ["request", "response", "body", "feed", "end", "finished"])
def test_one_that_blocks_the_loop_is_named(hook: str) -> None:
    with scene(Slow(hook)) as own:
        own.ask(get())
        assert own.outcome() == (200, b"ok")
        named = "body" if hook in ("feed", "end") else hook
        assert own.failures() == [("Slow", named, "BlockingIOError")]


@pytest.mark.parametrize("at", [0, 1])
def test_an_async_one_that_blocks_the_loop_is_named(at: int) -> None:
    """Before it first waits, and after that; what it waits for is no matter."""

    async def step() -> None:
        for index in range(2):
            if index == at:
                slow()
            await asyncio.sleep(0.2)

    with scene(Later(step)) as own:
        own.say(get())
        for _ in range(4):
            own.pass_time(0.2)
        own.simulation.settle()
        assert own.outcome() == (200, b"ok")
        assert own.failures() == [("Later", "request", "BlockingIOError")]


# ---- what is not theirs


def test_nobody_adds_claims_to_those_who_have_none() -> None:
    class Grants(Policy):
        def request(self, exchange: Exchange) -> None:
            assert not exchange.claims
            exchange.claims["admin"] = True  # type: ignore[index]

    with scene(Grants()) as own:
        own.ask(get() + get())
        assert own.failures() == [("Grants", "request", "TypeError")] * 2


@pytest.mark.parametrize("detail", ["\ud800", "tab\tand\nline"])
def test_a_refusal_may_say_anything(detail: str) -> None:
    with scene(Returning("request", lambda: refuse(400, "odd", detail))) as own:
        own.ask(get())
        assert own.response().status == 400
        assert own.exchange().reason == "odd"
        assert own.failures() == []


@pytest.mark.parametrize("refusal", [lambda: refuse(400, "odd", 5), lambda: RefusedError("no")])  # type: ignore[arg-type]
def test_what_is_no_refusal_is_a_failure_where_it_is_made(refusal: Callable[[], Any]) -> None:
    with scene(Returning("feed", refusal)) as own:
        own.ask(get())
        assert refused(own, "Returning")
        assert own.failures() == [("Returning", "body", "TypeError")]
