"""Which networks requests may come from."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from portico.core.caches import remembered
from portico.core.clients import parsed
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.networks import NetworkField
from portico.core.settings import Settings
from portico.policies.policy import Context, Policy


class IpFilterSettings(Settings):
    """Networks, or single addresses. A client in one of `deny` is refused and, where there are any in `allow`, one that
    is in none of those. Its address is its own, or the one that a trusted proxy reports.
    """

    allow: tuple[NetworkField, ...] = ()
    """Clients in none of them are refused."""
    deny: tuple[NetworkField, ...] = ()
    """Clients in one of them are refused, whatever `allow` says."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.allow and not self.deny:
            raise ValueError("no networks are written: write allow: [10.0.0.0/8], or deny")
        useless = next((own for own in self.allow if any(_holds(other, own) for other in self.deny)), None)
        if useless is not None:
            raise ValueError(f"{useless} is in allow, and deny refuses all of it: deny comes first")
        return self


def _holds(network: NetworkField, other: NetworkField) -> bool:
    return network.version == other.version and other.subnet_of(network)  # type: ignore[arg-type]


def build_ip_filter(settings: IpFilterSettings, context: Context) -> Policy:  # noqa: ARG001
    """The policy: refuses with 403 clients of other networks."""
    refusal = Refusal("address_refused", "requests from this address are not accepted here")

    @remembered(4096)
    def is_accepted(client: str) -> bool:
        address = parsed(client)
        if address is None:
            return not settings.allow
        if any(address in network for network in settings.deny):
            return False
        return not settings.allow or any(address in network for network in settings.allow)

    def ip_filter(exchange: Exchange) -> Answer | None:
        return None if is_accepted(exchange.client_ip) else refusal

    return ip_filter
