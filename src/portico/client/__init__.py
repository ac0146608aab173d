"""For services behind Portico: register, identify the user, give right links behind a prefix.

Stands alone: it needs nothing but the standard library, redis-py where it registers with Redis, and Starlette where
it is used with FastAPI or Starlette; each is imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from portico.client.behind_gateway import BehindGateway
from portico.client.identity import IdentityError, User, Verifier, decoded_name, identity
from portico.client.lifespan import register
from portico.client.registry import AsyncServiceRegistry, ServiceRegistry

if TYPE_CHECKING:
    from portico.client.dependencies import current_user, optional_user, require_scopes, trust_gateway

_LATE = ("current_user", "optional_user", "require_scopes", "trust_gateway")


def __getattr__(name: str) -> Any:
    """What needs a package that a service may not have is imported on first access (PEP 562)."""
    if name in _LATE:
        return getattr(import_module("portico.client.dependencies"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AsyncServiceRegistry",
    "BehindGateway",
    "IdentityError",
    "ServiceRegistry",
    "User",
    "Verifier",
    "current_user",
    "decoded_name",
    "identity",
    "optional_user",
    "register",
    "require_scopes",
    "trust_gateway",
]
