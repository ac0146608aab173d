"""The same script in a Redis Cluster, by redis-py: keys of one slot in one call, as a Cluster wants it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from portico.core.tasks import background
from portico.net.redis.connection import failures
from portico.policies.counters.redis_link import NAME, SCRIPT, Done

logger: Final = logging.getLogger("portico.limits")

CONNECTIONS: Final = 8
"""To each node; redis-py does not wait for one that is in use, so no more calls than that are under way."""


class ClusterLink:
    """A `Link` to a Cluster; `client` is a `redis.asyncio.RedisCluster` that has so many `CONNECTIONS`.

    A call costs a task for every slot, and where one of the nodes fails it fails as a whole.
    """

    def __init__(self, client: Any) -> None:
        self.lost: Callable[[Exception], None] = lambda _: None
        self._client = client
        self._is_open = False
        self._places = asyncio.Semaphore(CONNECTIONS)

    @property
    def is_open(self) -> bool:
        return self._is_open

    async def open(self) -> None:
        await self._client.initialize()
        self._is_open = True

    def run(self, keys: Sequence[bytes], arguments: Sequence[bytes], done: Done) -> None:
        background(self._run(keys, arguments, done), "a question to a Redis Cluster")

    def work(self) -> Sequence[Coroutine[Any, Any, None]]:
        return []

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            background(self._close(), "closing connections to a Redis Cluster")

    async def _close(self) -> None:
        with contextlib.suppress(*failures()):
            await self._client.aclose()

    async def _run(self, keys: Sequence[bytes], arguments: Sequence[bytes], done: Done) -> None:
        outcome: list[int] | Exception
        try:
            outcome = await self._outcome(keys, arguments)
        except Exception as error:
            logger.exception("a Redis Cluster could not be asked")
            outcome = error
        done(outcome)

    async def _outcome(self, keys: Sequence[bytes], arguments: Sequence[bytes]) -> list[int] | Exception:
        slots: dict[int, list[int]] = {}
        names = [_values(key)[0] for key in keys]
        for place, name in enumerate(names):
            slots.setdefault(self._client.keyslot(name), []).append(place)
        calls = [
            self._call([names[place] for place in places], _values(b"".join(arguments[place] for place in places)))
            for places in slots.values()
        ]
        replies = await asyncio.gather(*calls, return_exceptions=True)
        whole = [0] * (len(keys) + 1)
        for places, reply in zip(slots.values(), replies, strict=True):
            if isinstance(reply, BaseException):
                return reply if isinstance(reply, Exception) else ConnectionError(str(reply))
            whole[0] = reply[0]
            for place, left in zip(places, reply[1:], strict=True):
                whole[place + 1] = left
        return whole

    async def _call(self, keys: list[bytes], arguments: list[bytes]) -> list[int]:
        from redis.exceptions import NoScriptError

        ask = self._client.execute_command
        async with self._places:
            try:
                reply: list[int] = await ask("EVALSHA", NAME, len(keys), *keys, *arguments)
            except NoScriptError:  # it was not run: nothing is taken twice
                reply = await ask("EVAL", SCRIPT, len(keys), *keys, *arguments)
        return reply


def _values(bulk_strings: bytes) -> list[bytes]:
    """The values of bulk strings that hold no line break."""
    return bulk_strings.split(b"\r\n")[1::2]
