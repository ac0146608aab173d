"""Purges in a worker: those that control sends, those that its own requests cause, and the sweeps behind them."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from portico.config import Config
from portico.core.slices import in_slices
from portico.core.tasks import background
from portico.processes.ipc import channel
from portico.proxy.cache.caches import Caches
from portico.proxy.cache.purges import Outcome, Purge
from portico.proxy.cache.stored import Resource, Stored
from portico.snapshot.caching import query_selections

_GATHERED: Final = 0.005
"""Seconds for which purges that requests cause are gathered: a busy service changes something all the time."""
_REPEATED: Final = 3.0
"""Seconds for which purges are sent again to a control process that comes: the last one may have done nothing more."""
_ANSWERED: Final = 8.0
"""Seconds that control has to answer: more than it takes where a worker does not confirm a purge."""
_ROUND: Final = 5.0
_KEPT: Final = 60.0
"""Seconds for which a purge is known at least: a response that takes longer to arrive may not be stored."""
_MANY: Final = 1024
"""Purges that may be known before the whole store is compared with them."""
_MOST: Final = 16_384
"""Purges that are known for longer than that takes: anybody who may send POST makes them, with URLs of any length."""


class Purging:
    """The worker's purges, its end of their way to the others, and its memory store, which is swept behind them."""

    def __init__(self, caches: Caches, loop: asyncio.AbstractEventLoop) -> None:
        self._purges = caches.purges
        self._memory = caches.memory
        self._loop = loop
        self._control: asyncio.StreamWriter | None = None
        self._gathered: dict[tuple[str, str, str, bool], Purge] = {}
        self._sent: deque[tuple[float, list[Purge]]] = deque()
        """What was sent to control a moment ago."""
        self._numbers = 0
        self._asked: dict[int, asyncio.Future[channel.Purged | None]] = {}
        self._history: deque[tuple[float, int]] = deque()
        """Moments, and the number of the last purge at each."""
        self.swept_before = math.inf
        """Whatever was purged before that time is gone from the store that gateways share."""
        self._purges.spread = self._spread
        caches.purge = self.purge

    def follow(self, config: Config) -> None:
        """Purge by this configuration from now on."""
        self._purges.selections = query_selections(config.all_routes)

    # ---- control

    def connected(self, control: asyncio.StreamWriter) -> None:
        """Send what has waited for the control process, and what the last one may have taken with it."""
        self._control = control
        sent, self._sent = self._sent, deque()
        for purge in (purge for moment, purges in sent for purge in purges if self._is_recent(moment)):
            self._gathered.setdefault((purge.kind, purge.value, purge.origin, purge.soft), purge)
        self._flush()

    def disconnected(self) -> None:
        """Whoever waits for an answer gets none."""
        self._control = None
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            if not answer.done():
                answer.set_result(None)

    def receive(self, message: channel.NewPurges, control: asyncio.StreamWriter) -> None:
        """Apply purges now; where control counts, tell it how many entries went."""
        self._purges.add(message.purges)
        if message.number:
            background(self._confirm(message, control), "a sweep behind a purge")

    def answered(self, message: channel.Purged) -> None:
        """What came of a purge that this worker asked for."""
        answer = self._asked.pop(message.number, None)
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def purge(self, purges: Sequence[Purge]) -> Outcome | None:
        """Purge here and everywhere; None where control is away, and the others will know once it is back."""
        self._purges.add(purges)
        if self._control is None:
            self._spread(purges)
            await self._sweep_behind(purges)
            return None
        self._numbers += 1
        number, answer = self._numbers, self._loop.create_future()
        self._asked[number] = answer
        channel.send(self._control, channel.NewPurges([*purges], number))
        try:
            entries = await self._sweep_behind(purges)
            outcome = await asyncio.wait_for(answer, _ANSWERED)
        except TimeoutError:
            outcome = None
        finally:
            self._asked.pop(number, None)
        if outcome is None:
            self._spread(purges)
            return None
        return Outcome(entries + outcome.entries, outcome.late)

    async def _confirm(self, message: channel.NewPurges, control: asyncio.StreamWriter) -> None:
        channel.send(control, channel.Purged(message.number, await self._sweep_behind(message.purges)))

    # ---- purges that requests cause

    def _spread(self, purges: Sequence[Purge]) -> None:
        if not self._gathered:
            self._loop.call_later(_GATHERED, self._flush)
        for purge in purges:
            self._gathered[purge.kind, purge.value, purge.origin, purge.soft] = purge

    def _flush(self) -> None:
        if self._gathered and self._control is not None:
            purges = [*self._gathered.values()]
            self._gathered = {}
            channel.send(self._control, channel.NewPurges(purges))
            self._sent.append((time.monotonic(), purges))
            while not self._is_recent(self._sent[0][0]):
                self._sent.popleft()

    def _is_recent(self, moment: float) -> bool:
        return time.monotonic() - moment < _REPEATED

    # ---- sweeps

    async def _sweep_behind(self, purges: Sequence[Purge]) -> int:
        """Remove what was purged just now: how many variants went, or are stale from now on."""
        return sum([await self._sweep(_hint(purge)) for purge in purges])

    async def _sweep(self, hint: bytes = b"") -> int:
        softened = 0

        def is_gone(resource: Resource, stored: Stored) -> bool:
            nonlocal softened
            left = self._purges.passed(stored, resource)
            if left is not None and left is not stored:
                softened += 1
                self._memory.put(resource, left)
            return left is None

        return await in_slices(self._memory.sweep(is_gone, hint)) + softened

    async def keep_up(self) -> None:
        """Compare the whole store with the purges, for ever, whenever there are many: then they are forgotten."""
        while True:
            await asyncio.sleep(_ROUND)
            self._history.append((time.monotonic(), self._purges.number))
            if len(self._purges) > max(_MANY, self._memory.entries // 16):
                number, kept = self._purges.number, _KEPT if len(self._purges) <= _MOST else 0.0
                await self._sweep()
                self._purges.forget(min(number, self._number_before(time.monotonic() - kept)), self.swept_before)

    def _number_before(self, moment: float) -> int:
        """That of the last purge at a moment, or somewhat earlier."""
        number = self._purges.forgotten
        while self._history and self._history[0][0] <= moment:
            number = self._history.popleft()[1]
        return number


def _hint(purge: Purge) -> bytes:
    """What what a purge takes has in its URL, service or tags; by other spellings of a URL it is found when needed."""
    if purge.kind in ("tag", "group"):
        return f"{purge.kind}:{purge.value}".encode("latin-1", "replace")
    path = purge.value.removesuffix("*").partition("?")[0]  # a key need not have all of the query
    return path.encode("latin-1", "replace")
