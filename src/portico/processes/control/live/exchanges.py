"""Exchanges as they end, for those who watch: workers send those that pass a filter, and only while somebody does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final

from starlette.exceptions import HTTPException

from portico.core.tasks import background
from portico.observe.record_filter import RecordFilter
from portico.processes.control.live.watcher import Form, Watcher, pieces
from portico.processes.ipc import channel

_MOST_FILTERS: Final = 32
"""Different filters at once: workers look at every exchange with each of them."""


class Exchanges:
    """Of one gateway. `changed` has workers watch something else, which they do once its result is there."""

    def __init__(self, changed: Callable[[], Coroutine[Any, Any, None]], watching: Callable[[], int]) -> None:
        self._changed = changed
        self._watching = watching
        self._numbers = 0
        self._filters: dict[RecordFilter, int] = {}
        self._watchers: dict[int, set[Watcher]] = {}

    def wanted(self) -> dict[int, RecordFilter]:
        """The filters that workers need, by number."""
        return {number: wanted for wanted, number in self._filters.items()}

    async def stream(self, wanted: RecordFilter, form: Form, most: int | None = None) -> AsyncGenerator[bytes, None]:
        """Records that pass a filter, as they come, `most` of them if that is given; it begins when all workers watch.

        Raises HTTPException (503) where too many other filters are in use.
        """
        watcher = Watcher()
        is_new, number = wanted not in self._filters, self._begin(wanted, watcher)
        try:
            if is_new:
                await self._changed()
            async for piece in pieces(watcher, form, most, self._watching):
                yield piece
        finally:
            self._end(wanted, number, watcher)

    def received(self, message: channel.Watched) -> None:
        """Pass on what a worker has."""
        for number, (records, left_out) in message.tails.items():
            for watcher in self._watchers.get(number, ()):
                watcher.put(records, left_out)

    def _begin(self, wanted: RecordFilter, watcher: Watcher) -> int:
        number = self._filters.get(wanted)
        if number is None:
            if len(self._filters) >= _MOST_FILTERS:
                text = f"{_MOST_FILTERS} different filters are watched already; try again later, or use one of those"
                raise HTTPException(503, text, {"Retry-After": "5"})
            self._numbers += 1
            number = self._filters[wanted] = self._numbers
            self._watchers[number] = set()
        self._watchers[number].add(watcher)
        return number

    def _end(self, wanted: RecordFilter, number: int, watcher: Watcher) -> None:
        watchers = self._watchers[number]
        watchers.discard(watcher)
        if not watchers:
            del self._watchers[number], self._filters[wanted]
            background(self._changed(), "the end of a watch")
