"""What a gateway says of the breakers of its service `s`: in metrics, in events, and in its admin API."""

from __future__ import annotations

from typing import Any, Final

from .backend import Backend, Refusing
from .client import ask
from .metrics import metric
from .world import Gateway

CLOSED: Final = 0.0
HALF_OPEN: Final = 1.0
OPEN: Final = 2.0


def state(gateway: Gateway, backend: Backend | Refusing) -> float | None:
    return metric(gateway, "gateway_breaker_state", service="s", instance=backend.url)


def openings(gateway: Gateway, backend: Backend | Refusing) -> float | None:
    return metric(gateway, "gateway_breaker_openings_total", service="s", instance=backend.url)


def changes(gateway: Gateway) -> list[str]:
    """What the events say about breakers."""
    return [event["event"] for event in gateway.events() if event["event"].startswith("breaker")]


def instances(gateway: Gateway) -> list[dict[str, Any]]:
    """Those of the service in the admin API's answer."""
    page = ask(gateway.admin_port, "GET", "/admin/services", "Host: localhost").json()
    found: list[dict[str, Any]] = page["services"][0]["instances"]
    return found


def states(gateway: Gateway) -> list[dict[str, int]]:
    """How many workers say what of each instance."""
    return [instance["workers"] for instance in instances(gateway)]
