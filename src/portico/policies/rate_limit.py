"""Rate limits: a token bucket per client, header value or consumer."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from math import ceil
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from portico.errors import Answer, Refusal
from portico.exchange import Exchange
from portico.policies.policy import Context, Policy
from portico.settings import HeaderName, Settings
from portico.stores.buckets import TokenBuckets


class ByHeader(Settings):
    """Counts apart by the value of one request header; requests without it share one bucket."""

    header: HeaderName


class RateLimit(Settings):
    """One limit: `burst` tokens at most, refilled at `requests_per_minute`; a request takes one token.

    `by` says who has a bucket of their own: a client address (IPv6 by its /64), a header's value or a consumer.
    """

    requests_per_minute: Annotated[float, Field(gt=0, le=1e9)] = 60
    burst: Annotated[int, Field(ge=1, le=10**9)] = 20
    by: Literal["client_ip", "consumer"] | ByHeader = "client_ip"


RateLimitSettings: TypeAlias = RateLimit | list[RateLimit]


def build_before_auth(settings: RateLimitSettings, context: Context) -> Policy | None:
    """The limits that need not know who is asking."""
    return _build([limit for limit in _as_list(settings) if limit.by != "consumer"], context)


def build_after_auth(settings: RateLimitSettings, context: Context) -> Policy | None:
    """The limits per consumer."""
    return _build([limit for limit in _as_list(settings) if limit.by == "consumer"], context)


def _as_list(settings: RateLimitSettings) -> list[RateLimit]:
    return settings if isinstance(settings, list) else [settings]


def _build(limits: list[RateLimit], context: Context) -> Policy | None:
    checks = [_Limit(limit, context, place) for place, limit in enumerate(limits)]
    if not checks:
        return None
    if len(checks) == 1:
        return checks[0].check

    def rate_limits(exchange: Exchange) -> Answer | None:
        for limit in checks:
            refusal = limit.check(exchange)
            if refusal is not None:
                return refusal
        return None

    return rate_limits


class _Rate:
    """Buckets of one rate, with the field lines that tell clients about it.

    `RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-10: `q` requests per `w`
    seconds, `r` remaining, `t`
    seconds until the quota is whole again.
    """

    def __init__(self, name: str, place: int, requests_per_minute: float, burst: int, context: Context) -> None:
        key = ("rate_limit", context.scope, name, place, requests_per_minute, burst)
        self.buckets: TokenBuckets = context.state.keep(key, lambda: TokenBuckets(requests_per_minute, burst))
        self.policy_line = f'RateLimit-Policy: "{name}";q={ceil(requests_per_minute)};w=60'.encode()
        self.name = name
        self.remaining_line = lru_cache(maxsize=4096)(self._remaining_line)

    def _remaining_line(self, remaining: float) -> bytes:
        buckets = self.buckets
        reset = ceil((buckets.burst - remaining) * buckets.interval)
        return f'RateLimit: "{self.name}";r={int(remaining)};t={reset}'.encode()


class _Limit:
    """One limit as configured, with a consumer's own rate in its place where there is one."""

    def __init__(self, settings: RateLimit, context: Context, place: int) -> None:
        by = settings.by
        self.name = by if isinstance(by, str) else by.header.lower()
        self.key_of: Callable[[Exchange], str] = _KEYS[by] if isinstance(by, str) else _by_header(by.header)
        self.rate = _Rate(self.name, place, settings.requests_per_minute, settings.burst, context)
        self.own_rates: dict[str, _Rate] = {}
        if by == "consumer":
            self.own_rates = {
                name: _Rate(self.name, place, own.requests_per_minute, own.burst, context)
                for name, numbers in context.consumers.items()
                for own in (settings.model_copy(update=dict(numbers)),)
            }

    def check(self, exchange: Exchange) -> Answer | None:
        key = self.key_of(exchange)
        rate = self.own_rates.get(key, self.rate) if self.own_rates else self.rate
        remaining = rate.buckets.take(key, exchange.started)
        lines = exchange.response_lines
        lines.append(rate.policy_line)
        if remaining >= 0:
            lines.append(rate.remaining_line(remaining))
            return None
        wait = ceil(-remaining)
        lines.append(f'RateLimit: "{self.name}";r=0;t={wait}'.encode())
        return Refusal(
            "rate_limited",
            f"{rate.buckets.burst} requests at once are allowed, one more every {rate.buckets.interval:g} s; "
            f"wait {wait} s",
            (b"Retry-After: %d" % wait,),
        )


def _by_client(exchange: Exchange) -> str:
    address = exchange.client_ip
    return _network(address) if ":" in address else address


@lru_cache(maxsize=65_536)
def _network(address: str) -> str:
    """The /64 of an IPv6 address: one household or host has that many addresses to itself."""
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


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
