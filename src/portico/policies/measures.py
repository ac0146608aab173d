"""What a limit counts by: a rate or a calendar quota, in memory and by name in Redis, and how clients learn of it.

`RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-11, lists of structured fields (RFC
9651): `q` requests per `w` seconds, `r` remaining, `t` seconds until the quota is whole again or, where nothing
remains, until the next request.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from math import ceil
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote

from portico.core.caches import remembered
from portico.core.exchange import Exchange
from portico.net.redis.link import argument
from portico.policies.counters.buckets import Buckets
from portico.policies.counters.periods import Period, bounds
from portico.policies.counters.quotas import Quotas
from portico.policies.counters.standing import Asked

_PLAIN: Final = re.compile(r"[A-Za-z0-9._~:/@+-]{1,64}")
_REMEMBERED: Final = 16_384
_LINES: Final = 4096

_POLICY: Final = b"RateLimit-Policy: "
_LEFT: Final = b"RateLimit: "
_SHADOW: Final = ";portico-shadow"
"""The parameter of a limit that is not enforced: the draft asks for a prefix of one's own."""
_PAID: Final = ";portico-cost"
"""The parameter of a limit that counts what responses cost: units of a quota (`qu`) are registered ones only."""
_MINUTE: Final = 60
_ALMOST: Final = 1e-6
_MOST: Final = 10**15 - 1
"""The largest integer of a structured field (RFC 9651, section 3.3.1)."""


def key_value(text: str) -> str:
    """The name of a client as part of a key in Redis: short, and different for every text.

    No client can produce the brackets of a hash tag, or the mark before a digest.
    """
    if _PLAIN.fullmatch(text):
        return text
    quoted = quote(text, safe=":/@+")
    return quoted if 0 < len(quoted) <= 64 else "#" + blake2b(text.encode(), digest_size=16).hexdigest()


class Measure(Protocol):
    """One number that requests count against; the key identifies the client."""

    name: str
    """How clients, the log and metrics call it."""
    fallback: str
    """What holds while Redis does not answer: `local`, `allow` or `deny`."""
    arguments: tuple[bytes, bytes]
    """The script's arguments: where the request has no further limit, and where one follows."""
    looking: tuple[bytes, bytes]
    """The same where nothing is to be taken."""
    numbers: bytes
    """The first two of these."""
    asked: Asked
    """What is counted of its limit."""
    how: str
    """How often it allows as many: tokens that come back in a microsecond, or a period of the calendar."""
    redis_name: tuple[str, str]
    """What stands before and behind a key in Redis."""
    kind: Kind

    def redis_key(self, key: str) -> bytes:
        """The name in Redis of the state of a key, as a bulk string."""

    def look(self, key: str, exchange: Exchange) -> float:
        """In memory: what `take` would return."""

    def take(self, key: str, exchange: Exchange) -> float:
        """In memory: count the request. What is left then, or minus the seconds until something is left again."""

    def charge(self, key: str, cost: int) -> None:
        """In memory: count what an exchange cost that is over."""

    def note(self, key: str, left: float, exchange: Exchange) -> None:
        """In memory: take over what Redis reports; this worker counts on from there while Redis is down."""

    def members(self, left: float, clock: float) -> tuple[bytes, bytes]:
        """Its members of `RateLimit-Policy` and `RateLimit`; `left` is as above, `clock` in seconds since the epoch."""

    def explain(self, wait: int) -> str:
        """Why a request is refused; `wait` in seconds."""


def add_members(exchange: Exchange, members: Sequence[tuple[bytes, bytes]], joins: bool) -> None:
    """Add the `members` of measures to the fields of the response; with `joins` to lines that are there already."""
    lines = exchange.response_lines
    for name, found in zip((_POLICY, _LEFT), zip(*members, strict=True), strict=True):
        line = b", ".join(found)
        index = next((at for at, known in enumerate(lines) if known.startswith(name)), None) if joins else None
        if index is None:
            lines += (name + line,)
        else:
            lines = (*lines[:index], b"%b, %b" % (lines[index], line), *lines[index + 1 :])
    exchange.response_lines = lines


class Kind(NamedTuple):
    """What is special about a limit: one that is not enforced, one that is paid after the fact."""

    is_shadow: bool = False
    is_paid: bool = False

    @property
    def mark(self) -> str:
        """The parameters that say so to clients."""
        return (_PAID if self.is_paid else "") + (_SHADOW if self.is_shadow else "")


def _redis_key(redis_name: tuple[str, str], key: str) -> bytes:
    return argument(key_value(key).join(redis_name).encode())


any_redis_key: Final = remembered(_REMEMBERED)(_redis_key)
"""The name of a client in Redis, by what stands before and behind it."""


class _Named:
    """What both kinds share; `redis_name` is the prefix and suffix of a key's value in Redis.

    A returning client is formatted once. With a `redis_key` it is one of very many, which remember nothing themselves.
    """

    def __init__(
        self,
        name: str,
        fallback: str,
        redis_name: tuple[str, str],
        allowed: int,
        how: str,
        kind: Kind,
        asked: Asked,
        redis_key: Callable[[str], bytes] | None,
    ) -> None:
        self.name = name
        self.fallback = fallback
        self.kind = kind
        self.redis_name = redis_name
        self.how = how
        self.asked = asked
        self.numbers = argument(b"%d" % allowed) + argument(how.encode())
        taken = b"0" if kind.is_paid else b""
        self.arguments = self.numbers + argument(taken + b"."), self.numbers + argument(taken + b"+")
        self.looking = self.numbers + argument(b"0."), self.numbers + argument(b"0+")
        self.redis_key = redis_key or remembered(_REMEMBERED)(partial(_redis_key, redis_name))


