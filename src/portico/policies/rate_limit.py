"""Rate limits and quotas: per client, header value or consumer, counted in memory, or by all gateways in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from itertools import count as numbers_from
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

from pydantic import Field, StringConstraints

from portico.core.consumers import Numbers, OwnNumbers
from portico.core.errors import Refusal
from portico.core.exchange import Exchange
from portico.core.settings import HeaderName, NotEmpty, Settings
from portico.policies.costs import CostSettings
from portico.policies.costs.paying import note_fields, paying
from portico.policies.costs.reading import CostReading
from portico.policies.counters.buckets import Buckets, Moments, TokenBuckets
from portico.policies.counters.periods import PERIODS, Period
from portico.policies.counters.quotas import Counts, Quotas
from portico.policies.counters.shared_buckets import BucketTable, SharedBuckets, Slots
from portico.policies.counters.standing import Asked
from portico.policies.limit_report import RATE, Listed
from portico.policies.limiting import Limit, SharedStep, Step, by_client, by_consumer, by_header
from portico.policies.measures import Kind, Measure, Quota, Rate, any_redis_key
from portico.policies.own_measures import Measures, OwnMeasures, Store
from portico.policies.policy import Context, Hooks, Policy
from portico.policies.shadow import Shadow


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
    owns: _Owns


class _Owns(Mapping[str, Mapping[str, Any]]):
    """The numbers of one limit for consumers with some of their own, by name, found when somebody asks for them."""

    def __init__(self, limits: Sequence[tuple[RateLimit, str]], index: int, own: OwnNumbers) -> None:
        self._limits = limits
        self._index = index
        self.own = own

    def __getitem__(self, consumer: str) -> Mapping[str, Any]:
        return self.replaced(self.own[consumer])

    def __iter__(self) -> Iterator[str]:
        return iter(self.own)

    def __len__(self) -> int:
        return len(self.own)

    def replaced(self, own: Numbers) -> Mapping[str, Any]:
        """The limit's numbers for whoever has these."""
        return _own_numbers(self._limits, own)[self._index]

    @property
    def keys_used(self) -> list[frozenset[str]]:
        """By which keys there are numbers: all that occur together."""
        return [frozenset(self.replaced(example)) for example in self.own.examples]


_Group: TypeAlias = list[_Counted]
"""Limits that are checked together: a request is counted by all of them or, where one refuses, by none."""


def _groups(settings: RateLimitSettings, consumers: Mapping[str, Any]) -> tuple[_Group, _Group, _Group, _Group]:
    """The limits before authentication, then those after it; of each the enforced ones first."""
    limits = settings if isinstance(settings, list) else [settings]
    names = _names(limits)
    groups: tuple[_Group, _Group, _Group, _Group] = ([], [], [], [])
    own = consumers if isinstance(consumers, OwnNumbers) else OwnNumbers(consumers)
    for is_after, numbers in ((False, OwnNumbers()), (True, own)):
        step = [each for each in zip(limits, names, strict=True) if (each[0].by == "consumer") == is_after]
        is_alone = len({limit.by for limit, _ in step}) == 1
        for index, (limit, name) in enumerate(step):
            group = 2 * is_after + (not limit.enforce)
            groups[group].append(_Counted(limit, name, index, is_alone, _Owns(step, index, numbers)))
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
        keys == set(_RATE) for keys in (frozenset(group[0].settings.numbers), *group[0].owns.keys_used)
    )


def _build(settings: RateLimitSettings, context: Context, index: int) -> Policy | None:
    """The policy of one group."""
    groups = _groups(settings, context.consumers)
    group, joins = groups[index], any(groups[:index])
    if not group:
        return None
    is_one_rate = _is_one_rate(group)
    table = context.table if is_one_rate else None
    limits = [_Maker(each, context, table).limit() for each in group]
    if context.shared is not None and table is None:
        check: Policy = SharedStep(limits, joins, context.shared).check
    elif is_one_rate and not joins and group[0].settings.cost is None:
        check = limits[0].check
    else:
        check = Step(limits, joins).check
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


_KEYS: Final[Mapping[str, Callable[[Exchange], str]]] = {"client_ip": by_client, "consumer": by_consumer}


