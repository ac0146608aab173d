"""How Portico is configured: what all faults have in common, and what some want besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_INSTANCE_TROUBLE: Final[dict[str, Any]] = {}
"""For all faults of instances: what takes out one that fails."""

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
            "retries": {"attempts": 2, "on": ["connect", "reset", "timeout"]},
            "default_routes": False,
        }
    },
    "routes": [{"service": "chaos", "path": "/"}],
}

_OF_FAULT: Final[dict[str, dict[str, Any]]] = {
    "killed": _INSTANCE_TROUBLE,
    "stopped": _INSTANCE_TROUBLE,
    "failing": _INSTANCE_TROUBLE,
    "cutting": _INSTANCE_TROUBLE,
    "slow": _INSTANCE_TROUBLE,
    "mute": _INSTANCE_TROUBLE,
    "overload": {"gateway": {"workers": 1}},
}


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
