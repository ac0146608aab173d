"""Forward-auth without sockets: what is asked behind proxies, and which answers decide what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from ipaddress import ip_network
from typing import Any, cast

import pytest

from portico.core.errors import Answer
from portico.core.exchange import Client, Exchange
from portico.core.messages import Fields
from portico.core.questions import Question, Reply, UnansweredError
from portico.policies.asking import AskedSettings
from portico.policies.auth import AuthSettings, build_auth
from portico.policies.auth.forward import ForwardSettings
from portico.policies.policy import Context, Policy, State
from portico.proxy.headers.forwarded import Peer

from .exchanges import exchange


class Said:
    """Answers questions: `asked` are those it got."""

    def __init__(self, status: int = 200, *lines: bytes, content: bytes = b"") -> None:
        self.asked: list[Question] = []
        names = [line.partition(b":")[0].lower() for line in lines]
        self.reply = Reply(status, Fields(names, list(lines)), frozenset(), content)

    def make(self, settings: AskedSettings) -> Any:
        return self

    async def __call__(self, question: Question) -> Reply:
        self.asked.append(question)
        if not self.reply.status:
            raise UnansweredError("it is away")
        return self.reply


def build(said: Said, **settings: Any) -> Policy:
    written = AuthSettings(forward=ForwardSettings(url="http://auth:9000/check", **settings))
    return build_auth(written, Context("gateway", State(said.make)))


def verdict(policy: Policy, asked: Exchange) -> Answer | None:
    """What it comes to, waited for if need be."""
    found = policy(asked)
    if found is None or isinstance(found, Answer):
        return found

    async def wait() -> Answer | None:
        return await cast(Awaitable[Answer | None], found)

    return asyncio.run(wait())


def test_behind_a_proxy_the_address_is_the_one_that_the_client_used() -> None:
    peer = Peer(Client("10.0.0.1", 8000, secure=False), (ip_network("10.0.0.0/8"),))
    lines = ("X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example", "X-Forwarded-Prefix: /eu")
    asked = exchange(*lines, "X-Forwarded-For: 192.0.2.9", peer=peer, trusted=True, client_ip="192.0.2.9")
    said = Said()
    assert verdict(build(said), asked) is None
    got = said.asked[0].lines
    for line in (
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: shop.example",
        b"X-Forwarded-Port: 443",
        b"X-Forwarded-Uri: /eu/",
        b"X-Forwarded-For: 192.0.2.9",
        b"X-Original-URL: https://shop.example/eu/",
    ):
        assert got.count(line) == 1, line
    assert len([line for line in got if line.lower().startswith((b"x-forwarded-", b"x-original-"))]) == 9


@pytest.mark.parametrize("status", [0, 304, 500, 502, 503, 599])
def test_these_decide_nothing(status: int) -> None:
    asked = exchange()
    answer = verdict(build(Said(status, b"X-User: u")), asked)
    assert answer is not None
    assert (answer.status, answer.reason) == (503, "auth_unavailable")
    assert (asked.consumer, asked.claims_or_token, asked.request_lines, asked.response_lines) == (None, None, (), ())


@pytest.mark.parametrize("status", [300, 302, 307, 400, 401, 403, 404, 429, 451])
def test_these_are_the_clients(status: int) -> None:
    lines = (b"Location: /login", b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"Connection: close", b"Date: then")
    asked = exchange()
    answer = verdict(build(Said(status, *lines, b"Content-Length: 2", content=b"no")), asked)
    assert answer is not None
    assert (answer.status, answer.body, answer.reason) == (status, b"no", "access_denied")
    assert answer.lines == [*lines[:3], b"Cache-Control: no-store"]
    assert asked.consumer is None


def test_a_remembered_decision_needs_no_waiting_and_is_of_nobody_else() -> None:
    said = Said(200, b"X-User: u", b"Set-Cookie: a=1")
    policy = build(said, pass_headers=["X-User"], response_headers=["Set-Cookie"], cache=10)
    first, again = (exchange("Cookie: session=1") for _ in "12")
    assert verdict(policy, first) is None
    assert policy(again) is None
    assert (first.response_lines, again.response_lines) == ((b"Set-Cookie: a=1",), ())
    assert (again.consumer, again.request_lines) == ("u", (b"X-Consumer-Username: u", b"X-User: u"))
    assert len(said.asked) == 1
    for number, asked in enumerate(
        (
            exchange("Cookie: session=2"),
            exchange("Cookie: session=1", client_ip="192.0.2.8"),
            exchange("Cookie: session=1", method="POST"),
            exchange("Cookie: session=1", host=b"other.example"),
            exchange("Cookie: session=1", query=b"?a"),
        )
    ):
        assert verdict(policy, asked) is None
        assert len(said.asked) == 2 + number
