"""Addresses at which there is no service: link-local ones, those where clouds hand out credentials, and the like.

A client that may register a service must not be able to have requests sent there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_SPECIAL: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host, RFC 1122
        "169.254.0.0/16",  # link-local, RFC 3927: nearly every cloud has its metadata at 169.254.169.254
        "224.0.0.0/4",  # multicast
        "255.255.255.255/32",
        "100.100.100.200/32",  # metadata of Alibaba Cloud
        "168.63.129.16/32",  # the wire server of Azure
        "192.0.0.192/32",  # metadata of Oracle Cloud, classic
        "::/128",
        "fe80::/10",  # link-local, RFC 4291
        "ff00::/8",  # multicast
        "fd00:ec2::/64",  # metadata, name servers and the like of AWS
        "fd20:ce::254/128",  # metadata of Google Cloud
        "fd00:42::42/128",  # metadata of Scaleway
    )
)
HOSTS: Final = frozenset({"metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"})
"""Names of such addresses that are the same everywhere."""

_LOW: Final = (1 << 32) - 1
_NOTHING: Final = ip_network("0.0.0.0/8")
"""Not an embedded address: `::1` is not 0.0.0.1."""
_LAST: Final = tuple(map(ip_network, ("::ffff:0:0/96", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
"""IPv4-mapped and -compatible (RFC 4291), -translated (RFC 2765), NAT64 (RFC 6052): the IPv4 address comes last."""
_LOCAL_NAT64: Final = ip_network("64:ff9b:1::/48")
_6TO4: Final = ip_network("2002::/16")
_TEREDO: Final = ip_network("2001::/32")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)


def parse(host: str) -> Address | None:
    """The address that a host is, an IPv4 address in IPv6 form (RFC 4291, 2.5.5.2) as such; None for a name."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_special(address: Address, named: Sequence[Network] = ()) -> bool:
    """Whether there is no service at an address, nor at one inside it, that none of the `named` networks allows.

    A network allows it if it is no larger than the special one: 169.254.0.0/16 does, 0.0.0.0/0 does not.
    """
    return any(
        each in special and not any(each in network and _is_within(network, special) for network in named)
        for each in (address, *_inside(address))
        for special in _SPECIAL
    )


def screened(addresses: Iterable[str], named: Sequence[Network] = ()) -> list[str]:
    """Those of a name's addresses at which a service may be."""
    parsed = ((text, parse(text)) for text in addresses)
    return [text for text, address in parsed if address is not None and not is_special(address, named)]


def _is_within(network: Network, outer: Network) -> bool:
    return network.prefixlen >= outer.prefixlen and network.network_address in outer


def _inside(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses to which a host or a router may deliver packets for an IPv6 address."""
    if isinstance(address, IPv6Address):
        yield from (each for each in _embedded(address) if each not in _NOTHING)


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    """Candidates for IPv4 addresses embedded in it; they need not be real ones."""
    value, octets = int(address), address.packed
    if any(address in network for network in _LAST):
        yield IPv4Address(value & _LOW)
    elif address in _LOCAL_NAT64:  # RFC 8215; the address begins after 48, 56, 64 or 96 bits, and skips bits 64 to 71
        shorter = octets[:8] + octets[9:]
        yield from (IPv4Address(shorter[start : start + 4]) for start in (6, 7, 8))
        yield IPv4Address(value & _LOW)
    elif address in _6TO4:  # RFC 3056
        yield IPv4Address(octets[2:6])
    elif address in _TEREDO:  # RFC 4380: the server, and the client with all bits inverted
        yield IPv4Address(octets[4:8])
        yield IPv4Address(~value & _LOW)
    if (value >> 32) & _LOW in _ISATAP:  # RFC 5214
        yield IPv4Address(value & _LOW)
