"""What happens to the gateway, as it happens: all that the processes log, and what parts of control publish."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from heapq import merge
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from portico.observe.event_feed import Event
from portico.processes.control.live.watcher import EVENTS, Form, Watcher, pieces

Kind = Literal["config", "instance", "breaker", "worker", "certificate", "canary", "registry", "audit", "log"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_KINDS: Final[dict[str, Kind]] = {
    "portico.control": "config",
    "portico.health": "instance",
    "portico.upstreams": "instance",
    "portico.worker": "worker",
    "portico.acme": "certificate",
    "portico.tls": "certificate",
    "portico.canary": "canary",
    "portico.splits": "canary",
    "portico.registry": "registry",
    "portico.audit": "audit",
}
"""By the logger's name; events of all others are of the kind `log`."""
_KEPT: Final = 200
"""Events that are kept of each kind: a policy that logs much, or an outage of all services, pushes out no others."""
_ID: Final = re.compile(r"([0-9a-f]{1,16})-([0-9]{1,15})")


class _Kept(NamedTuple):
    """`line` is JSON."""

    number: int
    line: bytes


class Events:
    """Of one control process. An id is that of the process and a number, so that a client that comes back after a
    restart gets all that its successor has.
    """

    def __init__(self, watching: Callable[[], int]) -> None:
        self._watching = watching
        self._process = f"{time.time_ns() // 1_000_000:x}"
        self._number = 0
        self._kept: dict[str, deque[_Kept]] = {kind: deque(maxlen=_KEPT) for kind in KINDS}
        self._watchers: dict[Watcher, tuple[frozenset[str], Form]] = {}

    def publish(self, kind: Kind, text: str, *, level: str = "INFO", source: str = "control", **fields: object) -> None:
        """An event of one of `KINDS` that nobody has logged."""
        known = {name: str(value)[:500] for name, value in fields.items() if value is not None}
        self._add(kind, Event(round(time.time(), 3), level, "", text, known), source)

    def logged(self, event: Event, source: str = "control") -> None:
        """An event that this process, or the worker `source`, has logged."""
        self._add(_kind_of(event), event, source)

    def left_out(self, worker: str, number: int) -> None:
        """So many events of a worker did not come."""
        self.publish("log", "events of a worker are in its log only: they were too many", source=worker, number=number)

    def kept(self, kinds: Collection[str] = (), after: str = "") -> list[dict[str, Any]]:
        """Those that are kept, of these kinds or of all, from the oldest to the latest; all `after` one of an id."""
        return [msgspec.json.decode(each.line) for each in self._since(kinds, after)]

    def last(self) -> str:
        """The id of the last event."""
        return f"{self._process}-{self._number}"

    async def stream(
        self, kinds: Collection[str] = (), after: str | None = None, form: Form = EVENTS
    ) -> AsyncGenerator[bytes, None]:
        """Events of these kinds, or of all, as they come; before them those that are kept `after` the one of an id,
        if one is given.
        """
        watcher = Watcher()
        self._watchers[watcher] = frozenset(kinds or KINDS), form
        try:
            if after is not None:
                kept = [_written(each, self._process, form) for each in self._since(kinds, after)]
                yield form.written(kept, self._gone(after))
            async for piece in pieces(watcher, form, None, self._watching):
                yield piece
        finally:
            del self._watchers[watcher]

    def _add(self, kind: Kind, event: Event, source: str) -> None:
        self._number += 1
        shown = {"id": self.last(), "at": event.at, "kind": kind, "level": event.level}
        line = msgspec.json.encode({**shown, "source": source, "text": event.text, "fields": event.fields})
        kept = _Kept(self._number, line)
        self._kept[kind].append(kept)
        for watcher, (kinds, form) in self._watchers.items():
            if kind in kinds:
                watcher.put([_written(kept, self._process, form)])

    def _since(self, kinds: Collection[str], after: str) -> Iterator[_Kept]:
        last = self._number_of(after)
        return (each for each in merge(*(self._kept[kind] for kind in kinds or KINDS)) if each.number > last)

    def _number_of(self, identity: str) -> int:
        """That of an event of this process; 0 for any other."""
        found = _ID.fullmatch(identity)
        return int(found[2]) if found is not None and found[1] == self._process else 0

    def _gone(self, after: str) -> int:
        """How many were not kept that came after the one of an id, as far as this process knows."""
        last = self._number_of(after)
        return self._number - min(last, self._number) - sum(1 for _ in self._since((), after))


def _kind_of(event: Event) -> Kind:
    kind = _KINDS.get(event.logger, "log")
    if kind == "instance" and event.text.startswith("breaker "):
        return "breaker"
    return "instance" if kind == "config" and "instance" in event.fields else kind


def _written(event: _Kept, process: str, form: Form) -> bytes:
    return b"%b\nid: %b-%d" % (event.line, process.encode(), event.number) if form is EVENTS else event.line
