"""What counts as one client wherever clients are distinguished by their address: limits, connections, hashes."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network


def client_of(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 address: one household or host has that many to itself (RFC 6177).

    An IPv4 address in IPv6 form (RFC 4291, section 2.5.5.2) is the IPv4 address. Anything that is not an address is
    returned unchanged.
    """
    return _network_of(address) if ":" in address else address


@lru_cache(maxsize=16_384)
def _network_of(address: str) -> str:
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped is not None else str(IPv6Network((int(parsed) >> 64 << 64, 64)))