class _Maker:
    """Makes the measures of one limit; their state in memory outlives a snapshot that leaves the numbers alone."""

    def __init__(self, counted: _Counted, context: Context, table: BucketTable | None) -> None:
        limit, by, is_alone = counted.settings, counted.settings.by, counted.is_alone
        self.settings = limit
        self.owns = counted.owns
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
        self.asked: Asked = self.kept(("asked",), Asked)
        # All keys of one request have one hash tag, so that in a Cluster they are in one slot: the client or,
        # where limits of one step count by different things, the step.
        self.tagged, scope = ("{", "}") if is_alone else ("", ""), context.scope
        self.prefix = f"portico:limit:{scope if is_alone else f'{{{scope}:{step}}}'}:{counted.place}:{who}"

    def make(self, numbers: Mapping[str, Any]) -> Measures:
        """The measures of these numbers: the rate first, then quotas from the shortest to the longest."""
        measures: list[Measure] = []
        if "burst" in numbers:
            rate, burst = (numbers[key] for key in _RATE)
            buckets = self._buckets(rate, burst)
            redis_name = self.redis_name("rate")
            measures.append(Rate(self.name, buckets, self.fallback, redis_name, self.kind, self.asked))
        for key, period in _QUOTAS.items():
            if key in numbers:
                quotas = self.kept((key, numbers[key]), partial(Quotas, numbers[key], period))
                redis_name = self.redis_name(period)
                measures.append(Quota(self.name, quotas, self.fallback, redis_name, self.kind, self.asked))
        return tuple(measures)

    def limit(self) -> Limit:
        """The limit, which is shown to whoever asks for all of them."""
        by, cost = self.settings.by, self.settings.cost
        key_of = _KEYS[by] if isinstance(by, str) else by_header(by.header)
        owns = _OwnMaker(self).measures() if self.owns else OwnMeasures()
        reading = CostReading(cost) if cost is not None else None
        made = Limit(self.name, key_of, self.make(self.settings.numbers), owns, self.asked, reading)
        self._list(made)
        return made

    def _list(self, limit: Limit) -> None:
        listed: Listed = self.kept(("listed",), Listed)
        listed.about = self.about
        listed.store = "workers" if self.table is not None else "memory" if self.context.shared is None else "redis"
        listed.asked, listed.measures, listed.owns = limit.counts, limit.measures, limit.owns
        listed.redis_names = {kind: self.redis_name(kind) for kind in (RATE, *PERIODS)} if self.owns else {}
        if listed.store == "redis" and self.context.shared is not None:
            listed.forget = self.context.shared.forget

    def _buckets(self, rate: float, burst: int) -> Buckets:
        if self.table is None:
            buckets: Buckets = self.kept((rate, burst), partial(TokenBuckets, rate, burst))
        else:
            limit = f"{self.prefix}:{rate:g}:{burst}"
            buckets = self.kept((rate, burst, "shared"), partial(SharedBuckets, self.table, limit, rate, burst))
        return buckets

    def redis_name(self, kind: str) -> tuple[str, str]:
        """What stands before and behind a client's name in Redis."""
        before, behind = self.tagged
        return f"{self.prefix}:{kind}:{before}", behind

    def kept(self, numbers: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What outlives the snapshot."""
        return self.context.state.keep(("rate_limit", self.context.scope, *self.key, *numbers), make)


class _OwnMaker:
    """Makes the measures of consumers with numbers of their own; what they count stands in a few stores of the limit.

    Of the snapshot it knows the settings alone: what is listed, and so outlives it, refers to this.
    """

    def __init__(self, maker: _Maker) -> None:
        self._owns, self._table, self._limit = maker.owns, maker.table, maker.prefix
        self._common = maker.name, maker.fallback
        self._marks = maker.kind, maker.asked
        used = frozenset().union(*maker.owns.keys_used)
        periods = [period for key, period in _QUOTAS.items() if key in used]
        self._names = {kind: maker.redis_name(kind) for kind in (RATE, *periods)}
        make_rates = Moments if maker.table is None else partial(Slots, maker.table)
        self._rates: Any = maker.kept(("own", RATE, maker.table is None), make_rates)
        self._counts: dict[Period, Counts] = {
            period: maker.kept(("own", period), partial(Counts, period)) for period in periods
        }

    def measures(self) -> OwnMeasures:
        """What makes them when they are needed."""
        stores: list[Store] = [self._rates, *self._counts.values()]
        return OwnMeasures(self._owns.own, self._make, stores)

    def _make(self, own: Numbers) -> Measures:
        numbers = self._owns.replaced(own)
        measures: list[Measure] = []
        if "burst" in numbers:
            buckets = self._buckets(*(numbers[key] for key in _RATE))
            measures.append(Rate(self._common[0], buckets, self._common[1], *self._told(RATE)))
        for key, period in _QUOTAS.items():
            if key in numbers:
                quotas = Quotas(numbers[key], period, store=self._counts[period], prefix=f"{numbers[key]} ")
                measures.append(Quota(self._common[0], quotas, self._common[1], *self._told(period)))
        return measures

    def _buckets(self, rate: float, burst: int) -> Buckets:
        prefix = f"{rate!r}:{burst} "
        if self._table is None:
            return TokenBuckets(rate, burst, store=self._rates, prefix=prefix)
        buckets: Buckets = self._rates.buckets(f"{self._limit}:{rate:g}:{burst}", rate, burst, prefix)
        return buckets

    def _told(self, kind: str) -> tuple[tuple[str, str], Kind, Asked, Callable[[str], bytes]]:
        return self._names[kind], *self._marks, partial(any_redis_key, self._names[kind])