_USUAL: Final = Kind()


class Rate(_Named):
    """A bucket of `buckets.burst` tokens, one more every `buckets.interval` seconds.

    Its window is a minute, or the time in which the bucket fills where that is longer: so no more remain than `q` says.
    """

    def __init__(
        self,
        name: str,
        buckets: Buckets,
        fallback: str,
        redis_name: tuple[str, str],
        kind: Kind = _USUAL,
        asked: Asked | None = None,
        redis_key: Callable[[str], bytes] | None = None,
    ) -> None:
        how = f"{1e-6 / buckets.interval:.17g}"
        super().__init__(name, fallback, redis_name, buckets.burst, how, kind, asked or Asked(), redis_key)
        self.buckets = buckets
        mark = kind.mark
        window = max(_MINUTE, min(ceil(buckets.span - _ALMOST), _MOST))
        allowed = int(_MINUTE / buckets.interval + _ALMOST) if window == _MINUTE else buckets.burst
        self._policy_line = _POLICY + f'"{name}";q={allowed};w={window}{mark}'.encode()
        # Of a function that does not refer to this object: such a circle would outlive the snapshot.
        written = partial(_left_line, name, mark, buckets.burst, buckets.interval)
        self._left_line = remembered(_LINES)(written) if redis_key is None else partial(_any_left_line, *written.args)

    def look(self, key: str, exchange: Exchange) -> float:
        left = self.buckets.look(key, exchange.started)
        return left + 1 if self.kind.is_paid and left >= 0 else left

    def take(self, key: str, exchange: Exchange) -> float:
        return self.look(key, exchange) if self.kind.is_paid else self.buckets.take(key, exchange.started)

    def charge(self, key: str, cost: int) -> None:
        self.buckets.charge(key, cost, time.monotonic())

    def note(self, key: str, left: float, exchange: Exchange) -> None:
        self.buckets.set_left(key, left, exchange.started)

    def lines(self, left: float) -> tuple[bytes, bytes]:
        """Both field lines, where no other measure has members in them."""
        left_line = self._left_line
        return self._policy_line, left_line(left if left >= 0 else float(-ceil(-left)))

    def members(self, left: float, clock: float) -> tuple[bytes, bytes]:  # noqa: ARG002
        policy, left_line = self.lines(left)
        return policy.removeprefix(_POLICY), left_line.removeprefix(_LEFT)

    def explain(self, wait: int) -> str:
        burst, interval = self.buckets.burst, self.buckets.interval
        if self.kind.is_paid:
            return f"the budget is spent: it is {burst} at most, and {60 / interval:g} more a minute; wait {wait} s"
        return f"{burst} requests at once are allowed, one more every {interval:g} s; wait {wait} s"


def _left_line(name: str, mark: str, burst: int, interval: float, left: float) -> bytes:
    missing = burst - left if left else 1
    reset = int(min(-left, _MOST)) if left < 0 else min(ceil(missing * interval - _ALMOST), _MOST)
    return _LEFT + f'"{name}";r={max(0, int(left))};t={reset}{mark}'.encode()


_any_left_line: Final = remembered(_LINES)(_left_line)


class Quota(_Named):
    """A number of requests per calendar period."""

    def __init__(
        self,
        name: str,
        quotas: Quotas,
        fallback: str,
        redis_name: tuple[str, str],
        kind: Kind = _USUAL,
        asked: Asked | None = None,
        redis_key: Callable[[str], bytes] | None = None,
    ) -> None:
        period, asked = quotas.period, asked or Asked()
        super().__init__(f"{name}-{period}", fallback, redis_name, quotas.allowed, period, kind, asked, redis_key)
        self.quotas = quotas
        self._mark = kind.mark
        self._begin = self._end = 0

    def look(self, key: str, exchange: Exchange) -> float:  # noqa: ARG002
        left = self.quotas.look(key, time.time())
        return left + 1 if self.kind.is_paid and left >= 0 else left

    def take(self, key: str, exchange: Exchange) -> float:
        return self.look(key, exchange) if self.kind.is_paid else self.quotas.take(key, time.time())

    def charge(self, key: str, cost: int) -> None:
        self.quotas.charge(key, cost, time.time())

    def note(self, key: str, left: float, exchange: Exchange) -> None:  # noqa: ARG002
        self.quotas.set_left(key, left, time.time())

    def members(self, left: float, clock: float) -> tuple[bytes, bytes]:
        if not self._begin <= clock < self._end:
            self._begin, self._end = bounds(self.quotas.period, clock)
        policy = f'"{self.name}";q={self.quotas.allowed};w={self._end - self._begin}{self._mark}'
        reset = ceil(self._end - clock if left >= 0 else -left)
        return policy.encode(), f'"{self.name}";r={max(0, int(left))};t={reset}{self._mark}'.encode()

    def explain(self, wait: int) -> str:
        period: Period = self.quotas.period
        if self.kind.is_paid:
            allowed = self.quotas.allowed
            return f"the budget of {allowed} for this {period} is spent; the next {period} begins in {wait} s"
        return f"{self.quotas.allowed} requests per {period} are allowed; the next {period} begins in {wait} s"
