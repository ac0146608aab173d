"""Sweeps behind purges in the store that gateways share: one gateway goes through it for all.

A purge holds from the moment at which it is made: whoever finds something in the store compares it with the purges that
are known. The sweep removes what nobody asks for, after which nobody has to know the purge any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from portico.core.tasks import cancelled, endless
from portico.proxy.cache.purges import Purge, Purges
from portico.proxy.cache.query import QuerySelection
from portico.proxy.cache.redis_store import RedisStore

logger: Final = logging.getLogger("portico.cache")

_PAUSE: Final = 5.0
"""Seconds between two sweeps, at least: a sweep is for all purges before it."""
_SHARE: Final = 0.1
"""The share of the time, at most, in which one runs."""
_SETTLED: Final = 2.0
"""Seconds after which all gateways know a purge, and store nothing more that was asked for before it."""
_GIVEN_UP: Final = 60.0
"""Seconds after which another gateway's purge is swept here: that gateway may be gone."""
_USAGE: Final = 1.0
"""Seconds that Redis has to say what it has."""
_MOST: Final = 100_000
"""Purges that wait for a sweep; more become one of everything that is in this store."""


class SharedSweep:
    """Sweeps until it is closed; `finished` is called with a time before which all purges are swept."""

    def __init__(self, store: RedisStore, finished: Callable[[float], None]) -> None:
        self._store = store
        self._finished = finished
        self._purges = Purges()
        self._unswept: dict[tuple[str, str, str, bool], tuple[Purge, bool]] = {}
        """With each, whether it is this gateway's own."""
        self._patience = _GIVEN_UP * random.uniform(1, 2)  # noqa: S311 - not all gateways at once
        self.is_current: Callable[[], bool] = lambda: True
        """Whether the purges of other gateways are known, too."""
        self._task = endless(self._sweep_on(), "sweeps of the cache in Redis")

    async def close(self) -> None:
        """Stop."""
        await cancelled([self._task])
        self._store.close()

    def follow(self, selections: Mapping[bytes, QuerySelection]) -> None:
        """What belongs to keys of a query, from now on."""
        self._purges.selections = selections

    @property
    def unswept(self) -> list[Purge]:
        """The purges that everybody has to know."""
        return [purge for purge, _ in self._unswept.values()]

    async def usage(self) -> tuple[int, int, int] | None:
        """Bytes, variants and evictions of the store; None where Redis does not say."""
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._store.usage(), _USAGE)
        return None

    def add(self, purges: Iterable[Purge], *, own: bool) -> None:
        """Purges to sweep behind."""
        purges = list(purges)
        self._purges.add(purges)
        for purge in purges:
            name = purge.kind, purge.value, purge.origin, purge.soft
            was_own = name in self._unswept and self._unswept[name][1]
            self._unswept[name] = purge, own or was_own
        if len(self._unswept) > _MOST:
            self.swept(time.time())
            self.add([Purge.of("all")], own=True)

    def swept(self, before: float) -> None:
        """Nothing is left that a purge before this time would take."""
        self._unswept = {name: each for name, each in self._unswept.items() if each[0].at >= before}
        self._purges.forget(self._purges.number, before)

    async def _sweep_on(self) -> None:
        await self._store.start()
        pause = _PAUSE
        while True:
            await asyncio.sleep(pause)
            began = time.monotonic()
            try:
                await self._sweep()
            except Exception:
                logger.exception("the cache in Redis could not be swept")
            pause = max(_PAUSE, (time.monotonic() - began) / _SHARE)

    async def _sweep(self) -> None:
        now = time.time()
        before = now - _SETTLED
        due = [purge for purge, own in self._unswept.values() if own or purge.at < now - self._patience]
        if not any(purge.at < before for purge in due) or not self.is_current():
            return
        if await self._store.sweep(self._purges.passed) is not None:
            self.swept(before)
            self._finished(before)
