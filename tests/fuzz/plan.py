"""The configuration that is fuzzed: every kind of route and policy that touches a head, and where each route leads."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from portico import policies
from portico.core.exchange import Exchange

ADDRESS: Final = "192.0.2.7"
PROXY: Final = "10.1.2.3"
SECRET: Final = "a secret of thirty-two characters"
TOKEN: Final = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJzY29wZSI6ImEgYiJ9."
    "ZPafUwiGfH44NlhoYywymitsUggX-ZsnNAZfYfwvGsM"
)
"""Signed with it: `sub` is ann, `scope` is `a b`, and it never expires."""

GUARDED: Final = b"guarded.test:82"
"""The host of the service `guarded`."""
TENANT: Final = b"X-Tenant"
"""What it is sent of the token, whatever its client says under this name."""

CONFIG: Final[dict[str, Any]] = {
    "gateway": {"trusted_proxies": ["10.0.0.0/8"]},
    "services": {
        "plain": {
            "url": "http://plain.test:81",
            "health_check": False,
            "retries": {"attempts": 2, "on": ["connect", "reset", 503], "budget": 1.0},
        },
        "open": {
            "instances": [{"url": "http://one.test"}, {"url": "http://two.test"}],
            "hedge": {"after": "200ms"},
            "health_check": False,
            "preserve_host": True,
            "policies": {"cors": {"allow_origins": ["*"]}},
        },
        "guarded": {
            "url": f"http://{GUARDED.decode()}",
            "health_check": False,
            "preserve_host": False,
            "policies": {
                "cors": {"allow_origins": ["https://*.example.com"], "allow_credentials": True},
                "rate_limit": [
                    {"requests_per_minute": 60, "burst": 3, "by": {"header": "X-Key"}},
                    {"requests_per_minute": 1, "burst": 1, "enforce": False},
                ],
                "errors": {"4xx": {"html": {"body": "<p>{detail}"}, "text": {"body": "{title}"}}},
                "auth": {"jwt": {"secret": SECRET}},
                "headers": {
                    "request": {"set": {TENANT.decode(): "{claim.sub}"}},
                    "response": {"set": {TENANT.decode(): "{consumer}"}, "remove": ["Server"]},
                    "security": True,
                },
            },
        },
    },
    "routes": [
        {"name": "fixed", "path": "/fixed", "service": "plain", "rewrite": "/always"},
        {"name": "deep", "path": "/a/b", "service": "plain", "rewrite": "/x/{path}/y", "preserve_host": True},
        {"name": "own", "path": "/own", "hosts": ["*.example.com"], "methods": ["GET", "PUT"], "service": "open"},
        {"name": "user", "path": "~ ^/u/(?P<id>[^/]+)$", "service": "plain", "rewrite": "/by/{id}"},
        {"name": "beta", "path": "/fixed", "query": {"beta": "~ ^1"}, "service": "plain", "rewrite": "/always"},
        {"name": "moved", "path": "/moved", "redirect": "/to/{path}"},
        {"name": "text", "path": "= /text", "respond": {"body": "written"}},
    ],
}
REWRITES: Final[dict[str, tuple[tuple[bytes, ...], bytes]]] = {
    "plain": ((b"api", b"plain"), b"/{path}"),
    "open": ((b"api", b"open"), b"/{path}"),
    "guarded": ((b"api", b"guarded"), b"/{path}"),
    "fixed": ((b"fixed",), b"/always"),
    "deep": ((b"a", b"b"), b"/x/{path}/y"),
    "own": ((b"own",), b"/{path}"),
    "user": ((b"u",), b"/by/{path}"),
    "/": ((b"",), b"/"),
    "/health": ((b"health",), b"/health"),
    "/metrics": ((b"metrics",), b"/metrics"),
}
"""Each route's prefix and rewrite, written down again for the oracles."""


def build_slow(settings: Any, context: Any) -> Any:
    """A policy that has to wait where a request asks for it: none of the gateway's own does."""

    async def wait() -> None:
        await asyncio.sleep(0.2)

    def slow(exchange: Exchange) -> Any:
        assert exchange.request is not None
        return wait() if b"x-slow" in exchange.request.fields.names else None

    return slow


SLOW: Final = policies.Step("cors", None, build_slow)
