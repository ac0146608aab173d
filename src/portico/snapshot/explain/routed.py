"""A request that has its route, before its policies are asked: where routing ends and all else begins."""

from __future__ import annotations

from dataclasses import dataclass

from portico.core.exchange import Exchange
from portico.proxy.routing.route import Handling


@dataclass(frozen=True, slots=True)
class Routed:
    """What `Gateway.begin` has when it comes to policies: `exchange.match` is set, the client is identified."""

    exchange: Exchange
    handling: Handling
    listener: str = ""
    """The key of the listener that it came to; empty where there is one alone."""
