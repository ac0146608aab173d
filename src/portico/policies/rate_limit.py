"""Rate limits and quotas: per client, header value or consumer, counted in memory, or by all gateways in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from itertools import count as numbers_from
from math import ceil
from operator import itemgetter
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

from pydantic import Field, StringConstraints

from portico.core.clients import client_of
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.mcp import decoded, is_coded
from portico.core.settings import HeaderName, NotEmpty, Settings
from portico.policies.costs import CostSettings
from portico.policies.costs.paying import note_fields, paying
from portico.policies.costs.reading import CostReading
from portico.policies.counters.buckets import Buckets, TokenBuckets
from portico.policies.counters.periods import PERIODS
from portico.policies.counters.quotas import Quotas
from portico.policies.counters.shared_buckets import BucketTable, SharedBuckets
from portico.policies.counters.shared_limits import SharedLimits
from portico.policies.counters.standing import Asked
from portico.policies.limit_report import Listed
from portico.policies.measures import Kind, Measure, Quota, Rate, add_members
from portico.policies.policy import Context, Hooks, Pending, Policy
from portico.policies.shadow import Exceeded, Shadow


class ByHeader(Settings):
    """Counts separately by the value of one request header; requests without it share one bucket.

    A request that has it more than once is refused: the service may read another value than the one counted.
    """

    header: HeaderName
    """The field whose value is counted by; requests without it share one bucket."""


Allowance: TypeAlias = Annotated[int, Field(ge=1, le=10**12)]


class RateLimit(Settings):
    """One limit: `burst` tokens at most, refilled at `requests_per_minute`; a request takes one token, or, with `cost`,
    as many as its response says once it is over.

    Beside it, or instead of it where neither number is written, quotas for each hour, day or month of the calendar
    (UTC). `by` is what is counted separately: a client address (IPv6 by its /64), a header's value or a consumer.
    `fallback` applies while Redis, where limits are shared through it, does not answer. With `enforce: false` it counts
    and reports, and refuses nothing. `name` is how clients, the log and metrics call it, instead of by `by`.
    """

    requests_per_minute: Annotated[float, Field(gt=0, le=1e9)] = 60
    """The steady rate; fractions are allowed."""
    burst: Annotated[int, Field(ge=1, le=10**9)] = 20
    """How many may come at once."""
    requests_per_hour: Allowance | None = None
    """A quota that begins anew with each hour of UTC. A limit that names quotas and neither of the numbers above has no
    bucket.
    """
    requests_per_day: Allowance | None = None
    """A quota that begins anew with each day of UTC."""
    requests_per_month: Allowance | None = None
    """A quota that begins anew with each month of UTC."""
    by: Literal["client_ip", "consumer"] | ByHeader = "client_ip"
    """What a bucket is for: an address (IPv6: a /64), the consumer that `auth` found, or the value of the request
    header that `header` names. Requests without the header, or without a consumer, share one bucket; those that have it
    twice are refused with 400.
    """
    fallback: Literal["local", "allow", "deny"] = "local"
    """What holds while limits are counted in Redis and it does not answer: each worker counts by itself, every request
    is admitted, or every one gets 503, `limits_unavailable`.
    """
    cost: Annotated[CostSettings | None, NotEmpty("write cost: {json: /usage/total_tokens}, or leave it out")] = None
    """With it the limit is a budget of what responses cost, in place of requests: `burst`, `requests_per_minute` and
    the quotas are in the same units. A request is admitted while anything is left, and pays once its response is over:
    what it takes beyond the budget has to come back first.
    """
    enforce: bool = True
    """`false`: it counts and reports, and refuses nothing."""
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)] | None = None
    """What clients, the log and metrics call it: `client_ip`, `consumer`, the header's name. A quota appends its period
    (`consumer-day`), and the second of two with one name is `NAME-2`.
    """

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers that hold, by their keys."""
        quotas = {key: value for key in _QUOTAS if (value := getattr(self, key)) is not None}
        if quotas and not self.model_fields_set.intersection(_RATE):
            return quotas
        return {**{key: getattr(self, key) for key in _RATE}, **quotas}


_NO_NUMBERS: Final[Mapping[str, Any]] = {}
_RATE: Final = ("requests_per_minute", "burst")
_QUOTAS: Final = {f"requests_per_{period}": period for period in PERIODS}

