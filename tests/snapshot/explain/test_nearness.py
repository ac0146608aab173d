"""Which route is called the nearest: the one that somebody meant who mistyped a path, a host or a method."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from portico.config import Config
from portico.snapshot.explain import Explanation, Question, explain
from portico.snapshot.explain.offline import offline
from portico.snapshot.explain.paths import differing

ROUTES: Final[list[dict[str, Any]]] = [
    {"name": "orders", "path": "/orders", "hosts": ["shop.example"], "methods": ["POST"]},
    {"name": "order-items", "path": "/order-items", "hosts": ["shop.example"]},
    {"name": "export", "path": "/orders/export", "hosts": ["shop.example"]},
    {"name": "user", "path": "~ ^/users/(?P<id>[0-9]+)$", "hosts": ["shop.example"]},
    {"name": "robots", "path": "= /robots.txt", "hosts": ["shop.example"]},
    *({"name": f"tenant{number}", "path": "/", "hosts": [f"tenant{number}.example"]} for number in range(30)),
]
CONFIG: Final = Config.model_validate(
    {
        "services": {"shop": {"url": "http://127.0.0.1:1", "default_routes": False}},
        "routes": [{"service": "shop", **route} for route in ROUTES],
    }
)


def explained(method: str, url: str) -> Explanation:
    async def asked() -> Explanation:
        return await explain(*offline(CONFIG), CONFIG, Question(method, url))

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("method", "url", "name", "condition"),
    [
        ("POST", "http://shop.example/order", "orders", "path"),
        ("POST", "http://shop.example/odrers/7", "orders", "path"),
        ("GET", "http://shop.example/orders/7", "orders", "method"),
        ("POST", "http://shop.exmple/orders", "orders", "host"),
        ("POST", "http://www.else.test/orders", "orders", "host"),
        ("GET", "http://shop.example/orders/exprot", "export", "path"),
        ("GET", "http://shop.example/users/x7", "user", "path"),
        ("GET", "http://shop.example/robots.txt/", "robots", "path"),
        ("GET", "http://tenant77.example/x/y", "tenant7", "host"),
        ("GET", "http://tenent12.example/x", "tenant12", "host"),
        ("GET", "http://shop.example/Order-Items", "order-items", "path"),
    ],
)
def test_the_nearest(method: str, url: str, name: str, condition: str) -> None:
    nearest = explained(method, url)["nearest"]
    assert nearest is not None
    assert (nearest["name"], nearest["condition"]) == (name, condition)


@pytest.mark.parametrize(
    ("one", "other", "letters"),
    [("abc", "abc", 0), ("abc", "abd", 1), ("abc", "ab", 1), ("abc", "acb", 2), ("aab", "aaab", 1), ("", "abc", 3)],
)
def test_letters_that_differ(one: str, other: str, letters: int) -> None:
    assert differing(one, other) == differing(other, one) == letters
