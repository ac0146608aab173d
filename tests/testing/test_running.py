"""Policies in a gateway before a scripted service, as their authors test them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

import portico
from portico.plugin import BodyFilter, Exchange, Head, Policy, ResponseHead, Verdict, refuse
from portico.testing import Received, Reply, RunningGateway, StartGateway, gateway, make_policy

__all__ = ["gateway"]

OLD = {"X-Version": "1"}


class Marks(Policy):
    """Says to both sides that it was here, in a word of its settings; waits, so that it is async."""

    class Settings(portico.Settings):
        """What stands under `with`."""

        word: str = "marked"

    settings: Settings

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def open(self) -> None:
        self.calls.append("open")

    async def close(self) -> None:
        self.calls.append("close")

    async def request(self, exchange: Exchange) -> Verdict:
        await asyncio.sleep(0)
        if exchange.headers.get("X-Version") == "1":
            return refuse(403, "too_old", "use another version")
        exchange.upstream_headers.add("X-Mark", self.settings.word)
        return None

    def response(self, exchange: Exchange, head: ResponseHead) -> None:
        head.headers.add("X-Mark", self.settings.word)

    def finished(self, exchange: Exchange) -> None:
        self.calls.append(f"{exchange.status} {exchange.reason}")


def test_a_request_goes_through_the_policy_to_the_service_and_back(gateway: StartGateway) -> None:
    running = gateway(Marks, word="x")
    running.service.answer(201, {"made": 1}, {"Location": "/7"})
    response = running.client.post("/things?a=1", json={"name": "n"})
    assert (response.status_code, response.json(), response.headers["X-Mark"]) == (201, {"made": 1}, "x")
    (received,) = running.service.requests
    assert (received.method, received.target, received.json()) == ("POST", "/things?a=1", {"name": "n"})
    assert received.headers.get("X-Mark") == "x"


def test_a_refusal_is_in_the_log_and_the_service_hears_nothing(gateway: StartGateway) -> None:
    running = gateway(Marks)
    response = running.client.get("/", headers=OLD)
    assert (response.status_code, response.json()["reason"]) == (403, "too_old")
    assert [(each.status_code, each.reason) for each in running.log] == [(403, "too_old")]
    assert running.service.requests == []


def test_its_life_is_that_of_the_gateway() -> None:
    policy = make_policy(Marks)
    with RunningGateway([policy]) as running:
        running.client.get("/")
        running.client.get("/", headers=OLD)
    assert policy.calls == ["open", "200 None", "403 too_old", "close"]


def test_policies_pass_in_order_and_back_in_reverse(gateway: StartGateway) -> None:
    running = gateway(make_policy(Marks, word="a"), make_policy(Marks, word="b"))
    assert running.client.get("/").headers.get_list("X-Mark") == ["b", "a"]
    assert running.service.requests[0].headers.get_all("X-Mark") == ["a", "b"]


def test_configured_policies_come_before_it(gateway: StartGateway) -> None:
    running = gateway(Marks, config={"policies": {"rate_limit": {"requests_per_minute": 1, "burst": 1}}})
    assert [running.client.get("/").status_code for _ in range(2)] == [200, 429]
    assert len(running.service.requests) == 1


def test_options_say_where_it_stands(gateway: StartGateway) -> None:
    auth = {"auth": {"jwt": {"secret": "0123456789abcdef0123456789abcdef"}}}
    assert gateway(Marks, config={"policies": auth}).client.get("/", headers=OLD).status_code == 401
    before = gateway(Marks, config={"policies": auth}, options={"before": "auth"})
    assert before.client.get("/", headers=OLD).status_code == 403


def test_options_say_what_becomes_of_its_failures(gateway: StartGateway) -> None:
    class Late(Policy):
        async def request(self, exchange: Exchange) -> None:
            await asyncio.sleep(60)

    options = {"timeout": 0.01, "on_error": "skip"}
    assert gateway(Late, options=options).client.get("/").status_code == 200
    with pytest.raises(ValidationError, match="on_eror"):
        gateway(Late, options={"on_eror": "skip"})


def test_it_looks_things_up_with_a_client_of_its_own(gateway: StartGateway) -> None:
    class Asks(Policy):
        async def request(self, exchange: Exchange) -> None:
            answer = await self.context.http.get(str(exchange.query.get("at")))
            exchange.upstream_headers.set("X-Answer", answer.text)

    other = gateway()
    other.service.answer(200, "forty-two")
    running = gateway(Asks)
    assert running.client.get("/", params={"at": f"{other.url}/question"}).status_code == 200
    assert running.service.requests[0].headers.get("X-Answer") == "forty-two"
    assert other.service.requests[0].target == "/question"


def test_a_trusted_client_says_where_it_comes_from(gateway: StartGateway) -> None:
    running = gateway(Marks, config={"gateway": {"trusted_proxies": ["127.0.0.1/32"]}})
    running.client.get("/", headers={"X-Forwarded-For": "198.51.100.7"})
    assert running.log[0].client_ip == "198.51.100.7"


def test_a_policy_that_cannot_open_fails_the_test() -> None:
    class Closed(Policy):
        async def open(self) -> None:
            raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"), RunningGateway([make_policy(Closed)]):
        pass


def test_a_hook_that_raises_is_an_event(gateway: StartGateway) -> None:
    class Broken(Policy):
        def request(self, exchange: Exchange) -> None:
            raise LookupError("nothing there")

    running = gateway(Broken)
    response = running.client.get("/")
    assert (response.status_code, response.json()["reason"]) == (500, "policy_failed")
    assert running.metric("gateway_policy_errors_total", policy="Broken", hook="request", kind="exception") == 1
    assert any(event.exc_info and "nothing there" in str(event.exc_info[1]) for event in running.events)


def test_what_policies_count_can_be_read(gateway: StartGateway) -> None:
    class Counts(Policy):
        async def open(self) -> None:
            self.ends = self.context.metrics.counter("ends", "Ends.", ["status"])

        def finished(self, exchange: Exchange) -> None:
            self.ends.inc(status=exchange.status)

    running = gateway(Counts, Counts)
    running.client.get("/")
    assert (running.metric("ends", status=200), running.metric("ends_total", status=404)) == (2, 0)
    with pytest.raises(LookupError, match="no policy has defined the metric end"):
        running.metric("end")


# ---- what the service says


def test_it_answers_as_a_function_says(gateway: StartGateway) -> None:
    running = gateway(Marks)

    async def script(request: Received) -> Reply:
        await asyncio.sleep(0)
        return Reply(
            404 if request.target == "/no" else 200, request.body, [("Set-Cookie", "a=1"), ("Set-Cookie", "b")]
        )

    running.service.script = script
    response = running.client.post("/yes", content=b"x" * 300_000)
    assert (response.status_code, response.content) == (200, b"x" * 300_000)
    assert response.headers.get_list("Set-Cookie") == ["a=1", "b"]
    running.service.script = lambda request: Reply(418, request.method)
    assert running.client.get("/no").text == "GET"


@pytest.mark.parametrize(("status", "method"), [(204, "GET"), (304, "GET"), (200, "HEAD"), (200, "GET")])
def test_it_answers_without_a_body(gateway: StartGateway, status: int, method: str) -> None:
    running = gateway(Marks)
    running.service.answer(status)
    for _ in range(2):
        response = running.client.request(method, "/")
        assert (response.status_code, response.content) == (status, b"")


class Upper(Policy):
    """A filter that passes every piece on."""

    def body(self, exchange: Exchange, head: Head) -> BodyFilter:
        return self

    def feed(self, data: bytes) -> bytes:
        return data.upper()

    def end(self) -> bytes:
        return b""


@pytest.mark.parametrize("policy", [Marks, Upper])
def test_a_stream_comes_as_it_is_sent(policy: type[Policy], gateway: StartGateway) -> None:
    running, go_on = gateway(policy), threading.Event()

    async def events() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.to_thread(go_on.wait)
        yield b"two"

    running.service.answer(200, headers={"Content-Type": "text/event-stream"}, chunks=events())
    with running.client.stream("GET", "/") as response:
        pieces = response.iter_raw()
        assert next(pieces).lower() == b"one"
        go_on.set()
        assert next(pieces).lower() == b"two"
        assert list(pieces) == []


def test_a_body_that_breaks_is_broken_for_the_client(gateway: StartGateway) -> None:
    running = gateway(Marks)
    running.service.answer(200, chunks=[b"a", b"b"], breaks=True)
    with pytest.raises(httpx.RemoteProtocolError):
        running.client.get("/")


def test_what_a_script_raises_fails_the_test() -> None:
    def script(request: Received) -> Reply:
        raise AssertionError(f"not expected: {request.method}")

    def ask() -> int:
        with RunningGateway([make_policy(Marks)]) as running:
            running.service.script = script
            return running.client.get("/").status_code

    with pytest.raises(AssertionError, match="not expected: GET"):
        ask()


def test_a_client_of_ones_own_finds_it(gateway: StartGateway) -> None:
    running = gateway(Marks)

    async def both() -> list[Any]:
        async with httpx.AsyncClient(base_url=running.url, trust_env=False) as client:
            return [each.status_code for each in await asyncio.gather(client.get("/a"), client.get("/b"))]

    assert asyncio.run(both()) == [200, 200]
