"""What a request passes where limits are: it is counted in memory, or by all gateways in Redis, and refused or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import ceil
from operator import itemgetter

from portico.core.clients import client_of
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.mcp import decoded, is_coded
from portico.policies.costs.reading import CostReading
from portico.policies.counters.shared_limits import SharedLimits
from portico.policies.counters.standing import Asked
from portico.policies.measures import Measure, Rate, add_members
from portico.policies.own_measures import Measures, OwnMeasures
from portico.policies.policy import Pending
from portico.policies.shadow import Exceeded


class Limit:
    """One limit as configured, replaced by a consumer's own numbers where there are some."""

    def __init__(
        self,
        name: str,
        key_of: Callable[[Exchange], str],
        measures: Measures,
        owns: OwnMeasures,
        counts: Asked,
        reading: CostReading | None,
    ) -> None:
        self.name = name
        self.key_of = key_of
        self.measures = measures
        self.owns = owns
        self._has_owns = bool(owns)
        self.counts = counts
        self.reading = reading
        """What reads costs from responses; None: requests are counted."""

    def asked(self, exchange: Exchange) -> list[tuple[Measure, str]]:
        """What a request counts against, and by which key."""
        self.counts.asked += 1
        key = self.key_of(exchange)
        measures = self.owns.get(key, self.measures) if self._has_owns else self.measures
        return [(measure, key) for measure in measures]

    def check(self, exchange: Exchange) -> Answer | None:
        """The policy where there is one number to count against, a rate: the fast path, which most routes have."""
        self.counts.asked += 1
        key_of = self.key_of
        key = key_of(exchange)
        (rate,) = self.owns.get(key, self.measures) if self._has_owns else self.measures
        assert isinstance(rate, Rate)
        left = rate.buckets.take(key, exchange.started)
        exchange.response_lines += rate.lines(left)
        return None if left >= 0 else _refusal(rate, left)


class Step:
    """The limits that a request passes at one point of the request pipeline.

    With `joins` others have come before, and have added members to the fields.
    """

    def __init__(self, limits: Sequence[Limit], joins: bool) -> None:
        self.limits = limits
        self.joins = joins

    def asked(self, exchange: Exchange) -> list[tuple[Measure, str]]:
        """What a request counts against here."""
        return [each for limit in self.limits for each in limit.asked(exchange)]

    def check(self, exchange: Exchange) -> Answer | Pending | None:
        """The policy, in memory."""
        return self.take_all(exchange, self.asked(exchange))

    def take_all(self, exchange: Exchange, asked: Sequence[tuple[Measure, str]]) -> Answer | None:
        """Count a request by all measures or, where one refuses, by none; in memory."""
        left = [measure.look(key, exchange) for measure, key in asked]
        if all(count >= 0 for count in left):
            left = [measure.take(key, exchange) for measure, key in asked]
        return self.report(exchange, [measure for measure, _ in asked], left, time.time())

    def report(
        self, exchange: Exchange, measures: Sequence[Measure], left: Sequence[float], clock: float
    ) -> Answer | None:
        """Report what is left to the client, and refuse where nothing is: for the longest of the waits."""
        if not measures:
            return None
        found = list(zip(measures, left, strict=True))
        add_members(exchange, [measure.members(count, clock) for measure, count in found], self.joins)
        worst, least = min(found, key=itemgetter(1))
        return _refusal(worst, least) if least < 0 else None


class SharedStep(Step):
    """The same, counted in Redis."""

    def __init__(self, limits: Sequence[Limit], joins: bool, shared: SharedLimits) -> None:
        super().__init__(limits, joins)
        self.shared = shared

    def check(self, exchange: Exchange) -> Answer | Pending | None:
        """The policy. A client that was refused a moment ago is refused again without asking; else Redis decides."""
        shared, now = self.shared, exchange.started
        asked = self.asked(exchange)
        keys = [measure.redis_key(key) for measure, key in asked]
        for (measure, _), key in zip(asked, keys, strict=True):
            wait = shared.refused_for(key, now)
            if wait > 0:
                return self.report(exchange, [measure], [-wait], time.time())
        if not shared.is_up:
            return self.fall_back(exchange, asked)
        question = _Question(self, exchange, asked, keys)
        shared.ask(question)
        return question

    def fall_back(self, exchange: Exchange, asked: Sequence[tuple[Measure, str]]) -> Answer | None:
        """Decide without Redis."""
        fallbacks, service = self.shared.fallbacks, exchange.match.handling.service_name
        fallbacks[service] = fallbacks.get(service, 0) + 1
        if any(measure.fallback == "deny" for measure, _ in asked):
            return Refusal("limits_unavailable", "the limits of this route cannot be checked now", (b"Retry-After: 1",))
        return self.take_all(exchange, [each for each in asked if each[0].fallback == "local"])


class _Question(Pending):
    """What one request asks of Redis."""

    __slots__ = ("arguments", "asked", "exchange", "keys", "step")

    def __init__(
        self, step: SharedStep, exchange: Exchange, asked: list[tuple[Measure, str]], keys: list[bytes]
    ) -> None:
        self.step = step
        self.exchange = exchange
        self.asked = asked
        self.keys = keys
        last = len(asked) - 1
        self.arguments = [measure.arguments[index < last] for index, (measure, _) in enumerate(asked)]

    @property
    def looking(self) -> list[bytes]:
        """The script's arguments where it is only to say what is left."""
        last = len(self.asked) - 1
        return [measure.looking[index < last] for index, (measure, _) in enumerate(self.asked)]

    @property
    def takes(self) -> list[bool]:
        """Which of its measures count requests."""
        return [not measure.kind.is_paid for measure, _ in self.asked]

    def answered(self, left: list[int], clock: float) -> None:
        exchange, shared = self.exchange, self.step.shared
        seconds = [count if count >= 0 else count / 1e6 for count in left]
        for (measure, who), key, count in zip(self.asked, self.keys, seconds, strict=True):
            if measure.fallback == "local":
                measure.note(who, count, exchange)
            if count < 0:
                shared.refuse(key, exchange.started, -count)
        self.settle(self.step.report(exchange, [measure for measure, _ in self.asked], seconds, clock))

    def unanswered(self) -> None:
        self.settle(self.step.fall_back(self.exchange, self.asked))

    def faulted(self) -> None:
        self.settle(Refusal("internal_error", "the gateway failed on this request"))


def _refusal(measure: Measure, left: float) -> Refusal:
    measure.asked.refused += 1
    wait = ceil(-left)
    return Exceeded(measure.name, measure.explain(wait), wait)


def by_client(exchange: Exchange) -> str:
    """Counts by client: one address, or one network of IPv6."""
    return client_of(exchange.client_ip)


def by_consumer(exchange: Exchange) -> str:
    """Counts by consumer."""
    return exchange.consumer or ""


def by_header(header: str) -> Callable[[Exchange], str]:
    """Counts by the value of a field."""
    name = header.lower().encode()
    is_mcp = is_coded(name)

    def key(exchange: Exchange) -> str:
        assert exchange.request is not None
        value = exchange.request.fields.get(name) or b""
        return (decoded(value) if is_mcp else value)[:256].decode("latin-1")

    return key
