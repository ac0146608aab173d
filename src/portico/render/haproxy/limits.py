"""How often clients may come: token buckets, as Portico has them, in stick tables.

A bucket is one number, the time at which it will be full again (the generic cell rate algorithm): it is kept in the
general purpose tag of a stick table. Times are milliseconds, or microseconds where a token comes in less than 100 ms;
of both, the lower 32 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Final, NamedTuple

from portico.config import ResolvedRoute
from portico.config.problems import KeyPath
from portico.policies.rate_limit import ByHeader, RateLimit
from portico.render.haproxy.answers import refusal
from portico.render.haproxy.names import Names
from portico.render.haproxy.text import section
from portico.render.policies import policy_path

MOST: Final = 3
"""Limits of one route: HAProxy has so many counters for a request, unless it is built anew."""
_TURN: Final = 1 << 32
_FINE: Final = 600
"""Tokens a minute beyond which a millisecond is too coarse."""
_LONGEST: Final = 1 << 31


class _Bucket(NamedTuple):
    """A limit in the numbers of its table."""

    place: int
    table: str
    key: str
    token: int
    """How long a token takes to come."""
    burst: int
    second: int
    """How many units of time there are in one."""

    @property
    def now(self) -> str:
        return "txn.now" if self.second == 1000 else "txn.now_fine"

    @property
    def lines(self) -> Iterator[str]:
        """What looks at it, and takes nothing yet."""
        ahead = f"txn.ahead{self.place}"
        full, spare = self.burst * self.token, (self.burst - 1) * self.token
        unit = "ms" if self.second == 1000 else "us"
        yield f"http-request set-var({self.now}) date(0,{unit}),mod({_TURN})"
        yield f"http-request track-sc{self.place} {self.key} table {self.table}"
        yield f"http-request set-var({ahead}) sc_get_gpt0({self.place}),sub({self.now})"
        none = f"{{ var({ahead}) -m int lt 0 }} || {{ var({ahead}) -m int gt {full} }}"
        yield f"http-request set-var({ahead}) int(0) if {none}"
        wait = f"var({ahead}),sub({spare}),add({self.second - 1}),div({self.second})"
        longer = f"{{ var({ahead}) -m int gt {spare} }}"
        yield f"http-request set-var(txn.wait) {wait} if {longer}"

    @property
    def taking(self) -> Iterator[str]:
        """What takes a token."""
        after = f"txn.next{self.place}"
        yield f"http-request set-var({after}) var({self.now}),add(txn.ahead{self.place}),add({self.token}),mod({_TURN})"
        yield f"http-request sc-set-gpt0({self.place}) var({after})"


def limiting(names: Names, route: ResolvedRoute, *, knows_consumer: bool) -> tuple[list[str], list[str]]:
    """The lines of a route's limits before and after it is known who asks. A refusal says when to come again."""
    if "rate_limit" not in route.policies:
        return [], []
    settings, scope = route.policies["rate_limit"]
    at = policy_path(route, scope, "rate_limit")
    groups: tuple[list[_Bucket], list[_Bucket]] = ([], [])
    prepared: tuple[list[str], list[str]] = ([], [])
    for index, limit in enumerate(settings if isinstance(settings, list) else [settings]):
        place = (*at, index) if isinstance(settings, list) else at
        if not _is_counted(names, limit, place, sum(map(len, groups)), knows_consumer=knows_consumer):
            continue
        is_after = limit.by == "consumer"
        bucket, lines = _bucket(names, limit, place, f"{scope}:{index}", sum(map(len, groups)))
        groups[is_after].append(bucket)
        prepared[is_after].extend(lines)
    first, second = ([*lines, *_checked(group)] for lines, group in zip(prepared, groups, strict=True))
    return first, second


def _checked(group: list[_Bucket]) -> Iterator[str]:
    """A request is counted by all of them or, where one refuses, by none."""
    for bucket in group:
        yield from bucket.lines
    if group:
        yield from refusal(429, "rate_limited", "{ var(txn.wait) -m found }")
    for bucket in group:
        yield from bucket.taking


def _is_counted(names: Names, limit: RateLimit, at: KeyPath, count: int, *, knows_consumer: bool) -> bool:
    quotas = [key for key in limit.numbers if key not in ("requests_per_minute", "burst")]
    why = ""
    if getattr(limit, "cost", None) is not None:
        names.losses.add(at, "HAProxy counts requests, and not what they cost")
        return False
    if quotas:
        names.losses.add(at, "HAProxy counts no quotas for an hour, a day or a month")
    if "requests_per_minute" not in limit.numbers:
        return False
    if limit.by == "consumer" and not knows_consumer:
        why = "no consumer is known here: there is no auth that HAProxy can check"
    elif not limit.enforce:
        why = "a limit that refuses nothing is left out"
    elif count >= MOST:
        why = f"HAProxy counts a request in {MOST} tables at most"
    if why:
        names.losses.add(at, why)
    return not why


def _bucket(names: Names, limit: RateLimit, at: KeyPath, scope: str, index: int) -> tuple[_Bucket, list[str]]:
    """A limit in numbers, and the lines that prepare its key."""
    second = 1_000_000 if limit.requests_per_minute > _FINE else 1000
    if limit.burst * 60 / limit.requests_per_minute * second >= _LONGEST:
        second = 1000
    token = max(round(60 * second / limit.requests_per_minute), 1)
    if limit.burst * token >= _LONGEST:
        names.losses.add(at, "HAProxy's numbers end before this bucket is full: it fills within 24 days")
        token = _LONGEST // limit.burst
    key, kind, lines = _key(limit, index)
    known = ("limit", scope, str(limit.by), token, limit.burst)
    name, is_new = names.once(known, f"limit-{scope.removesuffix(':0')}")
    table = f"own:{name}"
    if is_new:
        expire = max(ceil(limit.burst * token / second), 1)
        line = f"stick-table type {kind} size 100k expire {expire}s store gpt0"
        names.tables[table] = section(f"backend {table}", [line])
    return _Bucket(index, table, key, token, limit.burst, second), lines


def _key(limit: RateLimit, index: int) -> tuple[str, str, list[str]]:
    """What is counted by, the type of the table's keys, and the lines before."""
    if limit.by == "client_ip":
        return "src,ipmask(32,64)", "ipv6", []
    source = f"req.fhdr({limit.by.header})" if isinstance(limit.by, ByHeader) else "var(txn.consumer)"
    variable = f"txn.key{index}"
    lines = [
        f"http-request set-var({variable}) str(none)",  # those without it share a bucket
        f"http-request set-var({variable}) {source},sha1,hex if {{ {source} -m found }}",
    ]
    if isinstance(limit.by, ByHeader):
        lines.insert(0, f"http-request deny deny_status 400 if {{ req.fhdr_cnt({limit.by.header}) gt 1 }}")
    return f"var({variable})", "string len 41", lines
