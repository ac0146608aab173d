"""For tests of policies of one's own: their hooks alone, or in a gateway before a scripted service.

`pytest_plugins = ["portico.testing.fixtures"]` in the conftest.py of a project gives its tests the fixture `gateway`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from portico.testing.contexts import LocalContext, make_context
from portico.testing.running import RunningGateway
from portico.testing.service import Received, Reply, Service
from portico.testing.units import make_exchange, make_policy, make_response, run_body

if TYPE_CHECKING:
    from portico.testing.fixtures import StartGateway, gateway

__all__ = [
    "LocalContext",
    "Received",
    "Reply",
    "RunningGateway",
    "Service",
    "StartGateway",
    "gateway",
    "make_context",
    "make_exchange",
    "make_policy",
    "make_response",
    "run_body",
]


def __getattr__(name: str) -> Any:
    """What needs pytest, which is imported only where it is used."""
    if name in ("StartGateway", "gateway"):
        from portico.testing import fixtures

        return getattr(fixtures, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
