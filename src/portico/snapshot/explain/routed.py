"""A request that has its route, before its policies are asked: where routing ends and all else begins."""

from __future__ import annotations

from dataclasses import dataclass

from portico.core.exchange import Exchange
from portico.policies.policy import Policy
from portico.proxy.routing.route import Handling


@dataclass(frozen=True, slots=True)
class Routed:
    """What `Gateway.begin` has when it comes to policies.

    `exchange.match` is set, the client is identified. `refusal` is the last policy of a request for a version that does
    not exist; None: its policies are those of `handling`.
    """

    exchange: Exchange
    handling: Handling
    refusal: Policy | None
    listener: str = ""
    """The key of the listener that it came to; empty where there is one alone."""
