"""Tokens in a cookie or in the query: who is let in, and what services and logs see of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.backend import Backend
from support.messages import Message
from support.tokens import SECRET, bearer, token
from support.world import Gateway


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


@pytest.fixture(scope="module")
def gateway(service: Backend) -> Iterator[Gateway]:
    places = ["header", {"cookie": "access_token"}, {"query": "token"}]
    config = {
        "services": {"s": service},
        "policies": {"auth": {"jwt": {"secret": SECRET, "from": places}}, "cache": {"ttl": 60}},
    }
    with Gateway(config) as own:
        yield own


def told(answer: Message) -> tuple[str, str | None]:
    """What the service was asked for, and for whom."""
    assert answer.status == 200, answer.body
    said = json.loads(answer.body)
    return said["target"], dict(said["fields"]).get("X-Consumer-Username")


ALICE, BOB = token(sub="alice"), token(sub="bob")


def test_each_place(gateway: Gateway) -> None:
    assert told(gateway.get("/api/s/a", bearer(ALICE))) == ("/a", "alice")
    assert told(gateway.get("/api/s/b", f"Cookie: theme=dark; access_token={ALICE}; x=y")) == ("/b", "alice")
    assert told(gateway.get(f"/api/s/c?token={ALICE}")) == ("/c", "alice")


def test_the_first_place_decides(gateway: Gateway) -> None:
    assert told(gateway.get("/api/s/d", bearer(BOB), f"Cookie: access_token={ALICE}")) == ("/d", "bob")
    assert gateway.get("/api/s/d", bearer("x.y.z"), f"Cookie: access_token={ALICE}").status == 401


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        ("?token={}&a=1&b=%20", "?a=1&b=%20"),
        ("?a=1&token={}&b=2", "?a=1&b=2"),
        ("?a=1&&%74oken={}", "?a=1&"),
        ("?tokens=1&token={}&xtoken=2&token", "?tokens=1&xtoken=2"),
    ],
)
def test_the_service_gets_the_query_without_the_token(gateway: Gateway, query: str, rest: str) -> None:
    answer = gateway.get(f"/api/s/e{query.format(ALICE)}")
    if query.endswith("&token"):
        assert answer.status == 401, "an empty one is a second one"
    else:
        assert told(answer) == (f"/e{rest}", "alice")
    assert ALICE not in gateway.out() + gateway.err()


@pytest.mark.parametrize(
    "request_lines",
    [
        ("/api/s/f?token={0}&token={1}",),
        ("/api/s/f?token={0}", "Authorization: Bearer {1}"),
        ("/api/s/f?token={0}", "Authorization: Basic YTpi"),
        ("/api/s/f", "Cookie: access_token={0}; access_token={1}"),
        ("/api/s/f", "Cookie: access_token={0}", "Cookie: access_token={1}"),
        ("/api/s/f?TOKEN={0}",),
        ("/api/s/f", "Cookie: Access_Token={0}"),
        ("/api/s/f?token=",),
        ("/api/s/f", "Cookie: access_token="),
        ("/api/s/f",),
    ],
)
def test_what_is_refused(gateway: Gateway, request_lines: tuple[str, ...]) -> None:
    target, *lines = (line.format(ALICE, BOB) for line in request_lines)
    answer = gateway.get(target, *lines)
    assert (answer.status, json.loads(answer.body)["reason"]) in (
        (401, "credentials_missing"),
        (401, "credentials_invalid"),
    )


def test_one_connection_with_tokens_of_several_clients(gateway: Gateway) -> None:
    """Fields that repeat are remembered with whom they name; what stands elsewhere is not theirs."""
    with gateway.wire() as wire:
        for who, own in (("alice", ALICE), ("bob", BOB), ("alice", ALICE)):
            assert told(wire.ask("GET", f"/api/s/g?token={own}"))[1] == who
        assert wire.ask("GET", "/api/s/g").status == 401
        assert told(wire.ask("GET", "/api/s/g", f"Cookie: access_token={ALICE}"))[1] == "alice"
        assert told(wire.ask("GET", "/api/s/g", f"Cookie: access_token={BOB}"))[1] == "bob"


def test_nobody_gets_what_the_cache_keeps_for_another(gateway: Gateway) -> None:
    assert told(gateway.get(f"/api/s/h?token={ALICE}")) == ("/h", "alice")
    assert told(gateway.get(f"/api/s/h?token={BOB}")) == ("/h", "bob")
    assert told(gateway.get("/api/s/h", f"Cookie: access_token={ALICE}"))[1] == "alice"
    assert told(gateway.get(f"/api/s/h?token={ALICE}")) == ("/h", "alice")
