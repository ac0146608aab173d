"""A service as the request path sees it: its instances, timeouts and retries."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from math import gcd
from typing import Any, Final, cast

from portico.core.exchange import Exchange
from portico.core.messages import IDEMPOTENT
from portico.core.slices import Steps, at_once
from portico.upstreams.balancer import Balancer, MakeBalancer
from portico.upstreams.breaker import CLOSED, HALF_OPEN
from portico.upstreams.budget import Budget
from portico.upstreams.hedging import Hedging
from portico.upstreams.instance import Instance
from portico.upstreams.instance_state import InstanceState
from portico.upstreams.limit import Limit
from portico.upstreams.ring import Ring
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
    One that is admitted again has a tenth of its weight at first and all of it after `slow_start` seconds. `ring` is
    what a service's balancers have in common that hash consistently.
    """

    make: MakeBalancer[Instance] = RoundRobin
    max_ejected: float | None = None
    slow_start: float = 0.0
    ring: Ring[Instance] | None = None


class Service:
    """One service (or one version of it), compiled for the request path.

    It may have thousands of instances: what becomes of one of them costs a look at that one, and of the others no more
    than a copy of their list.
    """

    choose: Callable[[Sequence[Instance], Exchange], Instance | None]
    """The next instance, not one of those excluded; None where there is none."""
    available: Sequence[Instance]
    """Those that may be chosen."""
    reachable: int
    """How many there are for an exchange and its retries: those, and the backups behind them."""

    def __init__(
        self,
        name: str,
        instances: Sequence[tuple[Instance, int]] | None,
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
        self.available, self.reachable = (), 0
        self.authorities: Counter[bytes] = Counter()
        """Hosts of all instances, in lower case and with the ports that are not usual, and of how many each is."""
        self._with_tls = 0
        self._written: dict[Instance, int] = {}
        """All instances in their order, each with the weight that is written."""
        self._weights: dict[Instance, int] = {}
        """The weights that hold."""
        self._of_weight: Counter[int] = Counter()
        """How many instances have each weight."""
        self._usual: set[Instance] = set()
        """Those with a weight that are no backups."""
        self._backups: dict[Instance, None] = {}
        self._fit: dict[Instance, int] = {}
        """The usual ones that are not ejected, each with its weight in the units of `_WHOLE`."""
        self._keeping: set[Instance] = set()
        """Those that keep the requests that belong to them: also backups, and those of weight 0."""
        self._warming: set[Instance] = set()
        self._odd: set[Instance] = set()
        """Those of which there is something to say."""
        if instances is not None:  # else `changing` brings them
            self.replace(instances)

    def begin_with(self, previous: Service) -> None:
        """Have most of the instances that the last snapshot's service has, before `changing` says which."""
        if self._balancing.ring is not None and previous._balancing.ring is not None:
            self._balancing.ring.copy(previous._balancing.ring)

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

    @property
    def instances(self) -> list[Instance]:
        """All of them."""
        return [*self._written]

    def has(self, instance: Instance) -> bool:
        """Whether it is one of them."""
        return instance in self._written

    @property
    def speaks_tls(self) -> bool:
        """Whether one of them does."""
        return self._with_tls > 0

    # ---- changes

    def replace(self, instances: Sequence[tuple[Instance, int]]) -> None:
        """Replace the instances, each with its weight; exchanges under way at those removed are not touched.

        One of weight 0 is checked as the others, and gets no requests.
        """
        wanted = dict(instances)
        at_once(self.changing(wanted, [each for each in self._written if each not in wanted]))

    def changing(self, came: Mapping[Instance, int], gone: Collection[Instance]) -> Steps[None]:
        """Have these instances, too, or with these weights, and those no more, in steps.

        Before the last step, requests go on to those that there were.
        """
        for instance, weight in came.items():
            if instance not in self._written:
                self.authorities[_authority(instance)] += 1
                self._with_tls += instance.address.tls is not None
            self._written[instance] = weight
            self._sort(instance)
            if self.sticky is not None:
                self.sticky.name_of(instance)  # the first time, that takes a while
            yield
        for instance in gone:
            self._drop(instance)
            yield
        if self._balancing.ring is not None:
            chosen = self._chosen()
            yield from self._balancing.ring.following(dict(zip(chosen, self._shares(chosen), strict=True)))
        self._balance()

    def refresh(self, changed: Iterable[Instance] | None = None) -> None:
        """Go by the state and the weights that these instances have now, or that all of them have.

        Weights are those that are written, where nobody has said otherwise.
        """
        for instance in self._written if changed is None else changed:
            if instance in self._written:
                self._sort(instance)
        if self._balancer is not None:  # else its instances have not all come yet
            self._balance()

    def _sort(self, instance: Instance) -> None:
        """Note anew how an instance may be used."""
        self._forget(instance)
        weight = self._weights[instance] = _weight(instance, self._written[instance])
        self._of_weight[weight] += 1
        breaker = instance.breaker
        is_unejected = instance.healthy and (breaker is None or breaker.lets_pass)
        share = self._warmth(instance, time.monotonic()) if self._balancing.slow_start else _WHOLE
        if share < _WHOLE:
            self._warming.add(instance)
        if is_unejected and not instance.is_drained:
            self._keeping.add(instance)
        if not weight:
            self._odd.add(instance)
            return
        if instance.is_backup:
            self._backups[instance] = None
        else:
            self._usual.add(instance)
            if is_unejected:
                self._fit[instance] = weight * share
        if share < _WHOLE or instance not in self._fit or (breaker is not None and breaker.state != CLOSED):
            self._odd.add(instance)

    def _forget(self, instance: Instance) -> None:
        """Undo what was noted of an instance."""
        weight = self._weights.pop(instance, None)
        if weight is not None:
            self._of_weight[weight] -= 1
            if not self._of_weight[weight]:
                del self._of_weight[weight]
        for noted in (self._usual, self._keeping, self._warming, self._odd):
            noted.discard(instance)
        for kept in (self._backups, self._fit):
            kept.pop(instance, None)

    def _drop(self, instance: Instance) -> None:
        if self._written.pop(instance, None) is None:
            return
        self._forget(instance)
        authority = _authority(instance)
        self.authorities[authority] -= 1
        if not self.authorities[authority]:
            del self.authorities[authority]
        self._with_tls -= instance.address.tls is not None

    def _balance(self) -> None:
        """Make the balancer of those that may be chosen now."""
        self.available = available = self._chosen()
        self.reachable = len({*available, *_unejected(self._backups)}) if self._backups else len(available)
        balancer = self._balancing.make(available, self._shares(available))
        if self._balancer is not None:
            balancer.follow(self._balancer)
        self._balancer, self.choose = balancer, balancer.choose
        if self.sticky is not None:  # one of weight 0 and a backup keep the requests that belong to them
            self.choose = self.sticky.over(balancer.choose, {*available, *self._keeping})
        if self.deadline == NEVER and not self._warming.isdisjoint(available):
            self._deadlines.set(self, time.monotonic() + self._balancing.slow_start / _WHOLE)

    def _chosen(self) -> list[Instance]:
        """The instances that pass their checks, without those with open breakers unless too few are left.

        Backups are among them where no other is, or where those with open breakers would be used.
        """
        left = [*filter(self._fit.__contains__, self._written)]
        most, usual = self._balancing.max_ejected, len(self._usual)
        is_panic = most is not None and usual - len(left) > most * usual + 1e-9
        if left and not is_panic:
            return left
        spare = _unejected(self._backups)
        if spare or most is None:
            return left + spare
        return [each for each in (*filter(self._usual.__contains__, self._written), *self._backups) if each.healthy]

    def _shares(self, available: Sequence[Instance]) -> list[int]:
        """Their weights as those that are warm have them, without what all weights have in common."""
        shares, divisor = [*map(self._fit.get, available)], gcd(*self._of_weight) or 1
        if divisor == 1 and None not in shares:
            return cast("list[int]", shares)
        now = time.monotonic()
        return [self._weights[each] // divisor * self._warmth(each, now) for each in available]

    def deadline_passed(self) -> None:
        """An instance is warmer by a step."""
        self.refresh([*self._warming])

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
        closed = (i.breaker for i in self._written if i.healthy and i.breaker is not None and self._weights[i])
        return min((breaker.seconds_left(now) for breaker in closed), default=None)

    def peek(self, double: Callable[[Instance], Instance]) -> Service:
        """One that would do now what this one does, for whoever asks: nothing that becomes of it changes this one.

        `double` gives what stands for an instance there.
        """
        peeked, doubles = copy(self), {each: double(each) for each in self._written}
        originals = {each: original for original, each in doubles.items()}
        balancer, sticky = self._balancer, self.sticky
        assert balancer is not None
        choose_now: Choose = balancer.peek().choose
        if sticky is not None:
            peeked.sticky = sticky = sticky.peek()
            choose_now = sticky.over(choose_now, {*self.available, *_unejected(self._written)})

        def choose(excluded: Sequence[Instance], exchange: Exchange) -> Instance | None:
            chosen = choose_now([originals[each] for each in excluded], exchange)
            return None if chosen is None else doubles[chosen]

        peeked.choose = choose
        peeked._written = {doubles[each]: weight for each, weight in self._written.items()}
        peeked._weights = {doubles[each]: weight for each, weight in self._weights.items()}
        peeked._backups = {doubles[each]: None for each in self._backups}
        peeked._odd = {doubles[each] for each in self._odd}
        peeked.available = [doubles[each] for each in self.available]
        peeked.limit = None if self.limit is None else self.limit.peek()
        peeked.hedging = peeked.failover = None
        peeked.budget, peeked.hedges = copy(self.budget), copy(self.hedges)
        return peeked

    def _warmth(self, instance: Instance, now: float) -> int:
        span, age = self._balancing.slow_start, now - instance.returned
        return _WHOLE if age >= span else min(_WHOLE, 1 + int(_WHOLE * age / span))

    def is_outdone(self, instance: Instance, since: float) -> bool:
        """Whether an instance has begun no response since then, and another one has."""
        return instance.answered_at < since and any(other.answered_at >= since for other in self.available)

    def exceptions(self, now: float) -> Iterator[tuple[Instance, InstanceState]]:
        """Every instance that does not get its full share of the requests, or only because too many are ejected."""
        available, warms_up = frozenset(self.available), self._balancing.slow_start > 0
        failing = (each for each in self._written if each.reachability.is_failing)
        for instance in {*self._odd, *failing}:
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
        return self._weights[instance] // (gcd(*self._of_weight) or 1)

    @property
    def balancing(self) -> type[Any]:
        """The kind of its balancer."""
        return type(self._balancer)

    def full(self) -> list[Instance]:
        """The instances that have reached their connection limit."""
        return [instance for instance in self._written if instance.in_flight >= instance.max_connections]


def _weight(instance: Instance, written: int) -> int:
    return 0 if instance.is_drained else written if instance.weight is None else instance.weight


def _authority(instance: Instance) -> bytes:
    return instance.address.authority.lower().encode()


def _unejected(instances: Iterable[Instance]) -> list[Instance]:
    """Those that pass their checks and whose breakers are not open."""
    return [each for each in instances if each.healthy and (each.breaker is None or each.breaker.lets_pass)]
