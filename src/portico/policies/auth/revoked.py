"""The gateway's own tokens that were revoked before their end, as the control process says, in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from copy import copy
from functools import partial
from typing import Any, Final, Protocol
from weakref import WeakSet

import msgspec

from portico.core.caches import ages

_WAITING: Final = 1_000
"""Requests that may wait until it is known what was revoked."""
_TIMEOUT: Final = 6.0
"""Seconds that a request waits for that at most."""


class Revocation(msgspec.Struct, frozen=True, array_like=True):
    """What was revoked: a token, by its `jti`; a sign-in, by the `sid` of its tokens; or, where `before` is not 0, all
    tokens of the consumer `name` that were issued up to that second.

    Nothing of it is left at `until`. Both times are whole seconds since the epoch.
    """

    name: str
    until: int
    before: int = 0


class Remembering(Protocol):
    """What remembers whom tokens named."""

    def ask_again(self) -> None:
        """Have each identity that is remembered asked once more whether its token was revoked."""


class RevokedTokens:
    """What was revoked; `secret` is what the gateway signs tokens with, where that is one that services have, too.

    `dependent` is what remembers identities.
    """

    def __init__(self) -> None:
        self.dependent: WeakSet[Remembering] = WeakSet()
        self.secret: str | None = None
        self.is_known = True
        """False until it has come: only a process that is told of it may say so."""
        self._names: dict[str, int] = {}
        self._consumers: dict[str, Revocation] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        ages(self)

    def check_of(self, claims: dict[str, Any], consumer: str) -> Callable[[], bool]:
        """What says whether the token with these claims was revoked, now or later."""
        issued = claims.get("iat")
        names = tuple(claim for name in ("jti", "sid") if isinstance(claim := claims.get(name), str))
        return partial(self._has_revoked, names, consumer, issued if isinstance(issued, int | float) else 0)

    def _has_revoked(self, names: tuple[str, ...], consumer: str, issued: float) -> bool:
        if self._names and any(name in self._names for name in names):
            return True
        return bool(self._consumers) and consumer in self._consumers and issued <= self._consumers[consumer].before

    def learn(self, revocations: Iterable[Revocation]) -> None:
        """Refuse these too from now on: what was revoked stays so."""
        self.is_known = True
        news = [each for each in revocations if self._is_news(each)]
        for each in news:
            if each.before:
                self._consumers[each.name] = each
            else:
                self._names[each.name] = each.until
        if news:
            for remembering in list(self.dependent):
                remembering.ask_again()
        for coming in self._waiting:
            if not coming.done():
                coming.set_result(None)
        self._waiting = set()

    def _is_news(self, each: Revocation) -> bool:
        if not each.before:
            return each.name not in self._names
        known = self._consumers.get(each.name)
        return known is None or known.before < each.before

    async def arrival(self) -> None:
        """Wait until it is known what was revoked, if that may be expected."""
        if self.is_known or len(self._waiting) >= _WAITING:
            return
        coming = asyncio.get_running_loop().create_future()
        self._waiting.add(coming)
        try:
            async with asyncio.timeout(_TIMEOUT):
                await coming
        except TimeoutError:
            return
        finally:
            self._waiting.discard(coming)

    def peek(self) -> RevokedTokens:
        """The same, for whoever asks what would be said: nothing depends on it, and nothing is waited for."""
        peeked = copy(self)
        peeked.__class__ = _Peeked
        peeked.dependent, peeked._waiting = WeakSet(), set()
        return peeked

    def age(self, now: float) -> None:  # noqa: ARG002
        """Drop what has ended by itself meanwhile."""
        today = time.time()
        self._names = {name: until for name, until in self._names.items() if until > today}
        self._consumers = {name: each for name, each in self._consumers.items() if each.until > today}


class _Peeked(RevokedTokens):
    async def arrival(self) -> None:
        """What is not known yet is not known."""
