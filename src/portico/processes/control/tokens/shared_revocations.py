"""Revoked tokens of all gateways that share a Redis: each writes what it revokes, and asks for what others have.

What is there only comes to hold more, until it has ended by itself. So a reply that comes late does no harm, and a
gateway may at any time write again what Redis has lost. All names are in one slot of a Cluster.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from portico.net.redis.connection import connect, failures
from portico.policies.auth.revoked import Revocation

_TIMEOUT: Final = 1.0

_EXCHANGE: Final = """
local function at(name) return redis.call('HGET', KEYS[5], name) end
local data, version = at('data'), tonumber(at('version') or '0')
if not data then
  data = ARGV[1]
  redis.call('HSET', KEYS[5], 'data', data)
end
local now = redis.call('TIME')[1]
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('HDEL', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
  redis.call('ZREM', KEYS[3], name)
  redis.call('ZREM', KEYS[4], name)
end
local function later(key, name, value)
  local known = redis.call('HGET', key, name)
  if known and tonumber(known) >= tonumber(value) then return false end
  redis.call('HSET', key, name, value)
  return true
end
for i = 4, #ARGV, 3 do
  local name = ARGV[i]
  local is_longer, is_wider = later(KEYS[1], name, ARGV[i + 1]), later(KEYS[2], name, ARGV[i + 2])
  if is_longer or is_wider then
    version = version + 1
    redis.call('HSET', KEYS[5], 'version', version)
    redis.call('ZADD', KEYS[3], version, name)
    redis.call('ZADD', KEYS[4], redis.call('HGET', KEYS[1], name), name)
  end
end
local since = 0
if ARGV[2] == data and tonumber(ARGV[3]) <= version then since = tonumber(ARGV[3]) end
local found = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. since, '+inf')) do
  table.insert(found, {name, redis.call('HGET', KEYS[1], name) or '0', redis.call('HGET', KEYS[2], name) or '0'})
end
return {data, version, since, found}
"""
"""Write revocations, three arguments each; read those that have changed since a version of these data."""


class Seen(NamedTuple):
    """Up to where a gateway knows what Redis has: a version of these data, which have a name of their own."""

    data: str = ""
    version: int = 0


class News(NamedTuple):
    """Revocations that have come, or all of them, and up to where they are known by that."""

    seen: Seen
    revocations: list[Revocation]
    are_all: bool


class SharedRevocations:
    """Those of gateways with the same `issuer`. What it does may raise one of `failures()`."""

    def __init__(self, url: str, issuer: str) -> None:
        self._redis: Any = connect(url, timeout=_TIMEOUT, connections=4)
        self._names = [
            f"portico:revoked-tokens:{{={issuer}}}:{name}" for name in ("until", "before", "changes", "ends", "state")
        ]

    async def exchange(self, seen: Seen, added: Iterable[Revocation]) -> News:
        """Write these; read what has come since something was `seen`, these among them."""
        written: list[object] = []
        for each in added:
            written += (f"{_KINDS[each.before > 0]}{each.name}", each.until, each.before)
        found = await self._redis.eval(_EXCHANGE, len(self._names), *self._names, secrets.token_hex(8), *seen, *written)
        data, version, since, revocations = found
        read = [Revocation(_text(name)[1:], int(until), int(before)) for name, until, before in revocations]
        return News(Seen(_text(data), version), read, are_all=not since)

    async def close(self) -> None:
        """Stop."""
        with suppress(*failures()):
            await self._redis.aclose()


_KINDS: Final = ("=", "@")
"""What the names of tokens and sign-ins begin with there, and those of consumers."""


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
