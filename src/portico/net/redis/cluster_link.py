"""The same scripts in a Redis Cluster, by redis-py: keys of one slot in one call, as a Cluster wants it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from portico.core.tasks import background
from portico.net.redis.connection import failures, reason
from portico.net.redis.link import Done, K, Script

logger: Final = logging.getLogger("portico.redis")

CONNECTIONS: Final = 8
"""To each node; redis-py does not wait for one that is in use, so no more calls than that are under way."""
_TIMEOUT: Final = 0.5
"""Seconds after which a node does not answer."""
_FIND: Final = 5.0
"""Seconds within which any node has to say which nodes there are."""
_PAUSES: Final = (0.1, 2.0)
"""Seconds for which a node that failed is not asked: at first, and at most; it doubles each time."""


@dataclass(slots=True)
class _Node:
    """What is known of a node. `pause` is its backoff, 0 where it serves, and `due` when it is asked again."""

    calls: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECTIONS))
    pause: float = 0.0
    due: float = 0.0


class ClusterLink:
    """A `Link` to a Cluster; `client` is a `redis.asyncio.RedisCluster` that has so many `CONNECTIONS`.

    A call costs a task, and is for one slot. Where it fails others go on: one slot may be moving to another node, and
    one node may be down. The link is lost where no node answers.
    """

    is_divided = True

    def __init__(self, client: Any) -> None:
        self.lost: Callable[[Exception], None] = lambda _: None
        self._client = client
        self._is_open = False
        self._nodes: dict[str, _Node] = {}
        self._finding: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._is_open

    def parts(self, questions: list[K]) -> Collection[list[K]]:
        slots: dict[int, list[K]] = {}
        for question in questions:
            slots.setdefault(self._client.keyslot(_values(question.keys[0])[0]), []).append(question)
        return slots.values()

    async def open(self) -> None:
        if self._closing is not None:
            await asyncio.wait([self._closing])
        await self._client.initialize()
        self._nodes.clear()
        self._is_open = True

    def run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes], count: int, done: Done) -> None:  # noqa: ARG002
        names = [_values(key)[0] for key in keys]
        try:
            target = self._client.nodes_manager.get_node_from_slot(self._client.keyslot(names[0]))
        except failures() as error:  # no node has this slot
            self._find_nodes()
            done(error)
            return
        node, now = self._nodes.setdefault(target.name, _Node()), asyncio.get_running_loop().time()
        if node.pause:
            if now < node.due:
                done(ConnectionError(f"{target.name} does not serve"))
                return
            node.due = now + _TIMEOUT  # this call is the one that tries
        operands = [len(names), *names, *_values(b"".join(arguments))]
        call = background(self._run(target, node, script, operands, done), "a question to a Redis Cluster")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._closing = background(self._close(), "closing connections to a Redis Cluster")

    def work(self) -> Sequence[Coroutine[Any, Any, None]]:
        return []

    async def _close(self) -> None:
        """End what is under way first: it would connect again.

        In Python 3.11 a cancellation can get lost; the timeouts end it then.
        """
        under_way = self._calls | ({self._finding} if self._finding else set())
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)
        with contextlib.suppress(*failures()):
            await self._client.aclose()

    # ---- calls

    async def _run(self, target: Any, node: _Node, script: Script, operands: list[Any], done: Done) -> None:
        outcome: Any
        try:
            async with node.calls, asyncio.timeout(_TIMEOUT):
                outcome = await self._call(target, script, operands)
            node.pause = 0.0
        except Exception as error:
            outcome = error
            self._note(target, node, error)
        finally:
            if self._client.nodes_manager.nodes_cache.get(target.name) is not target:  # it left the Cluster meanwhile
                await target.disconnect_free_connections()
        if self._is_open:
            done(outcome)

    async def _call(self, target: Any, script: Script, operands: list[Any]) -> Any:
        from redis.exceptions import NoScriptError

        try:
            return await self._ask(target, "EVALSHA", script.name, *operands)
        except NoScriptError:  # it was not run: nothing is done twice
            return await self._ask(target, "EVAL", script.source, *operands)

    async def _ask(self, target: Any, *command: Any) -> Any:
        """Ask the node, or the one that it names."""
        from redis.exceptions import AskError, MovedError
        from redis.exceptions import ConnectionError as BrokenError

        from portico.net.redis.cluster import asking

        nodes = self._client.nodes_manager
        try:
            try:
                reply = await target.execute_command(*command)
            except BrokenError:  # the server may have closed connections that were idle
                await target.disconnect_free_connections()
                reply = await target.execute_command(*command)
        except MovedError as error:
            await nodes.move_slot(error)
            reply = await nodes.get_node_from_slot(error.slot_id).execute_command(*command)
        except AskError as error:
            reply = await asking(nodes, error, command, {})
        return reply

    # ---- nodes that fail

    def _note(self, target: Any, node: _Node, error: Exception) -> None:
        """Ask no node that is down or hangs for a while. What it refuses is about the slot, and no reason to."""
        from redis.exceptions import ClusterDownError, MaxConnectionsError, ResponseError

        if not isinstance(error, failures()):
            logger.error("a Redis Cluster could not be asked", exc_info=error)
        if isinstance(error, MaxConnectionsError) or (
            isinstance(error, ResponseError) and not isinstance(error, ClusterDownError)
        ):
            return
        if not node.pause:
            extra = {"node": target.name, "reason": reason(error)}
            logger.warning("a node of the Redis Cluster does not serve", extra=extra)
        first, longest = _PAUSES
        node.pause = min(2 * node.pause, longest) or first
        node.due = asyncio.get_running_loop().time() + node.pause
        self._find_nodes(target.name)

    def _find_nodes(self, failed: str | None = None) -> None:
        if self._is_open and (self._finding is None or self._finding.done()):
            self._finding = background(self._find(failed), "the nodes of a Redis Cluster")

    async def _find(self, failed: str | None) -> None:
        """Another node may have taken over. Where no node says which there are, none is there."""
        try:
            async with asyncio.timeout(_FIND):
                await self._client.nodes_manager.initialize(last_failed_node_name=failed)
        except failures() as error:
            self._lose(error)
        else:
            nodes = [self._nodes.get(node.name) for node in self._client.get_primaries()]
            if all(node is not None and node.pause for node in nodes):
                self._lose(ConnectionError("no node serves"))

    def _lose(self, error: Exception) -> None:
        if self._is_open:
            self.close()
            self.lost(error)


def _values(bulk_strings: bytes) -> list[bytes]:
    """The values of bulk strings."""
    values, start = [], 0
    while start < len(bulk_strings):
        first = bulk_strings.index(b"\r\n", start) + 2
        end = first + int(bulk_strings[start + 1 : first])
        values.append(bulk_strings[first:end])
        start = end + 2
    return values
