"""`deny`: requests that are refused for what they are, and counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.backend import Backend
from support.metrics import metric
from support.tokens import SECRET, bearer, token
from support.waiting import until
from support.world import Gateway

RULES = [
    {"name": "bots", "when": {"headers": {"User-Agent": "~* (badbot|sqlmap)"}}},
    {"when": {"path": "/api/s/wp-admin"}},
    {"name": "writes", "when": {"methods": ["POST"], "query": {"debug": True}}},
]


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


@pytest.fixture(scope="module")
def gateway(service: Backend) -> Iterator[Gateway]:
    guarded = {
        "url": service.url,
        "health_check": False,
        "policies": {
            "auth": {"jwt": {"secret": SECRET}},
            "deny": [{"name": "banned", "when": {"consumer": "mallory"}}, {"when": {"claims": {"/plan": "free"}}}],
        },
    }
    open_to_all = {"url": service.url, "health_check": False, "policies": {"deny": False}}
    config = {"services": {"s": service, "guarded": guarded, "open": open_to_all}, "policies": {"deny": RULES}}
    with Gateway(config) as own:
        yield own


def outcome(gateway: Gateway, method: str, target: str, *lines: str) -> int | str:
    answer = gateway.ask(method, target, *lines)
    return answer.status if answer.status != 403 else str(answer.json()["reason"])


@pytest.mark.parametrize(
    ("method", "target", "lines", "expected"),
    [
        ("GET", "/api/s/", (), 200),
        ("GET", "/api/s/", ("User-Agent: curl/8",), 200),
        ("GET", "/api/s/", ("User-Agent: Mozilla (BadBot 2)",), "request_denied"),
        ("GET", "/api/s/", ("User-Agent: curl/8", "User-Agent: sqlmap"), "request_denied"),
        ("OPTIONS", "/api/s/", ("User-Agent: sqlmap",), "request_denied"),
        ("GET", "/api/s/wp-admin/x", (), "request_denied"),
        ("GET", "/api/s/%77p-admin/x", (), "request_denied"),
        ("GET", "/api/s/wp-administrator", (), 200),
        ("POST", "/api/s/?debug=1", ("Content-Length: 0",), "request_denied"),
        ("POST", "/api/s/?x=debug", ("Content-Length: 0",), 200),
        ("GET", "/api/s/?debug=1", (), 200),
        ("GET", "/api/open/", ("User-Agent: sqlmap",), 200),
        ("GET", "/health", ("User-Agent: sqlmap",), "request_denied"),
        ("GET", "/livez", ("User-Agent: sqlmap",), 200),
    ],
)
def test_what_is_refused(
    gateway: Gateway, method: str, target: str, lines: tuple[str, ...], expected: int | str
) -> None:
    assert outcome(gateway, method, target, *lines) == expected


def test_rules_that_ask_who_it_is_stand_behind_auth(gateway: Gateway) -> None:
    assert outcome(gateway, "GET", "/api/guarded/") == 401
    assert outcome(gateway, "GET", "/api/guarded/", bearer(token(sub="alice"))) == 200
    assert outcome(gateway, "GET", "/api/guarded/", bearer(token(sub="mallory"))) == "request_denied"
    assert outcome(gateway, "GET", "/api/guarded/", bearer(token(sub="bob", plan="free"))) == "request_denied"
    until(lambda: metric(gateway, "gateway_denied_total", service="guarded", rule="banned"), "it is counted")
    until(lambda: metric(gateway, "gateway_denied_total", service="guarded", rule="1"), "it is counted by index")


def test_a_refusal_does_not_say_which_rule_it_was(gateway: Gateway, service: Backend) -> None:
    seen = len(service.requests)
    answer = gateway.get("/api/s/", "User-Agent: sqlmap")
    assert (answer.status, answer.get("content-type")) == (403, "application/problem+json")
    assert b"bots" not in answer.body
    assert len(service.requests) == seen
    until(lambda: metric(gateway, "gateway_denied_total", service="s", rule="bots"), "it is counted")
