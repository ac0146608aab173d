"""Rate limits and quotas: per client, header value or consumer, counted in memory, or by all gateways in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field

from portico.core.clients import client_of
from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.settings import HeaderName, Settings
from portico.policies.counters.buckets import Buckets, TokenBuckets
from portico.policies.counters.periods import PERIODS
from portico.policies.counters.quotas import Quotas
from portico.policies.counters.shared_buckets import BucketTable, SharedBuckets
from portico.policies.counters.shared_limits import SharedLimits
from portico.policies.measures import Measure, Quota, Rate
from portico.policies.policy import Context, Pending, Policy


class ByHeader(Settings):
    """Counts separately by the value of one request header; requests without it share one bucket.

    A request that has it more than once is refused: the service may read another value than the one counted.
    """

    header: HeaderName


Allowance: TypeAlias = Annotated[int, Field(ge=1, le=10**12)]


class RateLimit(Settings):
    """One limit: `burst` tokens at most, refilled at `requests_per_minute`; a request takes one token.

    Beside it, or instead of it where neither number is written, quotas for each hour, day or month of the calendar
    (UTC). `by` is what is counted separately: a client address (IPv6 by its /64), a header's value or a consumer.
    `fallback` applies while Redis, where limits are shared through it, does not answer.
    """

    requests_per_minute: Annotated[float, Field(gt=0, le=1e9)] = 60
    burst: Annotated[int, Field(ge=1, le=10**9)] = 20
    requests_per_hour: Allowance | None = None
    requests_per_day: Allowance | None = None
    requests_per_month: Allowance | None = None
    by: Literal["client_ip", "consumer"] | ByHeader = "client_ip"
    fallback: Literal["local", "allow", "deny"] = "local"

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers that hold, by their keys."""
        quotas = {key: value for key in _QUOTAS if (value := getattr(self, key)) is not None}
        if quotas and not self.model_fields_set.intersection(_RATE):
            return quotas
        return {**{key: getattr(self, key) for key in _RATE}, **quotas}


_RATE: Final = ("requests_per_minute", "burst")
_QUOTAS: Final = {f"requests_per_{period}": period for period in PERIODS}

RateLimitSettings: TypeAlias = RateLimit | list[RateLimit]


def build_before_auth(settings: RateLimitSettings, context: Context) -> Policy | None:
    """The limits that do not depend on the consumer."""
    return _build(_steps(settings)[0], context, {})


def build_after_auth(settings: RateLimitSettings, context: Context) -> Policy | None:
    """The limits per consumer."""
    return _build(_steps(settings)[1], context, context.consumers)


def needs_redis(settings: RateLimitSettings, consumers: Mapping[str, Any]) -> bool:
    """Whether workers can count these limits together only in Redis; a rate on its own needs none."""
    before, after = _steps(settings)
    return any(
        step and not _is_one_rate([limit.numbers for limit in step], owns)
        for step, owns in ((before, {}), (after, consumers))
    )


def _is_one_rate(numbers: Sequence[Mapping[str, Any]], owns: Mapping[str, Any]) -> bool:
    """Whether there is one number to count against, for all clients, and it is a rate."""
    own = [_own_numbers(numbers, each) for each in owns.values()]
    return len(numbers) == 1 and all(each[0].keys() == set(_RATE) for each in (numbers, *own))


def _steps(settings: RateLimitSettings) -> tuple[list[RateLimit], list[RateLimit]]:
    """The limits before authentication, and those after it."""
    limits = settings if isinstance(settings, list) else [settings]
    return [each for each in limits if each.by != "consumer"], [each for each in limits if each.by == "consumer"]


