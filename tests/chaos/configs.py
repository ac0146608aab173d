"""How Portico is configured: what all faults have in common, and what some want besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_COMMON: Final[dict[str, Any]] = {
    "gateway": {
        "workers": 2,
        "admin": "127.0.0.1:0",
        "log": {"level": "WARNING", "access": "off"},
        "limits": {"drain_timeout": "10s"},
    },
    "services": {
        "chaos": {
            "health_check": {"path": "/health", "interval": "1s", "timeout": "1s", "unhealthy_after": 2},
            "timeout": {"connect": "1s", "response": "2s"},
            "default_routes": False,
        }
    },
    "routes": [{"service": "chaos", "path": "/"}],
}

_CACHED: Final = {"ttl": 1, "stale_if_error": "60s"}
"""Small answers grow stale within a second, so that they are asked for again and again, and are used after that."""

_OF_FAULT: Final[dict[str, dict[str, Any]]] = {
    "cache-service-gone": {
        "gateway": {"workers": 1},  # each worker has a memory of its own
        "policies": {"cache": _CACHED},
        "routes": [
            {"service": "chaos", "path": "/"},
            {
                "service": "chaos",
                "path": "/soon",
                "rewrite": "/small/soon",
                "policies": {"cache": {"ttl": 1, "stale_if_error": 1}},
            },
        ],
    },
    "cache-stampede": {"gateway": {"workers": 1}, "policies": {"cache": {"ttl": 60}}},
    "revoked": {
        "gateway": {
            "log": {"level": "INFO"},  # it says where the admin API is
            "tokens": {"algorithm": "ES256", "issuer": "https://chaos.example"},
        },
        "consumers": [{"name": "shop"}],
        "routes": [
            {"service": "chaos", "path": "/"},
            {
                "service": "chaos",
                "path": "/guarded",
                "rewrite": "/small/guarded",
                "policies": {"auth": {"jwt": {}, "api_key": {}}},
            },
        ],
    },
    "overload": {"gateway": {"workers": 1}},
    "overload-open": {"gateway": {"workers": 1, "limits": {"requests": 16}}},
}
"""The bound of `overload-open`: an admitted request waits for as long as 16 large answers take (Little's law).

That is a fifth of a second where a worker gives 80 a second, and half of one where refusals cost it half of its time.
"""


def config_of(fault: str, instances: Sequence[int]) -> dict[str, Any]:
    """The configuration for a fault, with the instances at these ports."""
    where = {"services": {"chaos": {"instances": [f"http://127.0.0.1:{port}" for port in instances]}}}
    return merged(merged(_COMMON, _OF_FAULT.get(fault, {})), where)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Sections key by key; all else is replaced."""
    both = dict(below)
    for name, value in above.items():
        under = both.get(name)
        both[name] = merged(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return both
