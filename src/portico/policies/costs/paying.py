"""Limits that are paid after the fact: each has what a request cost counted once that is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from portico.core.exchange import Exchange
from portico.net.redis.link import argument
from portico.observe.families import Counter
from portico.policies.costs.meter import Charge, meter_of
from portico.policies.costs.reading import CostReading
from portico.policies.counters.shared_limits import SharedLimits
from portico.policies.head import ResponseEdit
from portico.policies.measures import Measure
from portico.policies.own_measures import OwnMeasures
from portico.policies.policy import Policy


class Paid(Protocol):
    """A limit, as far as what is paid goes; one without a `reading` counts requests."""

    @property
    def name(self) -> str: ...

    @property
    def reading(self) -> CostReading | None: ...

    @property
    def key_of(self) -> Callable[[Exchange], str]: ...

    @property
    def measures(self) -> Sequence[Measure]: ...

    @property
    def owns(self) -> OwnMeasures: ...


def paying(limits: Sequence[Paid], check: Policy, costs: Counter | None, shared: SharedLimits | None) -> Policy:
    """`check`, for limits that count what requests cost: in Redis, too, where they are `shared`."""

    def metered(exchange: Exchange) -> Any:
        meter = meter_of(exchange)
        for limit in limits:
            meter.add(_charge(limit, exchange, costs, shared))
        return check(exchange)

    return metered


def note_fields(exchange: Exchange, edit: ResponseEdit) -> None:
    """The hook that reads costs from fields of the service's response, as that came."""
    meter = getattr(exchange, "costs", None)
    head = getattr(edit, "head", None)  # an answer of the gateway's own has none
    if head is not None and meter is not None:
        meter.note_fields(head.fields.all)


def _charge(limit: Paid, exchange: Exchange, costs: Counter | None, shared: SharedLimits | None) -> Charge:
    assert limit.reading is not None
    key = limit.key_of(exchange)
    measures = limit.owns.get(key, limit.measures)

    def pay(cost: int) -> None:
        for measure in measures:
            measure.charge(key, cost)
        if shared is not None and shared.is_up:
            shared.ask(Payment(key, measures, cost))
        if costs is not None:  # the service that answered, in place of one that failed
            costs.inc(cost, service=exchange.match.handling.service_name, limit=limit.name)

    return Charge(limit.reading, limit.name, pay)


class Payment:
    """What an exchange that is over cost, for Redis; in memory it is counted already."""

    __slots__ = ("arguments", "keys")

    def __init__(self, key: str, measures: Sequence[Measure], cost: int) -> None:
        self.keys = [measure.redis_key(key) for measure in measures]
        last = len(measures) - 1
        amounts = [argument(b"%d%b" % (cost, b"+" if index < last else b".")) for index in range(len(measures))]
        self.arguments = [measure.numbers + amount for measure, amount in zip(measures, amounts, strict=True)]

    def answered(self, left: list[int], clock: float) -> None:
        """It is counted."""

    def unanswered(self) -> None:
        """This worker counted it; whether Redis did is not known."""

    def faulted(self) -> None:
        """No request waits for it."""