RateLimitSettings: TypeAlias = RateLimit | list[RateLimit]


def build_before_auth(settings: RateLimitSettings, context: Context) -> Policy | None:
    """The limits that do not depend on the consumer."""
    return _build(settings, context, 0)


def build_shadow_before_auth(settings: RateLimitSettings, context: Context) -> Policy | None:
    """Those of them that are not enforced."""
    return _build(settings, context, 1)


def build_after_auth(settings: RateLimitSettings, context: Context) -> Policy | None:
    """The limits per consumer."""
    return _build(settings, context, 2)


def build_shadow_after_auth(settings: RateLimitSettings, context: Context) -> Policy | None:
    """Those of them that are not enforced."""
    return _build(settings, context, 3)


def build_cost_fields(settings: RateLimitSettings, context: Context) -> Hooks | None:  # noqa: ARG001
    """What reads costs from fields of responses, for all of these limits."""
    limits = settings if isinstance(settings, list) else [settings]
    if not any(limit.cost is not None and limit.cost.header is not None for limit in limits):
        return None

    return Hooks(response=note_fields)


def without_costs(settings: RateLimitSettings) -> RateLimitSettings:
    """Those of them that count requests."""
    limits = settings if isinstance(settings, list) else [settings]
    return [limit for limit in limits if limit.cost is None]


def needs_redis(settings: RateLimitSettings, consumers: Mapping[str, Any]) -> bool:
    """Whether workers can count these limits together only in Redis; a rate on its own needs none."""
    return any(group and not _is_one_rate(group) for group in _groups(settings, consumers))


def enforced_limits(settings: RateLimitSettings, consumers: Mapping[str, Any]) -> tuple[_Group, _Group]:
    """The limits before authentication, and those after it, with the numbers that consumers have of their own."""
    before, _, after, _ = _groups(settings, consumers)
    return before, after


class _Counted(NamedTuple):
    """One limit of a list. `owns` are the numbers of consumers that have their own."""

    settings: RateLimit
    name: str
    place: int
    """Its index among those that are checked at the same point, enforced or not: what it counts is kept by it."""
    is_alone: bool
    """Whether all of these count by the same."""
    owns: Mapping[str, Mapping[str, Any]]


_Group: TypeAlias = list[_Counted]
"""Limits that are checked together: a request is counted by all of them or, where one refuses, by none."""


def _groups(settings: RateLimitSettings, consumers: Mapping[str, Any]) -> tuple[_Group, _Group, _Group, _Group]:
    """The limits before authentication, then those after it; of each the enforced ones first."""
    limits = settings if isinstance(settings, list) else [settings]
    names = _names(limits)
    groups: tuple[_Group, _Group, _Group, _Group] = ([], [], [], [])
    for is_after, owns in ((False, {}), (True, consumers)):
        step = [each for each in zip(limits, names, strict=True) if (each[0].by == "consumer") == is_after]
        is_alone = len({limit.by for limit, _ in step}) == 1
        replaced = {consumer: _own_numbers(step, own) for consumer, own in owns.items()} if step else {}
        for index, (limit, name) in enumerate(step):
            own = {consumer: each[index] for consumer, each in replaced.items()}
            group = 2 * is_after + (not limit.enforce)
            groups[group].append(_Counted(limit, name, index, is_alone, own))
    return groups


def _names(limits: Sequence[RateLimit]) -> list[str]:
    """What each is called; of those with one name, the second is `NAME-2`."""
    names: list[str] = []
    for limit in limits:
        wanted = limit.name or (limit.by if isinstance(limit.by, str) else limit.by.header.lower())
        numbered = (f"{wanted}-{number}" for number in numbers_from(2))
        names.append(next(name for name in chain((wanted,), numbered) if name not in names))
    return names


def _is_one_rate(group: _Group) -> bool:
    """Whether there is one number to count against, for all clients, and it is a rate."""
    return len(group) == 1 and all(
        numbers.keys() == set(_RATE) for numbers in (group[0].settings.numbers, *group[0].owns.values())
    )


