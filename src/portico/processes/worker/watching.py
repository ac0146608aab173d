"""What a worker sends of its exchanges while somebody watches. While nobody does, nothing of this is called."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from random import choices
from typing import Final

import msgspec

from portico.core.printing import sendable
from portico.observe.access_log import AccessRecord, Log
from portico.observe.record_filter import RecordFilter
from portico.processes.ipc import channel

_INTERVAL: Final = 0.2
"""Seconds between two messages."""
_COUNTS_EVERY: Final = 5
"""Of so many messages one has counts."""
_TOGETHER: Final = 256
"""Records that are looked at together, sooner than at the end of the interval."""
_SAMPLED: Final = 32
"""Of so many that came so fast, those whose names are counted, for all of them: a top list needs no more."""
_MOST_LINES: Final = 50
"""Records that a filter passes in one interval; further ones are counted."""
_MOST_BYTES: Final = 128 << 10
"""The same in bytes."""
_MOST_NAMES: Final = 2000
"""Consumers, paths, clients that are counted between two messages with counts; further ones are left out."""
_SENT_NAMES: Final = 50
"""Those of them that are sent, which come most often."""
_LONGEST: Final = 200
"""Characters of a name; what follows is cut off."""
_MOST_WAITING: Final = 1 << 20
"""Bytes that may wait for control: while there are more, nothing is sent, and what is left out is counted."""

_encode: Final = msgspec.json.Encoder().encode
_NAMES: Final = (("consumers", attrgetter("user")), ("paths", attrgetter("path")), ("clients", attrgetter("client_ip")))
_ROUTE: Final = attrgetter("route")


class Watching:
    """Of one worker. `follow` has all gateways take their logs anew: from `over`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, follow: Callable[[], None]) -> None:
        self._loop = loop
        self._follow = follow
        self._wish = channel.Watch()
        self._writer: asyncio.StreamWriter | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tails: dict[int, _Tail] = {}
        self._counts = _Counts()
        self._ticks = 0
        self.records: list[AccessRecord] = []
        """Those that were not looked at yet."""

    def receive(self, wish: channel.Watch, writer: asyncio.StreamWriter) -> None:
        """Watch what control wishes from now on, or nothing."""
        self.look()
        known, self._wish, self._writer = self._wish, wish, writer
        self._tails = {number: self._tails.get(number) or _Tail(wanted) for number, wanted in wish.filters.items()}
        if not wish.counts:
            self._counts = _Counts()
        if bool(known) != bool(wish):
            self._follow()
        if wish and self._timer is None:
            self._timer = self._loop.call_later(_INTERVAL, self._tick)

    def disconnected(self) -> None:
        """Watch nothing: control is gone."""
        if self._writer is not None:
            self.receive(channel.Watch(), self._writer)
            self._writer = None

    def over(self, log: Log | None, log_from: int) -> tuple[Log | None, int]:
        """What takes records in place of a log that takes those with this status and above; that itself where nobody
        watches.
        """
        if not self._wish:
            return log, log_from
        return _WatchedLog(_NOWHERE, 0, self) if log is None else _WatchedLog(log, log_from, self), 0

    def look(self) -> None:
        """Look at the records that have come."""
        records = self.records
        if not records:
            return
        for tail in self._tails.values():
            tail.take(records)
        if self._wish.counts:
            self._counts.take(records)
        records.clear()

    def _tick(self) -> None:
        self._timer = None
        if not self._wish or self._writer is None:
            self.records.clear()
            return
        self._timer = self._loop.call_later(_INTERVAL, self._tick)
        self.look()
        self._ticks += 1
        if self._writer.transport.get_write_buffer_size() > _MOST_WAITING:
            for tail in self._tails.values():
                tail.drop()
            return
        tails = {number: taken for number, tail in self._tails.items() if (taken := tail.taken()) is not None}
        counts = None
        if self._wish.counts and self._ticks % _COUNTS_EVERY == 0:
            counts, self._counts = self._counts.dump(), _Counts()
        if tails or counts:
            channel.send(self._writer, channel.Watched(tails, counts))


class _Nowhere:
    """In place of a log where there is none."""

    def add(self, record: AccessRecord) -> None:
        pass


_NOWHERE: Final = _Nowhere()


class _WatchedLog:
    """Keeps all records, and passes those on to the log that this takes."""

    __slots__ = ("_add", "_log_from", "_look", "_records")

    def __init__(self, log: Log, log_from: int, watching: Watching) -> None:
        self._add = log.add
        self._log_from = log_from
        self._records = watching.records
        self._look = watching.look

    def add(self, record: AccessRecord) -> None:
        if record.status_code >= self._log_from:
            self._add(record)
        records = self._records
        records.append(record)
        if len(records) >= _TOGETHER:
            self._look()


class _Tail:
    """The records that pass one filter."""

    def __init__(self, wanted: RecordFilter) -> None:
        self._checks = wanted.checks()
        self._lines: list[bytes] = []
        self._room = _MOST_BYTES
        self._left_out = 0

    def take(self, records: Sequence[AccessRecord]) -> None:
        for check in self._checks:
            records = [record for record in records if check(record)]
        for index, record in enumerate(records):
            if len(self._lines) >= _MOST_LINES or self._room <= 0:
                self._left_out += len(records) - index
                return
            self._add(record)

    def _add(self, record: AccessRecord) -> None:
        try:
            line = _encode(record)
        except UnicodeEncodeError:  # half a character, as a claim may have it
            self._left_out += 1
            return
        self._lines.append(line)
        self._room -= len(line)

    def taken(self) -> tuple[list[bytes], int] | None:
        """The lines since the last time and how many were left out; None where there were none."""
        if not self._lines and not self._left_out:
            return None
        taken = self._lines, self._left_out
        self._lines, self._left_out, self._room = [], 0, _MOST_BYTES
        return taken

    def drop(self) -> None:
        """Leave out the lines since the last time, too."""
        self._left_out += len(self._lines)
        self._lines, self._room = [], _MOST_BYTES


class _Counts:
    """How often each route was hit, and who comes most often, and where."""

    def __init__(self) -> None:
        self._routes: Counter[str | None] = Counter()
        self._names: dict[str, Counter[str]] = {kind: Counter() for kind, _ in _NAMES}

    def take(self, records: Sequence[AccessRecord]) -> None:
        self._routes.update(map(_ROUTE, records))
        each = 1
        if len(records) >= _TOGETHER:
            each = len(records) // _SAMPLED
            records = choices(records, k=_SAMPLED)  # noqa: S311
        for kind, read in _NAMES:
            counter = self._names[kind]
            for name, count in Counter(map(read, records)).items():
                if name is not None and (len(counter) < _MOST_NAMES or name[:_LONGEST] in counter):
                    counter[name[:_LONGEST]] += count * each

    def dump(self) -> dict[str, dict[str, int]] | None:
        """By kind, each with the numbers by name; None where nothing came."""
        if not self._routes:
            return None
        del self._routes[None]
        found = {"routes": {sendable(str(name)): count for name, count in self._routes.items()}}
        for kind, counter in self._names.items():
            found[kind] = {sendable(name): count for name, count in counter.most_common(_SENT_NAMES)}
        return found
