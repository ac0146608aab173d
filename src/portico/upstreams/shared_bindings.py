"""Which instance issued a value, known to all workers and gateways through Redis.

A request whose value a worker does not know waits for Redis, for `timeout` seconds at most; where Redis is slow or down
it is balanced as any other.
"""

from __future__ import annotations

import asyncio
import logging
from importlib.resources import files
from math import ceil
from typing import Any, Final

from portico.net.redis.asking import Asking, Question, Use
from portico.net.redis.connection import reason
from portico.net.redis.link import Link, Script, argument

logger: Final = logging.getLogger("portico.sticky")

SCRIPT: Final = Script(files(__package__).joinpath("bindings.lua").read_bytes())
"""The script that remembers and finds; its head describes its arguments and its reply."""
_USE: Final = Use(
    logger=logger,
    script=SCRIPT,
    per_key=2,
    probe=(argument(b"portico:sticky:probe"), argument(b"") + argument(b"1")),
    down="Redis does not serve sticky sessions: workers go by what they know themselves",
    up="Redis serves sticky sessions again",
    fault="a request failed behind the sticky sessions that are shared",
)


class SharedBindings(Asking[Question]):
    """Asks Redis through a `link`."""

    def __init__(self, link: Link, timeout: float, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(link, timeout, _USE, loop)
        self._is_refused = False

    def put(self, key: bytes, instance: str, ttl: float) -> None:
        """Have Redis remember an instance for `ttl` seconds; nobody waits for that."""
        if self.is_up:
            self.ask(_Put(self, key, instance, ttl))

    def note_stored(self, reply: object) -> None:
        """What Redis said to something that was to be remembered."""
        was_refused, self._is_refused = self._is_refused, isinstance(reply, Exception)
        if isinstance(reply, Exception) and not was_refused:
            logger.warning("Redis remembers no sticky sessions", extra={"reason": reason(reply)})
        elif was_refused and not self._is_refused:
            logger.info("Redis remembers sticky sessions again")


class _Put:
    """What is to be remembered of one value."""

    __slots__ = ("_shared", "arguments", "keys")

    def __init__(self, shared: SharedBindings, key: bytes, instance: str, ttl: float) -> None:
        self._shared = shared
        self.keys = [argument(key)]
        self.arguments = [argument(instance.encode()) + argument(seconds(ttl))]

    def answered(self, replies: list[Any], clock: float) -> None:  # noqa: ARG002
        self._shared.note_stored(replies[0])

    def unanswered(self) -> None:
        """It is reported that Redis is down; the value is sent again while it is used."""

    def faulted(self) -> None:
        """No request waits for it."""


def seconds(ttl: float) -> bytes:
    """A lifetime as Redis takes it: whole seconds, one at least."""
    return b"%d" % max(1, ceil(ttl))