def _build(settings: RateLimitSettings, context: Context, index: int) -> Policy | None:
    """The policy of one group."""
    groups = _groups(settings, context.consumers)
    group, joins = groups[index], any(groups[:index])
    if not group:
        return None
    is_one_rate = _is_one_rate(group)
    table = context.table if is_one_rate else None
    limits = [_Limit(each, _Maker(each, context, table)) for each in group]
    if context.shared is not None and table is None:
        check: Policy = _SharedStep(limits, joins, context.shared).check
    elif is_one_rate and not joins and group[0].settings.cost is None:
        check = limits[0].check
    else:
        check = _Step(limits, joins).check
    headers = [each.settings.by.header for each in group if isinstance(each.settings.by, ByHeader)]
    if headers:
        check = _with_single(headers, check)
    if not group[0].settings.enforce:
        check = Shadow(check, context.shadowed).check
    paid = [limit for limit in limits if limit.reading is not None]
    if paid:
        check = paying(paid, check, context.costs, None if table is not None else context.shared)
    return _exempting(check) if context.exempts else check


def _exempting(check: Policy) -> Policy:
    """`check`, for requests that do not pass limits."""
    return lambda exchange: None if getattr(exchange, "is_exempt", False) else check(exchange)


def _with_single(headers: Sequence[str], check: Policy) -> Policy:
    """`check`, for requests in which each of these fields comes once at most."""
    wanted = [(header, header.lower().encode()) for header in headers]

    def single(exchange: Exchange) -> Any:
        assert exchange.request is not None
        names = exchange.request.fields.names
        for header, name in wanted:
            if names.count(name) > 1:
                return Refusal("malformed_request", f"{header} comes more than once, and requests are counted by it")
        return check(exchange)

    return single


