"""Which instance a request would go to, why, and what stands against each other one."""

from __future__ import annotations

import time
from typing import Any, Final

from portico.core.exchange import Exchange
from portico.upstreams.breaker import STATES
from portico.upstreams.consistent_hash import ConsistentHash
from portico.upstreams.instance import Instance
from portico.upstreams.instance_state import InstanceState
from portico.upstreams.least_connections import LeastConnections
from portico.upstreams.power_of_two import PowerOfTwo
from portico.upstreams.random_choice import RandomChoice
from portico.upstreams.round_robin import RoundRobin
from portico.upstreams.service import Service

_WHY: Final = {
    RoundRobin: "its turn is next (round robin)",
    LeastConnections: "it has the fewest requests under way, for its weight (least connections)",
    PowerOfTwo: "the better of two at random (power of two choices): another time it may be another one",
    RandomChoice: "at random: another time it may be another one",
    ConsistentHash: "the key of the request belongs to it (consistent hash)",
}
_AGAINST: Final = {
    InstanceState.BACKUP: "it is a backup: it gets requests when none of the others can",
    InstanceState.DRAINED: "its weight is 0",
    InstanceState.EJECTED: "its breaker is open",
    InstanceState.DOWN: "it fails its health checks",
    InstanceState.HALF_OPEN: "one request at a time tries whether it has recovered",
    InstanceState.SLOW_START: "it was admitted again, and has less than its share for a while",
    InstanceState.UNREACHABLE: "it could not be reached just now",
    InstanceState.PANIC: "its breaker is open; it is used all the same, since too many are ejected",
}


def described(service: Service, chosen: Instance | None, exchange: Exchange) -> dict[str, Any]:
    """All instances of a service; `chosen` is the one that the request goes to."""
    states = dict(service.exceptions(time.monotonic()))
    others = [_of(service, each, states) for each in service.instances if each is not chosen]
    if chosen is None:
        return {"service": service.name, "url": None, "why": "there is none that can be used", "others": others}
    own = _of(service, chosen, states)
    return {"service": service.name, **own, "why": _why(service, chosen, exchange, own), "others": others}


def _of(service: Service, instance: Instance, states: dict[Instance, InstanceState]) -> dict[str, Any]:
    state = states.get(instance, InstanceState.ACTIVE)
    breaker = instance.breaker
    return {
        "url": _url(instance),
        "state": str(state),
        "weight": service.weight_of(instance),
        "in_flight": running_at(instance),
        "breaker": STATES[breaker.state] if breaker is not None else None,
        "against": _against(instance, state),
    }


def _against(instance: Instance, state: InstanceState) -> str | None:
    if running_at(instance) >= instance.max_connections:
        return f"all its {instance.max_connections} connections are in use"
    return _AGAINST.get(state)


def running_at(instance: Instance) -> int:
    """How many exchanges are under way there, without the one that is explained."""
    of: Instance = getattr(instance, "of", instance)
    return of.in_flight


def _why(service: Service, chosen: Instance, exchange: Exchange, own: dict[str, Any]) -> str:
    if service.sticky is not None and service.sticky.named(exchange) is chosen:
        return "the request belongs to it (sticky)"
    if len(service.instances) == 1:
        return "it is the only one"
    if len(service.available) == 1 and chosen in service.available:
        return "it is the only one that can be used"
    if chosen not in service.available:
        return str(own["against"])
    return _WHY.get(service.balancing, "the balancer chooses it")


def _url(instance: Instance) -> str:
    address = instance.address
    if address.path:
        return f"unix:{address.path}"
    return f"{'https' if address.tls is not None else 'http'}://{address.authority}"
