"""Limits that several workers count together without a Redis."""

from __future__ import annotations

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from support.backend import Backend
from support.crowd import storm
from support.world import Gateway, until

BURST = 60
LIMIT = {"requests_per_minute": 0.001, "burst": BURST}


def config(backend: Backend, **policies: Any) -> dict[str, Any]:
    return {
        "gateway": {"workers": 2, "embedded_redis": False},
        "services": {"echo": backend},
        "policies": {"rate_limit": LIMIT, **policies},
    }


def ask(gateway: Gateway, count: int) -> Counter[int]:
    """As many requests, each on a connection of its own, so that every worker has some."""
    with ThreadPoolExecutor(16) as pool:
        return Counter(pool.map(lambda _: gateway.get("/api/echo/bytes/5").status, range(count)))


def test_workers_admit_together_what_the_limit_says(backend: Backend) -> None:
    with Gateway(config(backend)) as gateway:
        assert "each worker counts" not in gateway.err()
        statuses, _ = storm([gateway.port], 2000, 40, "/api/echo/bytes/5")
        assert statuses == {200: BURST, 429: 2000 - BURST}


def test_what_was_counted_outlives_workers_and_reloads(backend: Backend) -> None:
    with Gateway(config(backend)) as gateway:
        gateway.clean = False  # a process that is killed is a warning
        assert ask(gateway, BURST - 10) == {200: BURST - 10}
        before = gateway.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(gateway.workers()) == 2 and not set(before) & set(gateway.workers()), "two other workers")
        assert ask(gateway, 5) == {200: 5}
        gateway.signal(signal.SIGHUP)
        until(lambda: any(event["event"] == "configuration reloaded" for event in gateway.events()), "a reload")
        assert ask(gateway, 20) == {200: 5, 429: 15}
