"""Who gets which variant, and what caches may do with it."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from experiment import Experiment
from portico.testing import StartGateway, make_exchange, make_policy, make_response

EVEN = {"a": 1, "b": 1}
COOKIE = "experiment_checkout"


def opened(variants: dict[str, int]) -> Experiment:
    policy = make_policy(Experiment, name="checkout", variants=variants)
    asyncio.run(policy.open())
    return policy


def variant(headers: dict[str, str], variants: dict[str, int]) -> str | None:
    """What the service gets."""
    policy, exchange = opened(variants), make_exchange(headers=headers)
    policy.request(exchange)
    return exchange.upstream_headers.get("X-Variant")


def test_a_browser_keeps_its_variant(gateway: StartGateway) -> None:
    running = gateway(Experiment, name="checkout", variants=EVEN, secure=False)
    responses = [running.client.get("/") for _ in range(20)]  # the client keeps cookies
    assert len({each.headers.get("X-Variant") for each in running.service.requests}) == 1
    assert [COOKIE in each.headers.get("Set-Cookie", "") for each in responses] == [True] + 19 * [False]


def test_both_are_told_the_same(gateway: StartGateway) -> None:
    running = gateway(Experiment, name="checkout", variants=EVEN, max_age="1h")
    response = httpx.get(running.url)
    told = running.service.requests[0].headers.get("X-Variant")
    expected = f"{COOKIE}={told}; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"
    assert response.headers["Set-Cookie"] == expected


def test_variants_come_by_their_weights() -> None:
    policy, counts = opened({"a": 3, "b": 1, "never": 0}), Counter[str | None]()
    for _ in range(2000):
        exchange = make_exchange()
        policy.request(exchange)
        counts[exchange.upstream_headers.get("X-Variant")] += 1
    assert set(counts) == {"a", "b"}
    assert 2 < counts["a"] / counts["b"] < 4.5


@pytest.mark.parametrize(
    "cookie",
    [f"{COOKIE}=b", f"x=1; {COOKIE}=b; y=2", f"x=1;{COOKIE}=b", f"x{COOKIE}=a; {COOKIE}=b", f"{COOKIE}=b; {COOKIE}=a"],
)
def test_the_cookie_decides(cookie: str) -> None:
    assert variant({"Cookie": cookie}, {"a": 1, "b": 0}) == "b"


@pytest.mark.parametrize(
    "cookie", [f"{COOKIE}=", f"{COOKIE}=c", f"{COOKIE}=b%0d%0aX: 1", f"x{COOKIE}=b", f"{COOKIE}x=b"]
)
def test_nothing_that_a_client_invents_reaches_the_service(cookie: str) -> None:
    assert variant({"Cookie": cookie, "X-Variant": "b"}, {"a": 1, "b": 0}) == "a"


@pytest.mark.parametrize(
    ("written", "becomes"),
    [
        (None, "private"),
        ("public, max-age=60", "private, max-age=60"),
        ("s-maxage=600, max-age=60", "private, max-age=60"),
        ("no-store", "no-store"),
        ("private, max-age=5", "private, max-age=5"),
    ],
)
@pytest.mark.parametrize(
    ("vary", "varies"), [(None, "Cookie"), ("Accept", "Accept, Cookie"), ("cookie", "cookie"), ("*", "*")]
)
def test_no_cache_gives_one_clients_variant_to_another(
    written: str | None, becomes: str, vary: str | None, varies: str
) -> None:
    policy = opened(EVEN)
    fields = {"Cache-Control": written, "Vary": vary}
    fresh = make_response(200, {name: value for name, value in fields.items() if value is not None})
    exchange = make_exchange()
    policy.request(exchange)
    policy.response(exchange, fresh)
    assert (fresh.headers.get("Cache-Control"), fresh.headers.get("Vary")) == (becomes, varies)
    known = make_response(200, {"Cache-Control": "max-age=60"})
    exchange = make_exchange(headers={"Cookie": f"{COOKIE}=a"})
    policy.request(exchange)
    policy.response(exchange, known)
    assert (known.headers.get("Cache-Control"), known.headers.get("Vary")) == ("max-age=60", "Cookie")
    assert "Set-Cookie" not in known.headers


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "a b", "variants": EVEN},
        {"name": "a", "variants": {"a": 1}},
        {"name": "a", "variants": {"a;": 1, "b": 1}},
    ],
)
def test_settings_that_make_no_experiment(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_policy(Experiment, **settings)


def test_one_variant_at_least_can_be_assigned(gateway: StartGateway) -> None:
    with pytest.raises(ValueError, match="at least one needs more"):
        gateway(Experiment, name="a", variants={"a": 0, "b": 0})
