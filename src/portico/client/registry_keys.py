"""How registrations are kept in Redis: the keys and their values.

`service:NAME` holds a URL, with a time to live: one instance without further properties. `service:NAME:ID` holds
a JSON object with `url` and, as far as wanted, `weight`, `version`, `metadata`, `openapi` and `ttl`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

CHANNEL: Final = "portico:registry"
"""Where registrations are announced: `+KEY` is new or changed, `-KEY` is removed."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def key_of(service: str, instance: str | None = None) -> str:
    """The key of a registration. Raises ValueError for a name that would give another key."""
    parts = [service] if instance is None else [service, instance]
    for part in parts:
        if not _NAME.fullmatch(part):
            raise ValueError(
                f"{part!r} cannot name a service or an instance: letters, digits, _ . and -, of which a letter or "
                "digit comes first, 100 at most"
            )
    return ":".join(("service", *parts))


def parts_of(key: str) -> tuple[str, str | None] | None:
    """The service and the instance of a key; None where it is not the key of a registration."""
    kind, *names = key.split(":")
    if kind != "service" or len(names) not in (1, 2) or not all(map(_NAME.fullmatch, names)):
        return None
    return names[0], names[1] if len(names) == 2 else None


def value_of(
    url: str,
    *,
    weight: int = 1,
    version: str | None = None,
    metadata: Mapping[str, str] | None = None,
    openapi: str | None = None,
    ttl: float = 30,
) -> str:
    """The value for an instance that has an id."""
    said: dict[str, Any] = {"url": url, "weight": weight, "version": version, "ttl": ttl}
    said |= {"metadata": dict(metadata or {}), "openapi": openapi}
    return json.dumps(said, separators=(",", ":"))
