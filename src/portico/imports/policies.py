"""Policies of single routes, merged, and written once where several routes have the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from portico.imports.draft import Draft, Part

GUARDS: Final = frozenset({"auth", "authorize", "deny", "ip_filter"})
"""The policies that keep requests out."""
_LISTS: Final = frozenset({"deny"})
_SECTIONS: Final = frozenset({"auth", "headers", "transform", "errors"})


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Policies of two sources in one. Of those that cannot be both, the second holds."""
    found = dict(first)
    for key, value in second.items():
        if key in _LISTS and key in found:
            found[key] = [*found[key], *value]
        elif key in _SECTIONS and key in found:
            found[key] = _joined(found[key], value)
        else:
            found[key] = value
    return found


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        both = {key: _joined(value, second[key]) if key in second else value for key, value in first.items()}
        return both | {key: value for key, value in second.items() if key not in first}
    if isinstance(first, list) and isinstance(second, list):
        return [*first, *second]
    return second


def hoist(draft: Draft, everywhere: frozenset[str] = frozenset()) -> None:
    """Write what routes of a service have in common there, and what is in `everywhere`, if all have it, at the top."""
    open_routes = [part for part in draft.routes if part.data.get("respond") != 503]
    for key in sorted(everywhere):
        values = [part.data.get("policies", {}).get(key) for part in open_routes]
        if values and values[0] is not None and all(value == values[0] for value in values):
            draft.policies.data[key] = values[0]
            for part in open_routes:
                _take(part, key)
    by_service: dict[str, list[Part]] = {}
    shared: set[str] = set()
    for part in draft.routes:
        if "service" in part.data:
            by_service.setdefault(part.data["service"], []).append(part)
        shared |= {side["service"] for side in part.data.get("split", ())}
    for name, parts in by_service.items():
        service = draft.services.get(name)
        if service is not None and name not in shared:
            _hoist_keys(service, parts)
            if len(parts) > 1:
                _hoist_policies(service, parts)


def _hoist_keys(service: Part, parts: list[Part]) -> None:
    for key in ("preserve_host", "timeout", "body_size"):
        value = parts[0].data.get(key)
        if value is not None and key not in service.data and all(part.data.get(key) == value for part in parts):
            service.data[key] = value
            for part in parts:
                del part.data[key]


def _hoist_policies(service: Part, parts: list[Part]) -> None:
    """A policy that most routes have, and that the others write anew as a whole."""
    written = [part.data.get("policies", {}) for part in parts]
    for key in dict.fromkeys(key for policies in written for key in policies):
        values = [policies.get(key) for policies in written]
        usual = max(values, key=values.count)
        if (
            usual is None
            or values.count(usual) * 2 <= len(values)
            or not all(_replaces(usual, each) for each in values)
        ):
            continue
        service.data.setdefault("policies", {})[key] = usual
        for part, value in zip(parts, values, strict=True):
            if value == usual:
                _take(part, key)


def _replaces(usual: Any, value: Any) -> bool:
    """Whether nothing is left of `usual` where a level below has `value`: levels are merged key by key."""
    if value == usual:
        return True
    flat = isinstance(usual, dict) and not any(isinstance(each, dict) for each in usual.values())
    return flat and isinstance(value, dict) and usual.keys() <= value.keys()


def _take(part: Part, key: str) -> None:
    policies = {name: value for name, value in part.data["policies"].items() if name != key}
    if policies:
        part.data["policies"] = policies
    else:
        del part.data["policies"]
