"""A service as the request path sees it: its instances, timeouts and retries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from math import gcd
from typing import Any, Final

from portico.core.exchange import Exchange
from portico.core.messages import IDEMPOTENT
from portico.upstreams.balancer import Balancer, MakeBalancer
from portico.upstreams.breaker import CLOSED, HALF_OPEN
from portico.upstreams.budget import Budget
from portico.upstreams.hedging import Hedging
from portico.upstreams.instance import Instance
from portico.upstreams.instance_state import InstanceState
from portico.upstreams.limit import Limit
from portico.upstreams.round_robin import RoundRobin
from portico.upstreams.sticky import Choose, Sticky
from portico.wire.deadlines import NEVER, Deadlines

_AGAIN: Final = 1.0
"""Seconds after which what failed unexpectedly is done again."""
_WHOLE: Final = 10
"""Units of weight that an instance has for each unit that is written; while it warms up, it has fewer."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, until the response's head, between pieces of a body, and for everything (None: no bound).

    `tunnel`: of silence after a change of protocol, to which `total` does not apply. `silence`: until another instance
    may be tried beside one that has not begun to answer; as long as `response` at most. `keys` are those of the file
    that say how long `connect` and `response` are, where it does.
    """

    connect: float = 5.0
    response: float = 30.0
    idle: float = 60.0
    total: float | None = None
    tunnel: float = 600.0
    silence: float = 30.0
    keys: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failed request is retried, after which failures, and as what share of all requests at most.

    `methods` are those that may be sent again although the service may have seen them. `elsewhere` are phases
    after which only another instance is tried.
    """

    attempts: int = 2
    phases: frozenset[str] = frozenset({"connect", "reset"})
    statuses: frozenset[int] = frozenset()
    budget: float = 0.2
    methods: frozenset[bytes] = IDEMPOTENT
    elsewhere: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Balancing:
    """How instances share the requests.

    `max_ejected` is the share of them that may be ejected before those with open breakers are used again; None: any.
    One that is admitted again has a tenth of its weight at first and all of it after `slow_start` seconds.
    """

    make: MakeBalancer[Instance] = RoundRobin
    max_ejected: float | None = None
    slow_start: float = 0.0


