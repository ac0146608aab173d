"""What is alive outlives reloads: whose turn it is, and what retries have used up."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from portico.upstreams.budget import WINDOW
from support.backend import Backend, Connection
from support.client import ask
from support.redis_servers import RedisServer
from support.world import Gateway, until


def reload(gateway: Gateway) -> None:
    assert ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost").status == 200


def says_503(connection: Connection) -> None:
    while connection.next_request() is not None:
        connection.answer(b"", "503 Service Unavailable")


def test_reloads_do_not_favour_the_first_instance() -> None:
    with Backend(name="a") as a, Backend(name="b") as b:
        service = {"instances": [a.url, b.url], "health_check": False}
        with Gateway({"services": {"echo": service}}) as gateway:
            gateway.wait_for_control()
            seen: Counter[str] = Counter()
            for _ in range(10):
                seen[gateway.get("/api/echo/x").json()["backend"]] += 1
                reload(gateway)
            assert seen == {"a": 5, "b": 5}


def test_reloads_do_not_refill_the_budget_of_retries() -> None:
    with Backend(says_503) as broken:
        retries = {"attempts": 1, "on": [503], "budget": "1%"}
        service = {"url": broken.url, "health_check": False, "retries": retries}
        with Gateway({"services": {"echo": service}}) as gateway:
            gateway.wait_for_control()
            started, rounds, requests = time.monotonic(), 6, 12
            for _ in range(rounds):
                for _ in range(requests):
                    assert gateway.get("/api/echo/x").status == 503
                reload(gateway)
            windows = 1 + (time.monotonic() - started) // WINDOW
            again = len(broken.requests) - rounds * requests
            assert 10 <= again <= (10 + 1) * windows, "ten in a window, and a hundredth of the requests"


def test_instances_that_come_and_go_do_not_favour_the_first_one() -> None:
    """Nor does a service that is admitted: that is a new configuration for all others."""
    with RedisServer() as server, Backend(name="a") as a, Backend(name="b") as b:
        config: dict[str, Any] = {
            "gateway": {"redis_url": server.url},
            "services": {"echo": {"instances": [a.url, b.url], "health_check": False}},
            "discover": {"source": "redis"},
        }
        with Gateway(config) as gateway:
            gateway.wait_for_control()
            seen: Counter[str] = Counter()
            for number in range(6):
                seen[gateway.get("/api/echo/x").json()["backend"]] += 1
                server.ask("SET", f"service:new{number}", a.url, "EX", "60")
                until(lambda number=number: gateway.get(f"/api/new{number}/x").status == 200, "it is admitted")  # type: ignore[misc]
            assert seen == {"a": 3, "b": 3}
