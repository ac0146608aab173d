"""Which side of a split a request takes: that of the first rule that it meets, else one by the weights.

A client stays on its side by a number, which is made of what it is known by or is in a cookie of the gateway's own.
Each side has a range of the numbers, so that moved weights move as few clients as can be.
"""

from __future__ import annotations

import logging
import re
from asyncio import AbstractEventLoop
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import accumulate, count, repeat
from operator import mod
from random import random
from typing import Any, Final, TypeAlias

from portico.core.caches import remembered
from portico.core.conditions import Condition, meets
from portico.core.exchange import Exchange, RouteMatch
from portico.core.messages import Fields, as_received
from portico.policies.policy import Policy
from portico.proxy.headers.forwarded import Peer
from portico.proxy.routing.route import Forward, Handling

logger: Final = logging.getLogger("portico.splits")

PARTS: Final = 10_000
"""Into how many parts the requests, or the clients, of a route are divided: shares are multiples of 0.01 %."""
_GOLDEN: Final = PARTS * (5**0.5 - 1) / 2
_REMEMBERED: Final = 4096
_LONGEST: Final = 256
"""How many numbers of how long keys are remembered."""
_TARGETED: Final = frozenset({b"cdn-cache-control", b"surrogate-control"})
"""Fields by which shared caches would store what `private` keeps out of them (RFC 9213)."""

NumberOf: TypeAlias = Callable[[Exchange], float]
"""The number of a request's client, from 0 up to `PARTS`; any number where the client is not known."""
Rule: TypeAlias = tuple[int, Callable[[Fields], bool]]
"""The index of a side, and whether a request is to take it."""


class SplitWeights:
    """The weights of a route's sides as they are now, in the order of the sides; they outlive snapshots.

    `written` are those of the configuration, `parts` say where the range of each side ends: the first begins at 0, and
    the last ends at `PARTS`.
    """

    __slots__ = ("down", "parts", "weights", "written")

    def __init__(self, written: Mapping[str, float]) -> None:
        self.written = written
        self.down: set[int] = set()
        """The sides that were found without an instance that can be used."""
        self.set(None)

    def peek(self) -> SplitWeights:
        """The same, for whoever asks which side a request takes: what is found there is not noted here."""
        peeked = copy(self)
        peeked.down = {*self.down}
        return peeked

    def set(self, sent: Mapping[str, float] | None) -> None:
        """Take weights by the names of the sides, of which those that are not named get 0.

        Those that are written hold where there are none, where they are for other sides, and where they are all 0.
        """
        if sent is None or not sent.keys() <= self.written.keys() or not sum(sent.values()):
            sent = self.written
        self.weights = tuple(sent.get(name, 0) for name in self.written)
        total = sum(self.weights)
        bounds = (PARTS * each / total for each in accumulate(self.weights))
        self.parts = [int(round(bound, 6) + 0.5) for bound in bounds]  # whoever has a part or more keeps one


class Split:
    """The sides of a route. `forward` chooses one and goes on as that does.

    Where sides have policies of their own, `choose` does it before, as the last of the route's policies, and
    `forward_chosen` goes on.

    The share of a side without a usable instance goes to the others where it `diverts`.
    """

    def __init__(
        self,
        route: str,
        weights: SplitWeights,
        number_of: NumberOf | None = None,
        rules: Sequence[Rule] = (),
        *,
        diverts: bool = True,
    ) -> None:
        self.weights = weights
        self._route = route
        self._number_of = number_of
        self._numbers = evenly()
        self._rules = tuple(rules)
        self._diverts = diverts

    def forward(self, exchange: Exchange, handling: Handling, loop: AbstractEventLoop) -> Forward:  # noqa: ARG002
        """Give a request its side, and make the forwarding there."""
        match = exchange.match = self._match(exchange)
        chosen: Handling = match.handling
        return chosen.forward(exchange, chosen, loop)

    def choose(self, exchange: Exchange) -> Any:
        """Give a request its side; what the policies of that side alone say of it."""
        match = exchange.match = self._match(exchange)
        return _verdict(match.handling.policies, exchange)

    def _match(self, exchange: Exchange) -> RouteMatch:
        weights = self.weights
        index = self._ruled(exchange) if self._rules else None
        number: float | None = None
        if index is None:
            number = next(self._numbers) if self._number_of is None else self._number_of(exchange)
            index = bisect(weights.parts, number)
        match: RouteMatch = exchange.match.sides[index]
        if weights.down or not match.handling.service.available:
            return self._usable(exchange, index, number)
        return match

    def _ruled(self, exchange: Exchange) -> int | None:
        request = exchange.request
        assert request is not None
        fields = as_received(request).fields
        for side, is_met in self._rules:
            if is_met(fields):
                return side
        return None

    def _usable(self, exchange: Exchange, index: int, number: float | None) -> RouteMatch:
        """The match of a side, or of another one in its place."""
        sides, down = exchange.match.sides, self.weights.down
        match: RouteMatch = sides[index]
        if match.handling.service.available:
            if index in down:
                down.discard(index)
                logger.info("a side of a split has an instance again", extra=self._named(match))
            return match
        instead = None
        if self._diverts:
            instead = self._instead(sides, index, next(self._numbers) if number is None else number)
        if index not in down:
            down.add(index)
            logger.warning(
                "a side of a split has no instance that can be used",
                extra={**self._named(match), "reason": "refused" if instead is None else "the others have its share"},
            )
        if instead is None:
            return match
        match.handling.side.diverted += 1
        return instead

    def _instead(self, sides: Sequence[RouteMatch], index: int, number: float) -> RouteMatch | None:
        """What clients of a side get meanwhile: they are shared out as the weights say, and no others move."""
        left = [
            (match, weight)
            for match, weight in zip(sides, self.weights.weights, strict=True)
            if weight and match.handling.service.available
        ]
        if not left:
            return None
        parts = self.weights.parts
        start, end = (parts[index - 1] if index else 0), parts[index]
        place = (number - start) / (end - start) if start <= number < end else number / PARTS
        bounds = [*accumulate(weight for _, weight in left)]
        return left[min(bisect(bounds, place * bounds[-1]), len(left) - 1)][0]

    def _named(self, match: RouteMatch) -> dict[str, str]:
        return {"route": self._route, "service": match.handling.side.service}