def _build(limits: list[RateLimit], context: Context, consumers: Mapping[str, Any]) -> Policy | None:
    """The policy of one step: a request is counted by all of its limits or, where one refuses, by none."""
    if not limits:
        return None
    is_alone = all(limit.by == limits[0].by for limit in limits)
    numbers = [limit.numbers for limit in limits]
    owns = {name: _own_numbers(numbers, own) for name, own in consumers.items()}
    is_one_rate = _is_one_rate(numbers, consumers)
    table = context.table if is_one_rate else None
    counters = [
        _Limit(
            limit,
            _Maker(limit, index, is_alone, context, table),
            {name: own[index] for name, own in owns.items()},
        )
        for index, limit in enumerate(limits)
    ]
    if context.shared is not None and table is None:
        check: Policy = _SharedStep(counters, context.shared).check
    elif is_one_rate:
        check = counters[0].check
    else:
        check = _Step(counters).check
    headers = [limit.by.header for limit in limits if isinstance(limit.by, ByHeader)]
    return _with_single(headers, check) if headers else check


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


def _own_numbers(limits: Sequence[Mapping[str, Any]], own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers of every limit for a consumer with some of its own; what none of them limits, the first does."""
    known = {key for numbers in limits for key in numbers}
    replaced = [{key: own.get(key, value) for key, value in numbers.items()} for numbers in limits]
    more = {key: value for key, value in own.items() if key not in known}
    if more.keys() & set(_RATE):
        more = {**{key: RateLimit.model_fields[key].default for key in _RATE}, **more}
    replaced[0] |= more
    return replaced


class _Maker:
    """Makes the measures of one limit; their state in memory outlives a snapshot that leaves the numbers alone."""

    def __init__(
        self, limit: RateLimit, index: int, is_alone: bool, context: Context, table: BucketTable | None
    ) -> None:
        by = limit.by
        self.name = by if isinstance(by, str) else by.header.lower()
        self.fallback = limit.fallback
        self.index = index
        self.context = context
        self.table = table
        who = by if isinstance(by, str) else f"header.{self.name}"
        step = "after" if by == "consumer" else "before"
        # All keys of one request have one hash tag, so that in a Cluster they are in one slot: the client or,
        # where limits of one step count by different things, the step.
        self.tagged, scope = ("{", "}") if is_alone else ("", ""), context.scope
        self.prefix = f"portico:limit:{scope if is_alone else f'{{{scope}:{step}}}'}:{index}:{who}"

    def make(self, numbers: Mapping[str, Any]) -> tuple[Measure, ...]:
        """The measures of these numbers: the rate first, then quotas from the shortest to the longest."""
        measures: list[Measure] = []
        if "burst" in numbers:
            rate, burst = (numbers[key] for key in _RATE)
            buckets = self._buckets(rate, burst)
            measures.append(Rate(self.name, buckets, self.fallback, self._redis_name("rate")))
        for key, period in _QUOTAS.items():
            if key in numbers:
                quotas = self._kept((key, numbers[key]), partial(Quotas, numbers[key], period))
                measures.append(Quota(self.name, quotas, self.fallback, self._redis_name(period)))
        return tuple(measures)

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
        return self.context.state.keep(("rate_limit", self.context.scope, self.name, self.index, *numbers), make)


class _Limit:
    """One limit as configured, replaced by a consumer's own numbers where there are some."""

    def __init__(self, settings: RateLimit, maker: _Maker, owns: Mapping[str, Mapping[str, Any]]) -> None:
        by = settings.by
        self.key_of: Callable[[Exchange], str] = _KEYS[by] if isinstance(by, str) else _by_header(by.header)
        self.measures = maker.make(settings.numbers)
        self.owns = {name: maker.make(numbers) for name, numbers in owns.items()}

    def asked(self, exchange: Exchange) -> list[tuple[Measure, str]]:
        """What a request counts against, and by which key."""
        key = self.key_of(exchange)
        return [(measure, key) for measure in self.owns.get(key, self.measures)]

    def check(self, exchange: Exchange) -> Answer | None:
        """The policy where there is one number to count against, a rate: the fast path, which most routes have."""
        key_of = self.key_of
        key = key_of(exchange)
        (rate,) = self.owns.get(key, self.measures) if self.owns else self.measures
        assert isinstance(rate, Rate)
        left = rate.buckets.take(key, exchange.started)
        exchange.response_lines += rate.lines(left, 0.0)
        return None if left >= 0 else _refusal(rate, left)


class _Step:
    """The limits that a request passes at one point of the request pipeline."""

    def __init__(self, limits: Sequence[_Limit]) -> None:
        self.limits = limits

    def asked(self, exchange: Exchange) -> list[tuple[Measure, str]]:
        """What a request counts against here."""
        return [each for limit in self.limits for each in limit.asked(exchange)]

    def check(self, exchange: Exchange) -> Answer | Pending | None:
        """The policy, in memory."""
        return _take_all(exchange, self.asked(exchange))


class _SharedStep(_Step):
    """The same, counted in Redis."""

    def __init__(self, limits: Sequence[_Limit], shared: SharedLimits) -> None:
        super().__init__(limits)
        self.shared = shared

    def check(self, exchange: Exchange) -> Answer | Pending | None:
        """The policy. A client that was refused a moment ago is refused again without asking; else Redis decides."""
        shared, now = self.shared, exchange.started
        asked = self.asked(exchange)
        keys = [measure.redis_key(key) for measure, key in asked]
        for (measure, _), key in zip(asked, keys, strict=True):
            wait = shared.refused_for(key, now)
            if wait > 0:
                exchange.response_lines += measure.lines(-wait, time.time())
                return _refusal(measure, -wait)
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
        return _take_all(exchange, [each for each in asked if each[0].fallback == "local"])


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

    def answered(self, left: list[int], clock: float) -> None:
        exchange, shared = self.exchange, self.step.shared
        seconds = [count if count >= 0 else count / 1e6 for count in left]
        for (measure, who), key, count in zip(self.asked, self.keys, seconds, strict=True):
            if measure.fallback == "local":
                measure.note(who, count, exchange)
            if count < 0:
                shared.refuse(key, exchange.started, -count)
        self.settle(_report(exchange, self.asked, seconds, clock))

    def unanswered(self) -> None:
        self.settle(self.step.fall_back(self.exchange, self.asked))

    def faulted(self) -> None:
        self.settle(Refusal("internal_error", "the gateway failed on this request"))


def _take_all(exchange: Exchange, asked: Sequence[tuple[Measure, str]]) -> Answer | None:
    """Count a request by all measures or, where one refuses, by none; in memory."""
    left = [measure.look(key, exchange) for measure, key in asked]
    if all(count >= 0 for count in left):
        left = [measure.take(key, exchange) for measure, key in asked]
    return _report(exchange, asked, left, time.time())


def _report(
    exchange: Exchange, asked: Sequence[tuple[Measure, str]], left: Sequence[float], clock: float
) -> Answer | None:
    """Report what is left to the client, and refuse where nothing is: for the longest of the waits."""
    worst: tuple[float, Measure] | None = None
    for (measure, _), count in zip(asked, left, strict=True):
        exchange.response_lines += measure.lines(count, clock)
        if count < 0 and (worst is None or count < worst[0]):
            worst = count, measure
    return _refusal(worst[1], worst[0]) if worst is not None else None


def _refusal(measure: Measure, left: float) -> Refusal:
    wait = ceil(-left)
    return Refusal("rate_limited", measure.explain(wait), (b"Retry-After: %d" % wait,))


def _by_client(exchange: Exchange) -> str:
    return client_of(exchange.client_ip)


def _by_consumer(exchange: Exchange) -> str:
    return exchange.consumer or ""


_KEYS: dict[Any, Callable[[Exchange], str]] = {"client_ip": _by_client, "consumer": _by_consumer}


def _by_header(header: str) -> Callable[[Exchange], str]:
    name = header.lower().encode()

    def key(exchange: Exchange) -> str:
        assert exchange.request is not None
        value = exchange.request.fields.get(name) or b""
        return value[:256].decode("latin-1")

    return key
