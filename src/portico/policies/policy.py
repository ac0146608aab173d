"""The interface of a policy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.policies.counters.shared_buckets import BucketTable
from portico.policies.counters.shared_limits import SharedLimits


class Pending:
    """A verdict that is still to come, without a task that waits for it.

    The caller that gets one from a policy sets `settle`; the policy calls that with the verdict, never before it
    returned. Only the first one counts.
    """

    __slots__ = ("settle",)

    settle: Callable[[Answer | None], None]

    def cancel(self) -> None:
        """No caller waits for the verdict any more: it was given, or the client has left."""


Policy: TypeAlias = Callable[[Exchange], Answer | Pending | Awaitable[Answer | None] | None]
"""Looks at an exchange before it is forwarded. None lets it go on, an Answer ends it; a policy that has to wait
returns a `Pending` of either or, which costs a task, an awaitable. That is cancelled when its verdict is not needed any
more: what several exchanges wait for together belongs in `asyncio.shield`."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a policy is built with.

    `scope` names the level whose settings these are (`gateway`, `service:NAME`, `route:NAME`): state is shared within
    it. `state` outlives snapshots: `keep(key, make)` gives what was made for the same key before. `consumers` maps
    names to the numbers that replace a rate limit's own. `shared` is set where limits are counted in Redis, `table`
    where workers have one for those that need none.
    """

    scope: str
    state: State
    consumers: Mapping[str, Any] = field(default_factory=dict)
    shared: SharedLimits | None = None
    table: BucketTable | None = None


class State:
    """What policies remember across configuration changes, by key; `sweep` drops what no snapshot uses."""

    def __init__(self) -> None:
        self._kept: dict[object, Any] = {}
        self._used: set[object] = set()

    def keep(self, key: object, make: Callable[[], Any]) -> Any:
        """What is kept under a hashable `key`, made now if there is none."""
        self._used.add(key)
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def sweep(self) -> None:
        """Drop what was not asked for since the last sweep."""
        self._kept = {key: value for key, value in self._kept.items() if key in self._used}
        self._used = set()
