"""Which peers are trusted to report where a request came from."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

VARIABLE: Final = "FORWARDED_ALLOW_IPS"
"""uvicorn and gunicorn read the same variable for the same purpose."""
_LOOPBACK: Final = ("127.0.0.1", "::1")
_ANY: Final = "*"
_REMEMBERED: Final = 1024


class TrustedPeers:
    """Addresses and networks, or `*` for all peers; by default FORWARDED_ALLOW_IPS, else this machine alone.

    Raises ValueError for anything else.
    """

    def __init__(self, trusted: Iterable[str] | str | None = None) -> None:
        written = trusted if trusted is not None else os.environ.get(VARIABLE) or _LOOPBACK
        names = written.split(",") if isinstance(written, str) else [*written]
        names = [name.strip() for name in names if name.strip()]
        self._trusts_all = _ANY in names
        self._networks = [_network(name) for name in names if name != _ANY]
        self._known: dict[str, bool] = {}

    def trusts(self, scope: Mapping[str, Any]) -> bool:
        """Whether the peer of a request is one of them. A peer on a unix socket is on this machine.

        uvicorn, with its --proxy-headers (the default), has put the client's address in the peer's place already; then
        it trusted the peer, by its own --forwarded-allow-ips. The port shows that: uvicorn sets it to 0.
        """
        client = scope.get("client")
        if self._trusts_all or not client:
            return True
        host, port = client
        return self._has(host) or (port == 0 and _is_reported(host, scope))

    def _has(self, host: str) -> bool:
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[host] = self._find(host)
        return known

    def _find(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)


def _network(name: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(name)
    except ValueError as error:
        raise ValueError(f"trusted peers are addresses, networks such as 10.0.0.0/8, or *: {error}") from None


def _is_reported(host: str, scope: Mapping[str, Any]) -> bool:
    """Whether X-Forwarded-For names `host`, as it does where the server took it from there."""
    return any(
        host.encode() in [entry.strip(b" []") for entry in value.split(b",")]
        for name, value in scope["headers"]
        if name == b"x-forwarded-for"
    )
