"""What is left of limits that are counted in Redis: read, and reset, by the names that workers give."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from portico.net.redis.connection import connect
from portico.policies.counters.shared_limits import SCRIPT
from portico.policies.measures import key_value

_TIMEOUT: Final = 1.0
_CONNECTIONS: Final = 8
_PREFIX: Final = "portico:limit:"
_IN_A_ROUND: Final = 1000
"""Names that Redis looks at in one round."""
_LOOKING: Final = 1.0
"""Seconds after which the rest is left out."""
_MOST: Final = 500
"""Keys whose state is asked for."""
_LOOKS: Final = "0."
"""The script's argument with which nothing is taken."""
_BEHIND: Final = 1000
"""Milliseconds for which the script keeps what is whole again."""


class Counted(NamedTuple):
    """One number that requests count against, as workers describe it."""

    of: str
    allowed: int
    how: str
    before: str
    behind: str

    @classmethod
    def described(cls, numbers: Mapping[str, Any]) -> Counted:
        """The same from a worker's report."""
        return cls(numbers["of"], numbers["allowed"], numbers["how"], *numbers["redis"])

    def name(self, key: str) -> str:
        """The name in Redis of a client's state."""
        return key_value(key).join((self.before, self.behind))


class Found(NamedTuple):
    """Names in Redis with the measure and the key of each, and whether these are all."""

    names: list[tuple[str, Counted, str]]
    complete: bool


class RedisLimits:
    """Limits in one Redis. What it does may raise one of `failures()`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._redis: Any = connect(url, timeout=_TIMEOUT, connections=_CONNECTIONS, decode=True)
        self._turns = asyncio.Semaphore(_CONNECTIONS)

    async def find(self, measures: Sequence[Counted]) -> Found:
        """What is counted there now, by this gateway and others."""
        known = {each.before: each for each in measures}
        names: list[tuple[str, Counted, str]] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOKING):
                async for name in self._redis.scan_iter(match=f"{_PREFIX}*", count=_IN_A_ROUND):
                    if len(names) >= _MOST:
                        return Found(names, complete=False)
                    if (found := _measure(name, known)) is not None:
                        names.append((name, *found))
                return Found(names, complete=True)
        return Found(names, complete=False)

    async def look(self, name: str, measure: Counted, key: str) -> dict[str, Any] | None:
        """What is left of a key; None where nothing was taken. Nothing is taken for it."""
        async with self._turns:
            reply = await self._redis.eval(SCRIPT.source, 1, name, measure.allowed, measure.how, _LOOKS)
            life = await self._redis.pttl(name)
        if life <= _BEHIND:
            return None
        left, whole_in = max(0, int(reply[1])), (life - _BEHIND) / 1000
        return {"key": key, "of": measure.of, "left": left, "allowed": measure.allowed, "whole_in": whole_in}

    async def reset(self, names: Sequence[str]) -> None:
        """Forget what was counted."""
        for name in names:
            await self._redis.delete(name)

    async def close(self) -> None:
        """Close its connections."""
        with suppress(Exception):
            await self._redis.aclose()


def _measure(name: str, known: Mapping[str, Counted]) -> tuple[Counted, str] | None:
    """The measure that a name in Redis is of, and the key."""
    for index, letter in enumerate(name):
        if letter == ":":
            for before in (name[: index + 1], name[: index + 2]):
                measure = known.get(before)
                if measure is not None and name.endswith(measure.behind):
                    return measure, unquote(name[len(before) : len(name) - len(measure.behind)])
    return None
