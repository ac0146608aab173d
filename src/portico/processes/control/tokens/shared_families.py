"""Families of refresh tokens in a Redis that gateways share: a token that one issues is known to all."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final, TypeVar

from portico.net.redis.connection import connect, failures, reason
from portico.processes.control.tokens.families import Family, StoreError, Turn, decode, encode

T = TypeVar("T")

_TIMEOUT: Final = 1.0

_BEGIN: Final = """
redis.call('HSET', KEYS[1], 'data', ARGV[1], 'number', '0', 'turned', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_TURN: Final = """
local current = tonumber(redis.call('HGET', KEYS[1], 'number'))
if not current then return {-1, 0} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local number = tonumber(ARGV[1])
if number == current then
  redis.call('HSET', KEYS[1], 'number', current + 1, 'turned', now)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {current + 1, 0}
end
if number == current - 1 and now < tonumber(redis.call('HGET', KEYS[1], 'turned')) + tonumber(ARGV[3]) then
  return {current, 0}
end
redis.call('DEL', KEYS[1])
return {-1, 1}
"""


class SharedFamilies:
    """Families as hashes `portico:sign-in:{NAME}`, which expire by themselves."""

    def __init__(self, url: str) -> None:
        self._redis: Any = connect(url, timeout=_TIMEOUT, connections=8)

    async def begin(self, name: str, family: Family, life: float) -> None:
        await _done(self._redis.eval(_BEGIN, 1, _key(name), encode(family), _milliseconds(life)))

    async def find(self, name: str) -> Family | None:
        found = await _done(self._redis.hget(_key(name), "data"))
        return decode(found) if found is not None else None

    async def turn(self, name: str, number: int, life: float, grace: float) -> Turn:
        arguments = number, _milliseconds(life), _milliseconds(grace)
        following, was_reused = await _done(self._redis.eval(_TURN, 1, _key(name), *arguments))
        return Turn(following if following >= 0 else None, bool(was_reused))

    async def end(self, name: str) -> None:
        await _done(self._redis.delete(_key(name)))

    async def close(self) -> None:
        with suppress(*failures()):
            await self._redis.aclose()


def _key(name: str) -> str:
    return f"portico:sign-in:{{{name}}}"


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


async def _done(command: Awaitable[T]) -> T:
    try:
        return await command
    except failures() as error:
        raise StoreError(f"Redis: {reason(error)}") from None
