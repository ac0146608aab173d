"""What counts as one client wherever clients are distinguished by their address: limits, connections, hashes, trust."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from portico.core.caches import remembered


def client_of(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 address: one household or host has that many to itself (RFC 6177).

    Anything that is not an address is returned unchanged.
    """
    return _network_of(address) if ":" in address else address


def parsed(text: str) -> IPv4Address | IPv6Address | None:
    """An address without its zone, IPv4-mapped ones as IPv4; None if `text` is not an address."""
    try:
        return plain(ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address of an IPv4-mapped one (RFC 4291, section 2.5.5.2), as dual-stack sockets report; else itself."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@remembered(16_384)
def _network_of(address: str) -> str:
    known = parsed(address)
    if isinstance(known, IPv6Address):
        return str(IPv6Network((int(known) >> 64 << 64, 64)))
    return address if known is None else str(known)
