"""What a configuration leaves to its defaults, written out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from portico.config.gateway import LISTENING, GatewaySettings
from portico.config.levels import Policies
from portico.config.model import Config
from portico.config.services import ServiceSettings

_UNWRITTEN: Final = frozenset(("tokens", "version_by", "default_routes"))
"""Keys that mean something by being there."""
_COMPLETED: Final = frozenset(
    (
        "endpoints",
        "limits",
        "log",
        "metrics",
        "cache",
        "history",
        "health_check",
        "timeout",
        "retries",
        "passive_health",
    )
)
"""Sections that are completed where they are written in part: in others, what stands there depends on the rest."""


def with_defaults(written: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """The document of a configuration with what its gateway and services leave out.

    Not so policies, versions and routes: what they leave out is what stands above them.
    """
    services = written.get("services")
    filled = dict(written)
    filled["gateway"] = _filled(filled.get("gateway") or {}, config.gateway, _left_out(config.gateway))
    if isinstance(services, Mapping):
        filled["services"] = {
            name: _filled(part or {}, config.services[name], _left_out_of(config.services[name]))
            for name, part in services.items()
        }
    return filled


def _left_out(gateway: GatewaySettings) -> frozenset[str]:
    """Keys that are not written out: `listen` stands in place of some."""
    return _UNWRITTEN | (frozenset(LISTENING) if gateway.listen else frozenset())


def _left_out_of(service: ServiceSettings) -> frozenset[str]:
    """The same of a service: a breaker stands in place of passive checks."""
    return _UNWRITTEN | (frozenset(("passive_health",)) if service.circuit_breaker is not None else frozenset())


def _filled(written: Mapping[str, Any], settings: BaseModel, left_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    filled = dict(written)
    for key, name in _names(type(settings)):
        value = getattr(settings, name)
        if isinstance(value, Policies) or key in left_out:
            continue
        if key in filled:
            if key in _COMPLETED and isinstance(value, BaseModel) and isinstance(filled[key], Mapping):
                filled[key] = _filled(filled[key], value)
        elif (plain := _plain(value)) not in (None, [], {}):
            filled[key] = plain
    return filled


@cache
def _names(kind: type[BaseModel]) -> tuple[tuple[str, str], ...]:
    """The keys of a section, each with the name of its field."""
    return tuple((field.alias or name, name) for name, field in kind.model_fields.items())


def _plain(value: Any) -> Any:
    """As YAML has it; None for what is not written, and for secrets."""
    if isinstance(value, BaseModel):
        parts = {key: _plain(getattr(value, name)) for key, name in _names(type(value))}
        return {key: part for key, part in parts.items() if part is not None}
    if isinstance(value, SecretStr):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (tuple, list, set, frozenset)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return str(value) if isinstance(value, Path) else value
