"""How registrations are kept in Redis: the keys and their values.

`service:NAME` holds a URL, with a time to live: one instance without further properties. `service:NAME:ID` holds
a JSON object with `url` and, as far as wanted, `weight`, `version`, `metadata`, `openapi` and `ttl`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address
from typing import Any, Final

CHANNEL: Final = "portico:registry"
"""Where registrations are announced: `+KEY` is new or changed, `-KEY` is removed."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


_URL: Final = re.compile(
    r"https?://(?:[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?\.?|\[([0-9a-f:.]{2,45})\])(?::([0-9]{1,5}))?/?",
    re.IGNORECASE | re.ASCII,
)
_LAST_PORT: Final = 65535


def check_url(url: str) -> None:
    """Raises ValueError for what is no `http://host:port` to which gateways could send requests.

    The host is a name or an address, an IPv6 address in brackets and without a zone, which means nothing elsewhere.
    """
    match = _URL.fullmatch(url)
    if match is None or (match[2] is not None and not 0 < int(match[2]) <= _LAST_PORT):
        raise ValueError(f"url: expected http://host:port, where gateways reach this service, not {url!a}")
    try:
        IPv6Address(match[1] or "::1")
    except AddressValueError:
        raise ValueError(f"url: expected an IPv6 address in brackets, not {match[1]}") from None


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