def _own_numbers(limits: Sequence[tuple[RateLimit, str]], own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers of every limit for a consumer with some of its own, which may name the limit.

    Numbers for none by name are for those that count requests; what none of these limits, the first of them does.
    """
    named: Mapping[str, Mapping[str, Any]] = own.get("limits") or {}
    plain = {key: value for key, value in own.items() if key != "limits"}
    replaced = [limit.numbers for limit, _ in limits]
    counted = [numbers for numbers, (limit, _) in zip(replaced, limits, strict=True) if limit.cost is None]
    more = {key: value for key, value in plain.items() if not any(key in numbers for numbers in counted)}
    for numbers in counted:
        numbers |= {key: value for key, value in plain.items() if key in numbers}
    if counted:
        counted[0] |= _with_rate(more)
    for numbers, (_, name) in zip(replaced, limits, strict=True):
        if name in named:
            numbers |= _with_rate(named[name], numbers)
    return replaced


def _with_rate(numbers: Mapping[str, Any], known: Mapping[str, Any] = _NO_NUMBERS) -> dict[str, Any]:
    """The same with both numbers of a rate where there is one of them."""
    if not numbers.keys() & set(_RATE):
        return dict(numbers)
    return {**{key: known.get(key, RateLimit.model_fields[key].default) for key in _RATE}, **numbers}


class _Maker:
    """Makes the measures of one limit; their state in memory outlives a snapshot that leaves the numbers alone."""

    def __init__(self, counted: _Counted, context: Context, table: BucketTable | None) -> None:
        limit, by, is_alone = counted.settings, counted.settings.by, counted.is_alone
        self.name = counted.name
        self.fallback = limit.fallback
        self.kind = Kind(not limit.enforce, limit.cost is not None)
        self.context = context
        self.table = table
        who = by if isinstance(by, str) else f"header.{by.header.lower()}"
        scope = context.scope
        self.about = {
            "id": f"{scope}/{counted.name}",
            "name": counted.name,
            "scope": scope,
            "by": who,
            "enforced": limit.enforce,
            "costs": limit.cost is not None,
            "fallback": limit.fallback,
        }
        if limit.cost is not None:
            who += ":cost"  # what was counted before it was written were requests
        step = "after" if by == "consumer" else "before"
        self.key = counted.place, who
        self.asked: Asked = self._kept(("asked",), Asked)
        # All keys of one request have one hash tag, so that in a Cluster they are in one slot: the client or,
        # where limits of one step count by different things, the step.
        self.tagged, scope = ("{", "}") if is_alone else ("", ""), context.scope
        self.prefix = f"portico:limit:{scope if is_alone else f'{{{scope}:{step}}}'}:{counted.place}:{who}"

    def make(self, numbers: Mapping[str, Any]) -> tuple[Measure, ...]:
        """The measures of these numbers: the rate first, then quotas from the shortest to the longest."""
        measures: list[Measure] = []
        if "burst" in numbers:
            rate, burst = (numbers[key] for key in _RATE)
            buckets = self._buckets(rate, burst)
            redis_name = self._redis_name("rate")
            measures.append(Rate(self.name, buckets, self.fallback, redis_name, self.kind, self.asked))
        for key, period in _QUOTAS.items():
            if key in numbers:
                quotas = self._kept((key, numbers[key]), partial(Quotas, numbers[key], period))
                redis_name = self._redis_name(period)
                measures.append(Quota(self.name, quotas, self.fallback, redis_name, self.kind, self.asked))
        return tuple(measures)

    def list(self, limit: _Limit) -> None:
        """Have the limit shown to whoever asks for all of them."""
        listed: Listed = self._kept(("listed",), Listed)
        listed.about = self.about
        listed.store = "workers" if self.table is not None else "memory" if self.context.shared is None else "redis"
        listed.asked, listed.measures, listed.owns = limit.counts, limit.measures, limit.owns
        if listed.store == "redis" and self.context.shared is not None:
            listed.forget = self.context.shared.forget

    def _buckets(self, rate: float, burst: int) -> Buckets:
        if self.table is None:
            buckets: Buckets = self._kept((rate, burst), partial(TokenBuckets, rate, burst))
        else:
            limit = f"{self.prefix}:{rate:g}:{burst}"
            buckets = self._kept((rate, burst, "shared"), partial(SharedBuckets, self.table, limit, rate, burst))
        return buckets

    def _redis_name(self, kind: str) -> tuple[str, str]:
        before, behind = self.tagged
        return f"{self.prefix}:{kind}:{before}", behind

    def _kept(self, numbers: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        return self.context.state.keep(("rate_limit", self.context.scope, *self.key, *numbers), make)


class _Limit:
    """One limit as configured, replaced by a consumer's own numbers where there are some."""

    def __init__(self, counted: _Counted, maker: _Maker) -> None:
        by = counted.settings.by
        self.key_of: Callable[[Exchange], str] = _KEYS[by] if isinstance(by, str) else _by_header(by.header)
        self.name = counted.name
        self.reading = CostReading(counted.settings.cost) if counted.settings.cost is not None else None
        self.measures = maker.make(counted.settings.numbers)
        self.owns = {consumer: maker.make(numbers) for consumer, numbers in counted.owns.items()}
        self.counts = maker.asked
        maker.list(self)

    def asked(self, exchange: Exchange) -> list[tuple[Measure, str]]:
        """What a request counts against, and by which key."""
        self.counts.asked += 1
        key = self.key_of(exchange)
        return [(measure, key) for measure in self.owns.get(key, self.measures)]

    def check(self, exchange: Exchange) -> Answer | None:
        """The policy where there is one number to count against, a rate: the fast path, which most routes have."""
        self.counts.asked += 1
        key_of = self.key_of
        key = key_of(exchange)
        (rate,) = self.owns.get(key, self.measures) if self.owns else self.measures
        assert isinstance(rate, Rate)
        left = rate.buckets.take(key, exchange.started)
        exchange.response_lines += rate.lines(left)
        return None if left >= 0 else _refusal(rate, left)


class _Step:
    """The limits that a request passes at one point of the request pipeline.

    With `joins` others have come before, and have added members to the fields.
    """

    def __init__(self, limits: Sequence[_Limit], joins: bool) -> None:
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


class _SharedStep(_Step):
    """The same, counted in Redis."""

    def __init__(self, limits: Sequence[_Limit], joins: bool, shared: SharedLimits) -> None:
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
        self, step: _SharedStep, exchange: Exchange, asked: list[tuple[Measure, str]], keys: list[bytes]
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


def _by_client(exchange: Exchange) -> str:
    return client_of(exchange.client_ip)


def _by_consumer(exchange: Exchange) -> str:
    return exchange.consumer or ""


_KEYS: dict[Any, Callable[[Exchange], str]] = {"client_ip": _by_client, "consumer": _by_consumer}


def _by_header(header: str) -> Callable[[Exchange], str]:
    name = header.lower().encode()
    is_mcp = is_coded(name)

    def key(exchange: Exchange) -> str:
        assert exchange.request is not None
        value = exchange.request.fields.get(name) or b""
        return (decoded(value) if is_mcp else value)[:256].decode("latin-1")

    return key
