"""Networks as they are written: `10.0.0.0/8`, or one address."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import BeforeValidator

Network = IPv4Network | IPv6Network


def _network(value: Any) -> Any:
    if isinstance(value, (IPv4Network, IPv6Network)):
        return value
    text = value if isinstance(value, str) else ""
    try:
        return _unmapped(ip_network(text))
    except ValueError:
        pass
    try:
        wider = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("expected an address or a network such as 10.0.0.0/8") from None
    raise ValueError(f"the address has bits beyond the network's; the network is {wider}")


def _unmapped(network: Network) -> Network:
    """IPv4 clients are IPv4 clients, in whatever form they come."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return IPv4Network((mapped, network.prefixlen - 96)) if mapped is not None and network.prefixlen >= 96 else network


NetworkField = Annotated[Network, BeforeValidator(_network, json_schema_input_type=str)]
