"""How registrations are kept in Redis: the keys and their values.

`service:NAME` holds a URL, with a time to live: one instance without further properties. `service:NAME:ID` holds
a JSON object with `url` and, as far as wanted, `weight`, `version`, `metadata`, `openapi` and `ttl`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address
from typing import Any, Final

CHANNEL: Final = "portico:registry"
"""Where registrations are announced: `+KEY` is new or changed, `-KEY` is removed."""
MOST_SECONDS: Final = 86_400
"""The longest time to live that gateways accept of an instance with an id."""
_HEAVIEST: Final = 1000
_LONGEST_TEXT: Final = 1024
_MOST_METADATA: Final = 64
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
    if "@" in url:
        raise ValueError("url: expected http://host:port with no user and no password in it")
    match = _URL.fullmatch(url)
    is_url = match is not None and (match[2] is None or 0 < int(match[2]) <= _LAST_PORT)
    if match is not None and match[1] is not None:
        try:
            IPv6Address(match[1])
        except AddressValueError:
            is_url = False
    if not is_url:
        expected = "http://host:port, where gateways reach this service (an IPv6 address goes into brackets)"
        raise ValueError(f"url: expected {expected}, not {url!a}")


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


def check_ttl(ttl: float, most: float = MOST_SECONDS) -> None:
    """Raises ValueError for what is no time to live in seconds."""
    is_number = isinstance(ttl, (int, float)) and not isinstance(ttl, bool)
    if not is_number or not 1 <= ttl <= most or ttl == math.inf:
        bound = "1 or more" if math.isinf(most) else f"1 to {most:g}"
        raise ValueError(f"ttl: expected a number of seconds, {bound}, not {ttl!r}")


def check_description(weight: int | None, metadata: Mapping[str, str] | None, openapi: str | None) -> None:
    """Raises ValueError for what no gateway accepts of an instance."""
    if weight is not None and (type(weight) is not int or not 1 <= weight <= _HEAVIEST):
        raise ValueError(f"weight: expected a whole number, 1 to {_HEAVIEST}, not {weight!r}")
    if metadata is not None and (
        not isinstance(metadata, Mapping) or len(metadata) > _MOST_METADATA or not all(map(_is_text, _flat(metadata)))
    ):
        raise ValueError(
            f"metadata: expected up to {_MOST_METADATA} texts by name, each of {_LONGEST_TEXT} characters at most"
        )
    if openapi is not None and not _is_text(openapi):
        raise ValueError(f"openapi: expected a text of {_LONGEST_TEXT} characters at most")


def _flat(metadata: Mapping[str, str]) -> list[str]:
    return [*metadata, *metadata.values()]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT


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
