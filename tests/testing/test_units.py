"""Hooks are called with what a gateway would call them with: nothing in the pure form is an imitation of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

import portico
from portico.core.errors import Refusal
from portico.plugin import BodyFilter, Exchange, Head, Policy, ResponseHead, Verdict, refuse
from portico.testing import make_context, make_exchange, make_policy, make_response, run_body


class BlockOldClients(Policy):
    """Refuses clients of an old version."""

    class Settings(portico.Settings):
        """What stands under `with`."""

        min_version: str

    settings: Settings

    def request(self, exchange: Exchange) -> Verdict:
        if exchange.headers.get("X-Version", "0") < self.settings.min_version:
            return refuse(403, "too_old", f"use version {self.settings.min_version}")
        exchange.upstream_headers.set("X-Checked", "yes")
        exchange.upstream_headers.remove("X-Version")
        return None

    def response(self, exchange: Exchange, head: ResponseHead) -> None:
        head.headers.set("X-Answered", f"{exchange.method} {head.status}")

    def body(self, exchange: Exchange, head: Head) -> BodyFilter | None:
        return Upper() if head.headers.get("Content-Type") == "text/plain" else None


class Upper:
    """Sends capitals, at the end only."""

    def __init__(self) -> None:
        self.kept = b""

    def feed(self, data: bytes) -> bytes:
        self.kept += data
        return b""

    def end(self) -> bytes:
        return self.kept.upper()


def test_a_request_hook_sees_a_request_and_edits_what_the_service_gets() -> None:
    policy = make_policy(BlockOldClients, min_version="2.1")
    old = make_exchange("GET", "/x", headers={"X-Version": "1.9"})
    verdict = policy.request(old)
    assert isinstance(verdict, Refusal)
    assert (verdict.status, verdict.reason, verdict.detail) == (403, "too_old", "use version 2.1")
    new = make_exchange("GET", "/x", headers={"X-Version": "2.2"})
    assert policy.request(new) is None
    assert new.upstream_headers.get("X-Checked") == "yes"
    assert "X-Version" not in new.upstream_headers
    assert new.headers.get("X-Version") == "2.2"


def test_an_exchange_has_all_that_hooks_may_read() -> None:
    exchange = make_exchange(
        "POST",
        "/a%20b?x=1&x=%32&y=",
        headers=[("Accept", "a"), ("accept", "b")],
        client_ip="2001:db8::1",
        consumer="ann",
        claims={"tenant": "t"},
        scopes=["read", "write"],
        route="orders",
        service="shop",
        status=200,
        reason="too_old",
    )
    assert (exchange.method, exchange.path, str(exchange.query)) == ("POST", "/a%20b", "x=1&x=%32&y=")
    assert (exchange.query.get_all("x"), exchange.query.get("y"), exchange.query.get("z")) == (["1", "2"], "", None)
    assert exchange.headers.get("Accept") == "a, b"
    assert (exchange.client_ip, exchange.consumer, exchange.scopes) == ("2001:db8::1", "ann", ("read", "write"))
    assert (exchange.claims, exchange.route, exchange.service) == ({"tenant": "t"}, "orders", "shop")
    assert (exchange.status, exchange.reason) == (200, "too_old")
    assert exchange.upstream_headers.get("X-Consumer-Username") == "ann"
    assert exchange.request_id != make_exchange().request_id
    exchange.state["seen"] = True
    assert exchange.state == {"seen": True}


def test_what_no_client_can_name_is_not_passed_on() -> None:
    """As in a gateway: fields that name the consumer are its own."""
    exchange = make_exchange(headers={"X-Consumer-Username": "root", "X-Other": "1"})
    assert "X-Consumer-Username" not in exchange.upstream_headers
    assert exchange.upstream_headers.get("X-Other") == "1"


@pytest.mark.parametrize(
    ("method", "target", "headers", "message"),
    [
        ("GET", "/a b", {}, "request line"),
        ("GET", "/", {"Content-Length": "x"}, "Content-Length"),
        ("GET", "/", {"X Y": "1"}, "field"),
        ("GET", "/", {"X": "1\r\nY: 2"}, "end of line"),
        ("CONNECT", "/", {}, "not offered"),
    ],
)
def test_what_no_client_can_send_is_an_error(method: str, target: str, headers: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_exchange(method, target, headers=headers)


def test_settings_are_checked_as_those_of_a_file() -> None:
    with pytest.raises(ValidationError, match="min_version"):
        make_policy(BlockOldClients)
    with pytest.raises(ValidationError, match="min_versoin"):
        make_policy(BlockOldClients, min_version="1", min_versoin="2")


def test_a_policy_has_its_context() -> None:
    policy = make_policy(BlockOldClients, min_version="1")
    assert policy.context.name == "BlockOldClients"
    assert policy.context.state == {}
    assert make_policy(BlockOldClients, min_version="1").context.state is not policy.context.state


def test_a_context_has_what_a_test_gives_it() -> None:
    context = make_context("mine", state={"seen": 1}, http=httpx.AsyncClient(transport=httpx.MockTransport(_teapot)))
    policy = make_policy(BlockOldClients, min_version="1", context=context)
    assert (policy.context.name, policy.context.state) == ("mine", {"seen": 1})
    assert asyncio.run(policy.context.http.get("http://nowhere.example/")).status_code == 418


def _teapot(request: httpx.Request) -> httpx.Response:
    return httpx.Response(418)


def test_its_metrics_can_be_read() -> None:
    context = make_context()
    counter = context.metrics.counter("checks", "How many were checked.", ["version"])
    context.metrics.histogram("waits", "Seconds.").observe(2)
    counter.inc(2, version="1")
    assert (context.metric("checks", version="1"), context.metric("checks_total", version="2")) == (2, 0)
    assert context.metric("waits") == 1
    with pytest.raises(LookupError, match="no metric check"):
        context.metric("check")


def test_a_response_hook_edits_a_head() -> None:
    head = make_response(404, {"Server": "x"})
    make_policy(BlockOldClients, min_version="1").response(make_exchange("HEAD", "/"), head)
    assert head.headers.get("X-Answered") == "HEAD 404"
    assert head.headers.get("Server") == "x"
    assert head.changed
    assert not head.is_own


def test_a_body_goes_through_a_filter() -> None:
    policy, exchange = make_policy(BlockOldClients, min_version="1"), make_exchange()
    text = make_response(200, [("Content-Type", "text/plain")])
    assert run_body(policy.body(exchange, text), b"ab", b"c") == b"ABC"
    assert run_body(policy.body(exchange, make_response()), b"ab", b"c") == b"abc"


def test_an_async_hook_is_awaited() -> None:
    class Waiting(Policy):
        async def request(self, exchange: Exchange) -> Verdict:
            await asyncio.sleep(0)
            return refuse(429, "too_many", "wait")

    verdict = asyncio.run(make_policy(Waiting).request(make_exchange()))
    assert verdict is not None
    assert verdict.status == 429


def test_no_pytest_is_needed_for_it() -> None:
    """The pure form works under unittest as well: only the fixture loads pytest."""
    script = "import sys, portico.testing as t; t.make_exchange(); assert 'pytest' not in sys.modules; t.nothing"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "module 'portico.testing' has no attribute 'nothing'" in done.stderr


def test_the_fixture_is_among_its_names() -> None:
    import portico.testing

    names: Any = portico.testing.__all__
    assert all(hasattr(portico.testing, name) for name in names)
