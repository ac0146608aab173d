"""What a soak runs: a gateway whose services, routes and policies remember something of everybody who comes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from benchmarks.request import SECRET
from support.tokens import token

_USERS: Final = 500


@cache
def users() -> Sequence[str]:
    """A token of each of so many users, valid for longer than a soak takes."""
    return [token(SECRET, sub=f"user{number}", exp=2**31) for number in range(_USERS)]


def config(instances: Sequence[int], redis: str, number: int = 0) -> dict[str, Any]:
    """The configuration with which the gateway is reloaded the `number`th time: no two are alike."""
    urls = [f"http://127.0.0.1:{port}" for port in instances]
    check = {"path": "/health", "interval": "1s", "timeout": "1s", "unhealthy_after": 2}
    cookie = {"cookie": "auto", "key": "k" * 32}
    service = {"default_routes": False, "timeout": {"connect": "1s", "response": "2s"}}
    return {
        "gateway": {
            "workers": 2,
            "redis_url": redis,
            "cache": {"memory": "8MiB"},  # full long before anything is judged
            "trusted_proxies": ["127.0.0.1"],
            "log": {"level": "INFO", "access": "access.log"},
            "limits": {"drain_timeout": "5s"},
        },
        "services": {
            "chaos": {"instances": urls, "health_check": check, **service},
            "sticky": {
                "instances": urls,
                "health_check": False,
                "sticky": cookie,
                **service,
            },
            "changing": {"instances": urls[: 1 + number % 2], "health_check": check, **service},
            "registered": {"discover": "redis", "health_check": False, **service},
        },
        "routes": [*_ROUTES, *_changing(number)],
    }


_ROUTES: Final[list[dict[str, Any]]] = [
    {"service": "chaos", "path": "/"},
    {"service": "sticky", "path": "/sticky"},
    {"service": "registered", "path": "/registered"},
    {
        "service": "chaos",
        "path": "/cached",
        "policies": {"cache": {"ttl": 20}, "compress": True},
    },
    {
        "service": "chaos",
        "path": "/guarded",
        "policies": {
            "auth": {"jwt": {"secret": SECRET, "algorithms": ["HS256"]}},
            "rate_limit": {"requests_per_minute": 1e6, "burst": 10**6, "by": "consumer"},
        },
    },
    {
        "service": "chaos",
        "path": "/limited",
        "policies": {"rate_limit": {"requests_per_minute": 60, "burst": 1}},
    },
]


def _changing(number: int) -> list[dict[str, Any]]:
    """Two hundred routes that each reload replaces."""
    return [
        {
            "service": "changing",
            "path": f"/reload{number}/{n}",
            "rewrite": f"/small/{number}",
            "policies": {"headers": {"request": {"set": {"X-Reload": f"{number}-{n}"}}}},
        }
        for n in range(200)
    ]
