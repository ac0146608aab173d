"""One connection to Redis for scripts: a proxied request waits for them, so their path is as short as possible.

redis-py makes the connection (TLS, passwords, Sentinel) and hands it over. From there on a call is one write, and its
reply is parsed in the event loop callback that receives it: no task, no future, no lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from hashlib import sha1
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from portico.core.faults import FAULTS
from portico.net.redis.master_watch import Address, MasterWatch

logger: Final = logging.getLogger("portico.redis")

_REPLACED: Final = "Sentinels name another master"

Done: TypeAlias = Callable[[Any], None]
"""Receives a reply, or the error instead of it; called once, unless the connection breaks or is closed before."""


def argument(value: bytes) -> bytes:
    """A bulk string of the Redis protocol, of which commands are made."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


class Script:
    """A script in Lua; `name` is the digest that EVALSHA takes."""

    __slots__ = ("by_name", "name", "source", "whole")

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.name = sha1(source, usedforsecurity=False).hexdigest().encode()
        self.by_name = argument(b"EVALSHA") + argument(self.name)
        """How the command that runs it begins, and the same where the server does not know it yet."""
        self.whole = argument(b"EVAL") + argument(source)


class Keyed(Protocol):
    """What is asked about some keys, which are of one slot in a Cluster."""

    keys: list[bytes]
    """Bulk strings."""


K = TypeVar("K", bound=Keyed)


class Link(Protocol):
    """A way to run scripts."""

    is_divided: bool
    """Whether a call that fails says nothing of others: there are several servers."""
    lost: Callable[[Exception], None]
    """Called when the connection breaks, with the reason."""

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""

    def parts(self, questions: list[K]) -> Collection[list[K]]:
        """The questions, as they may go in one call."""

    async def open(self) -> None:
        """Connect. Raises what redis-py does, OSError or TimeoutError."""

    def run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes], count: int, done: Done) -> None:
        """Run a script. `keys` are bulk strings, one each; `arguments` are `count` bulk strings, joined in any way."""

    def close(self) -> None:
        """Close the connection; no callback is called."""

    def work(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What has to go on for as long as the link is in use, until it is cancelled."""


class RedisLink(asyncio.Protocol):
    """A `Link` to one server; `client` is a `redis.asyncio.Redis`."""

    is_divided = False

    def __init__(self, client: Any) -> None:
        self.lost: Callable[[Exception], None] = lambda _: None
        self._client = client
        self._writer: Any = None
        self._reader: Any = None
        self._calls: deque[Done] = deque()
        self._server: Address | None = None
        """The one that the connection is to, where Sentinels named it."""
        self._named: Address | None = None
        """The master that they named while a connection was being made."""

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    def parts(self, questions: list[K]) -> Collection[list[K]]:
        return (questions,)

    async def open(self) -> None:
        import hiredis

        pool = self._client.connection_pool
        self._named = None
        connection = await pool.get_connection()
        self._server = getattr(pool, "master_address", None)
        self._writer, connection._writer, connection._reader = connection._writer, None, None  # ours from here on
        await pool.release(connection)
        self._reader = hiredis.Reader()
        self._writer.transport.set_protocol(self)
        if self._named not in (None, self._server):
            self.close()
            raise ConnectionError(_REPLACED)

    def run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes], count: int, done: Done) -> None:
        def receive(reply: Any) -> None:
            if isinstance(reply, Exception) and str(reply).startswith("NOSCRIPT"):
                self._send(script.whole, keys, arguments, count, done)  # it was not run: nothing is done twice
            else:
                done(reply)

        self._send(script.by_name, keys, arguments, count, receive)

    def close(self) -> None:
        writer, self._writer = self._writer, None
        self._calls.clear()
        if writer is not None:
            writer.transport.abort()

    def work(self) -> Sequence[Coroutine[Any, Any, None]]:
        pool = self._client.connection_pool
        if not hasattr(pool, "sentinel_manager"):
            return []
        watch = MasterWatch(pool.sentinel_manager, pool.service_name, self._follow)
        return [watch.follow(sentinel) for sentinel in watch.sentinels]

    def data_received(self, data: bytes) -> None:
        reader, calls = self._reader, self._calls
        reader.feed(data)
        while calls:
            try:
                reply = reader.gets()
            except Exception as error:  # what was received is not the Redis protocol
                self._break(error)
                return
            if reply is False:
                return
            try:
                calls.popleft()(reply)
            except FAULTS:  # the callers after it must not be affected
                logger.exception("an answer of Redis could not be used")
                self._break(ConnectionError("an answer could not be used"))
                return

    def connection_lost(self, exc: Exception | None) -> None:
        if self._writer is not None:
            self._break(exc or ConnectionError("the connection was closed"))

    def _send(self, start: bytes, keys: Sequence[bytes], arguments: Sequence[bytes], count: int, done: Done) -> None:
        if self._writer is not None:
            number = b"%d" % len(keys)
            head = b"*%d\r\n%b$%d\r\n%b\r\n" % (3 + len(keys) + count, start, len(number), number)
            self._calls.append(done)
            self._writer.transport.write(b"".join((head, *keys, *arguments)))

    def _follow(self, master: Address) -> None:
        """Leave a server that is no master any more: what it is told is lost."""
        self._named = master
        if self._writer is not None and master != self._server:
            self._break(ConnectionError(_REPLACED))

    def _break(self, error: Exception) -> None:
        self.close()
        self.lost(error)
