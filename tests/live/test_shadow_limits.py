"""Limits with `enforce: false`, in memory and in Redis: nothing is refused, and everybody can see what would be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support.backend import Backend
from support.documented import example
from support.messages import Message
from support.metrics import metric
from support.redis_process import RedisProcess
from support.structured import read_list
from support.world import Gateway, until

LIMITS: list[dict[str, Any]] = [
    {"requests_per_minute": 1, "burst": 5, "name": "hard"},
    {"requests_per_minute": 1, "burst": 2, "name": "trial", "enforce": False},
    {"requests_per_day": 3, "enforce": False},
]


@pytest.fixture(scope="module", params=["memory", "redis"])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with ExitStack() as stack:
        more: dict[str, Any] = {}
        if request.param == "redis":
            store = stack.enter_context(RedisProcess())
            more = {"redis_url": store.url, "redis_timeout": 1}
        config = {
            "gateway": {"trusted_proxies": ["127.0.0.1"], **more},
            "services": {"s": stack.enter_context(Backend())},
            "policies": {"rate_limit": LIMITS},
        }
        with Gateway(config) as own:
            yield own


def ask(gateway: Gateway, address: str) -> Message:
    return gateway.get("/api/s/x", f"X-Forwarded-For: {address}")


def shadow(gateway: Gateway, answer: Message) -> str | None:
    found: str | None = gateway.logged(answer.get("x-request-id")).get("shadow")
    return found


def test_what_would_be_refused_passes_and_is_reported(gateway: Gateway) -> None:
    answers = [ask(gateway, "192.0.2.1") for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429], "the one that is enforced is"
    assert [shadow(gateway, answer) for answer in answers] == [None, None, *["trial"] * 3, None]
    assert answers[3].get("retry-after") is None
    assert metric(gateway, "gateway_rate_limit_shadow_total", service="s", limit="trial") == 3
    assert metric(gateway, "gateway_rate_limited_total", service="s") == 1


def test_the_fields_say_what_would_be(gateway: Gateway) -> None:
    answers = [ask(gateway, "192.0.2.2") for _ in range(3)]
    (line,) = answers[2].all("ratelimit-policy")
    policies = {each.value: each.parameters for each in read_list(line)}
    assert policies["hard"] == {"q": 5, "w": 300}
    assert policies["trial"] == {"q": 2, "w": 120, "portico-shadow": True}
    assert policies["client_ip-day"] == {"q": 3, "w": 86400, "portico-shadow": True}
    first, left = ({each.value: each.parameters for each in read_list(*each.all("ratelimit"))} for each in answers[::2])
    assert [(name, each["r"]) for name, each in first.items()] == [("hard", 4), ("trial", 1), ("client_ip-day", 2)]
    assert (left["hard"]["r"], left["trial"]["r"]) == (2, 0)
    assert 0 < left["trial"]["t"] <= 60
    assert left["trial"]["portico-shadow"] is True
    assert "portico-shadow" not in left["hard"]


def test_the_documented_example(backend: Backend) -> None:
    config, ((status, *shown),) = example("configuration.md", "name: tight", backend.url)
    with Gateway(config) as gateway, gateway.wire() as wire:
        answer = [wire.ask("GET", "/api/shop/x") for _ in range(21)][-1]
        assert answer.start == status
        assert f"RateLimit-Policy: {answer.get('ratelimit-policy')}" == shown[0]
        documented, sent = (read_list(line) for line in (shown[1].partition(": ")[2], str(answer.get("ratelimit"))))
        assert [(value, *names) for value, names in sent] == [(value, *names) for value, names in documented]


def test_one_that_cannot_be_checked_refuses_nothing_either() -> None:
    """With `fallback: deny` a limit that is enforced answers 503 while Redis is down."""
    with RedisProcess() as store, Backend() as backend:
        limit = {**LIMITS[1], "fallback": "deny"}
        config = {
            "gateway": {"redis_url": store.url, "redis_timeout": 1},
            "services": {"s": backend},
            "policies": {"rate_limit": [limit, {**limit, "name": "second"}]},
        }
        with Gateway(config) as gateway:
            gateway.clean = False
            store.end()
            until(lambda: shadow(gateway, gateway.get("/api/s/x")) == "limits_unavailable", "Redis is seen to be down")
            assert gateway.get("/api/s/x").status == 200
