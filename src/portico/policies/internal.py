"""An endpoint for clients in some networks only."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from portico.core.caches import remembered
from portico.core.clients import parsed
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.policies.policy import Policy


def build_internal(networks: Sequence[IPv4Network | IPv6Network]) -> Policy:
    """The policy: refuses with 403 a client whose address is in none of the `networks`."""

    @remembered(1024)
    def is_inside(client: str) -> bool:
        address = parsed(client)
        return address is not None and any(address in network for network in networks)

    def internal(exchange: Exchange) -> Answer | None:
        if is_inside(exchange.client_ip):
            return None
        return Refusal("address_refused", "this endpoint is for the networks of the gateway's operator")

    return internal