class EvenSplit(Split):
    """One without rules, whose clients are not known: most are so, and it does the same in one function."""

    def forward(self, exchange: Exchange, handling: Handling, loop: AbstractEventLoop) -> Forward:  # noqa: ARG002
        weights, number = self.weights, next(self._numbers)
        match: RouteMatch = exchange.match.sides[bisect(weights.parts, number)]
        chosen: Handling = match.handling
        if weights.down or not chosen.service.available:
            match = self._usable(exchange, bisect(weights.parts, number), number)
            chosen = match.handling
        exchange.match = match
        return chosen.forward(exchange, chosen, loop)


def forward_chosen(exchange: Exchange, handling: Handling, loop: AbstractEventLoop) -> Forward:  # noqa: ARG001
    """Go on as the side does that was chosen."""
    chosen: Handling = exchange.match.handling
    return chosen.forward(exchange, chosen, loop)


def _verdict(policies: Sequence[Policy], exchange: Exchange) -> Any:
    """The first verdict of these policies, of which only the last may have to wait."""
    for policy in policies:
        verdict = policy(exchange)
        if verdict is not None:
            return verdict
    return None


# ---- numbers


def evenly() -> Iterator[float]:
    """Numbers for requests that are shared out each by itself: of a hundred a side of 10 % gets ten, give or take two.

    They are the multiples of the golden section, which fill a range more evenly than any other's (Weyl's theorem), from
    a random one on. No generator: that would be over for all requests to come once anything was raised in it.
    """
    return map(mod, count(random() * PARTS, _GOLDEN), repeat(PARTS))  # noqa: S311 - it need not be unpredictable


def number_of(salt: str, key: bytes) -> int:
    """The number of a key, the same in all workers and gateways; a `salt` has numbers of its own."""
    digest = blake2b(salt.encode() + b"\0" + key, digest_size=8).digest()
    return int.from_bytes(digest, "big") % PARTS


def by_key(salt: str, key_of: Callable[[Exchange], bytes]) -> NumberOf:
    """The number of a key; a request without one gets any."""
    known, unknown = remembered(_REMEMBERED)(partial(number_of, salt)), evenly()

    def number(exchange: Exchange) -> float:
        key = key_of(exchange)
        if not key:
            return next(unknown)
        return known(key) if len(key) <= _LONGEST else number_of(salt, key)

    return number


def by_consumer(exchange: Exchange) -> bytes:
    """The name of the consumer; empty where there is none."""
    return (exchange.consumer or "").encode()


@dataclass(frozen=True, slots=True)
class NumberCookie:
    """The cookie that holds a client's number. It is not signed: who changes it only changes the own side."""

    name: str
    path: str
    max_age: float | None = None

    def line(self, number: int, *, secure: bool) -> bytes:
        """The field that sets it (RFC 6265, section 4.1)."""
        life = "" if self.max_age is None else f"; Max-Age={int(self.max_age)}"
        safe = "; Secure" if secure else ""
        return f"Set-Cookie: {self.name}={number}; Path={self.path}; HttpOnly; SameSite=Lax{life}{safe}".encode()


def by_number_cookie(cookie: NumberCookie) -> NumberOf:
    """The number in a request's cookie; a client without one gets one with the response.

    That is `private` then: a shared cache that kept it would give all clients one number.
    """
    pair = re.compile(rb"(?:^|[;\s])%b=(\d{1,4})(?=\s*(?:;|$))" % re.escape(cookie.name.encode()))
    unknown = evenly()

    def number(exchange: Exchange) -> float:
        request = exchange.request
        assert request is not None
        written = as_received(request).fields.get(b"cookie")
        found = pair.search(written) if written is not None else None
        if found is not None:
            return int(found[1])
        new = int(next(unknown))
        peer = exchange.stream.client.peer
        assert isinstance(peer, Peer)
        line = cookie.line(new, secure=peer.came_by_https(request))
        exchange.response_lines = (*exchange.response_lines, line, b"Cache-Control: private")
        exchange.response_drop = (exchange.response_drop or frozenset()) | _TARGETED
        return new

    return number


# ---- rules


def with_header(name: bytes, condition: Condition) -> Callable[[Fields], bool]:
    """Whether one of the lines of a field meets a condition; `name` is in lower case."""

    def is_met(fields: Fields) -> bool:
        return name in fields.names and any(meets(condition, value) for value in fields.all(name))

    return is_met


def with_cookie(name: bytes, condition: Condition) -> Callable[[Fields], bool]:
    """The same for a cookie, of which there may be several."""

    def is_met(fields: Fields) -> bool:
        return b"cookie" in fields.names and any(meets(condition, value) for value in _cookies(fields, name))

    return is_met


def _cookies(fields: Fields, name: bytes) -> Iterator[bytes]:
    for line in fields.all(b"cookie"):
        for pair in line.split(b";"):
            own, mark, value = pair.strip().partition(b"=")
            if mark and own == name:
                yield value