class Service:
    """One service (or one version of it), compiled for the request path."""

    choose: Callable[[Sequence[Instance], Exchange], Instance | None]
    """The next instance, not one of those excluded; None where there is none."""
    available: Sequence[Instance]
    """Those that may be chosen."""
    reachable: int
    """How many there are for an exchange and its retries: those, and the backups behind them."""
    authorities: frozenset[bytes]
    """Hosts of all of them, in lower case and with the ports that are not usual."""
    speaks_tls: bool
    """Whether one of them does."""

    def __init__(
        self,
        name: str,
        instances: Sequence[tuple[Instance, int]],
        timeouts: Timeouts,
        retry: Retry,
        deadlines: Deadlines,
        balancing: Balancing | None = None,
        hedging: Hedging | None = None,
        failover: Hedging | None = None,
        sticky: Sticky | None = None,
    ) -> None:
        self.name = name
        self.timeouts = timeouts
        self.retry = retry
        self.hedging = hedging
        self.failover = failover
        """For second attempts beside an instance that is silent while others answer."""
        self.budget = failover.budget if failover else Budget()
        self.hedges = hedging.budget if hedging else Budget()
        """The budget for hedging, kept while that is turned off."""
        self.sticky = sticky
        """Which requests belong to an instance; None: none do."""
        self.limit: Limit | None = None
        """How many exchanges it may have under way; None: any number."""
        self.watches_host_from = float("-inf")
        """From when on its refusals are looked at, whether they are about the client's Host (monotonic seconds)."""
        self.deadline = self.wakes = NEVER
        self._deadlines = deadlines
        self._balancing = balancing or Balancing()
        self._balancer: Balancer[Instance] | None = None
        self.replace(instances)

    def follow(self, previous: Service) -> None:
        """Continue where the last snapshot's service stopped: with the balancer's position and the budgets used.

        Else a reload would refill the budgets in the middle of an outage, and send the next request to the first
        instance, whichever had the last one.
        """
        self.budget, self.hedges = previous.budget, previous.hedges
        self.watches_host_from = previous.watches_host_from
        if self.failover is not None:
            self.failover.budget = self.budget
        if self.hedging is not None:
            self.hedging.budget = self.hedges
        if self._balancer is not None:
            self._balancer.follow(previous._balancer)

    def replace(self, instances: Sequence[tuple[Instance, int]]) -> None:
        """Replace the instances, each with its weight; exchanges under way at those removed are not touched.

        One of weight 0 is checked as the others, and gets no requests.
        """
        self.instances = [instance for instance, _ in instances]
        self._written = dict(instances)
        self.authorities = frozenset(instance.address.authority.lower().encode() for instance in self.instances)
        self.speaks_tls = any(instance.address.tls for instance in self.instances)
        self.weigh()

    def weigh(self) -> None:
        """Go by the weights that hold now: those that are written, where nobody has said otherwise."""
        weights = {instance: _weight(instance, written) for instance, written in self._written.items()}
        divisor = gcd(*weights.values()) or 1
        self._weights = {instance: weight // divisor for instance, weight in weights.items()}
        self.refresh()

    def refresh(self) -> None:
        """Rebuild the balancer after an instance was admitted or ejected."""
        self.available = available = self._fit()
        self.reachable = len({*available, *_unejected(self._backups)})
        now = time.monotonic()
        shares = [self._warmth(instance, now) for instance in available]
        weights = [self._weights[instance] * share for instance, share in zip(available, shares, strict=True)]
        balancer = self._balancing.make(available, weights)
        if self._balancer is not None:
            balancer.follow(self._balancer)
        self._balancer, self.choose = balancer, balancer.choose
        if self.sticky is not None:  # one of weight 0 and a backup keep the requests that belong to them
            keeping = [instance for instance in _unejected(self.instances) if not instance.is_drained]
            self.choose = self.sticky.over(balancer.choose, {*available, *keeping})
        if any(share < _WHOLE for share in shares):
            self._deadlines.set(self, now + self._balancing.slow_start / _WHOLE)

    def deadline_passed(self) -> None:
        """An instance is warmer by a step."""
        self.refresh()

    def faulted(self) -> None:
        """The step in warming up failed: do it again."""
        self._deadlines.set(self, time.monotonic() + _AGAIN)

    def untried(self, tried: Sequence[Instance], exchange: Exchange) -> Instance | None:
        """The next instance that is not among `tried`; a backup where none of the others is left."""
        return self.choose(tried, exchange) or min(
            (each for each in _unejected(self._backups) if each not in tried),
            key=lambda each: each.in_flight / self._weights[each],
            default=None,
        )

    def binds(self, exchange: Exchange) -> bool:
        """Whether a request belongs to an instance: no other one may be tried beside that."""
        return self.sticky is not None and self.sticky.named(exchange) is not None

    def has_ready(self, now: float) -> bool:
        """Whether there is an instance that is not backing off."""
        return any(instance.backoff_until <= now for instance in self.available)

    def backing_off(self, now: float) -> list[Instance]:
        """The instances that are backing off."""
        return [instance for instance in self.available if instance.backoff_until > now]

    def opens_in(self, now: float) -> float | None:
        """If only breakers keep requests from it, seconds until one lets them pass again; else None."""
        closed = (i.breaker for i in self.instances if i.healthy and i.breaker is not None and self._weights[i])
        return min((breaker.seconds_left(now) for breaker in closed), default=None)

    def peek(self, double: Callable[[Instance], Instance]) -> Service:
        """One that would do now what this one does, for whoever asks: nothing that becomes of it changes this one.

        `double` gives what stands for an instance there.
        """
        peeked, doubles = copy(self), {each: double(each) for each in self.instances}
        originals = {each: original for original, each in doubles.items()}
        balancer, sticky = self._balancer, self.sticky
        assert balancer is not None
        choose_now: Choose = balancer.peek().choose
        if sticky is not None:
            peeked.sticky = sticky = sticky.peek()
            choose_now = sticky.over(choose_now, {*self.available, *_unejected(self.instances)})

        def choose(excluded: Sequence[Instance], exchange: Exchange) -> Instance | None:
            chosen = choose_now([originals[each] for each in excluded], exchange)
            return None if chosen is None else doubles[chosen]

        peeked.choose = choose
        peeked.instances = [*originals]
        peeked.available = [doubles[each] for each in self.available]
        peeked._weights = {doubles[each]: weight for each, weight in self._weights.items()}
        peeked.limit = None if self.limit is None else self.limit.peek()
        peeked.hedging = peeked.failover = None
        peeked.budget, peeked.hedges = copy(self.budget), copy(self.hedges)
        return peeked

    @property
    def _backups(self) -> list[Instance]:
        return [instance for instance in self.instances if self._weights[instance] and instance.is_backup]

    def _fit(self) -> list[Instance]:
        """The instances that pass their checks, without those with open breakers unless too few are left.

        Backups are among them where no other is, or where those with open breakers would be used.
        """
        usual = [instance for instance in self.instances if self._weights[instance] and not instance.is_backup]
        backups = self._backups
        left = _unejected(usual)
        most = self._balancing.max_ejected
        is_panic = most is not None and len(usual) - len(left) > most * len(usual) + 1e-9
        if left and not is_panic:
            return left
        spare = _unejected(backups)
        if spare or most is None:
            return left + spare
        return [instance for instance in usual + backups if instance.healthy]

    def _warmth(self, instance: Instance, now: float) -> int:
        span, age = self._balancing.slow_start, now - instance.returned
        return _WHOLE if age >= span else min(_WHOLE, 1 + int(_WHOLE * age / span))

    def is_outdone(self, instance: Instance, since: float) -> bool:
        """Whether an instance has begun no response since then, and another one has."""
        return instance.answered_at < since and any(other.answered_at >= since for other in self.available)

    def exceptions(self, now: float) -> Iterator[tuple[Instance, InstanceState]]:
        """Every instance that does not get its full share of the requests, or only because too many are ejected."""
        available, warms_up = frozenset(self.available), self._balancing.slow_start > 0
        for instance in self.instances:
            breaker = instance.breaker
            if not instance.healthy:
                yield instance, InstanceState.DOWN
            elif not self._weights[instance]:
                yield instance, InstanceState.DRAINED
            elif breaker is not None and breaker.state == HALF_OPEN:
                yield instance, InstanceState.HALF_OPEN
            elif breaker is not None and not breaker.lets_pass and instance not in available:
                yield instance, InstanceState.EJECTED
            elif instance not in available:
                yield instance, InstanceState.BACKUP
            elif breaker is not None and breaker.state != CLOSED:
                yield instance, InstanceState.PANIC
            elif instance.reachability.problem(now):
                yield instance, InstanceState.UNREACHABLE
            elif warms_up and self._warmth(instance, now) < _WHOLE:
                yield instance, InstanceState.SLOW_START

    def weight_of(self, instance: Instance) -> int:
        """Its weight, as a share of all weights without what they have in common."""
        return self._weights[instance]

    @property
    def balancing(self) -> type[Any]:
        """The kind of its balancer."""
        return type(self._balancer)

    def full(self) -> list[Instance]:
        """The instances that have reached their connection limit."""
        return [instance for instance in self.instances if instance.in_flight >= instance.max_connections]


def _weight(instance: Instance, written: int) -> int:
    return 0 if instance.is_drained else written if instance.weight is None else instance.weight


def _unejected(instances: Sequence[Instance]) -> list[Instance]:
    """Those that pass their checks and whose breakers are not open."""
    return [each for each in instances if each.healthy and (each.breaker is None or each.breaker.lets_pass)]
