"""API keys of all gateways that share a Redis: each writes what changes, and asks often for what others have changed.

What is there only grows, but for `revoked` and `expires`, which only come sooner. So a reply that comes late does no
harm, and a gateway may at any time write again what Redis has lost. All names are in one slot of a Cluster.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec

from portico.net.redis.connection import connect, failures
from portico.processes.control.api_key_records import KeyRecord

logger: Final = logging.getLogger("portico.keys")

_TIMEOUT: Final = 3.0
"""Seconds: a Redis that is slow is late, but not away."""
_CONNECTIONS: Final = 16
_PREFIX: Final = "portico:{keys}:"

_EXCHANGE: Final = """
local function at(number) return redis.call('HGET', KEYS[5], number) end
local data, version = at('data'), tonumber(at('version') or '0')
if not data then
  data = ARGV[1]
  redis.call('HSET', KEYS[5], 'data', data)
end
local function sooner(key, id, at)
  local known = redis.call('HGET', key, id)
  if at == '0' or (known and tonumber(known) <= tonumber(at)) then return false end
  redis.call('HSET', key, id, at)
  return true
end
for i = 4, #ARGV, 4 do
  local id = ARGV[i]
  local is_new = redis.call('HSETNX', KEYS[1], id, ARGV[i + 1]) == 1
  local ends, expires = sooner(KEYS[2], id, ARGV[i + 2]), sooner(KEYS[3], id, ARGV[i + 3])
  if is_new or ends or expires then
    version = version + 1
    redis.call('HSET', KEYS[5], 'version', version)
    redis.call('ZADD', KEYS[4], version, id)
  end
end
local since = 0
if ARGV[2] == data and tonumber(ARGV[3]) <= version then since = tonumber(ARGV[3]) end
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '(' .. since, '+inf')) do
  local revoked, expires = redis.call('HGET', KEYS[2], id) or '0', redis.call('HGET', KEYS[3], id) or '0'
  table.insert(found, {redis.call('HGET', KEYS[1], id), revoked, expires})
end
return {data, version, since, found}
"""
"""Write keys, four arguments each; read those that have changed since a version of these data."""

_USE: Final = """
for i = 1, #ARGV, 2 do
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  if not known or tonumber(known) < tonumber(ARGV[i + 1]) then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
"""
"""Write when keys were used."""

_FORGET: Final = """
for _, id in ipairs(ARGV) do
  for number = 1, 4 do redis.call('HDEL', KEYS[number], id) end
  redis.call('ZREM', KEYS[5], id)
end
"""
"""Remove keys that are over, with all that is known of them."""

_decode: Final = msgspec.json.Decoder(KeyRecord).decode


class Seen(NamedTuple):
    """Up to where a gateway knows what Redis has: a version of these data, which have a name of their own."""

    data: str = ""
    version: int = 0


class News(NamedTuple):
    """Keys that have changed, or all of them, and up to where they are known by that."""

    seen: Seen
    keys: list[KeyRecord]
    are_all: bool


def problems() -> tuple[type[Exception], ...]:
    """What `SharedKeys` may raise: Redis is away, or has something else under these names."""
    return failures()


class SharedKeys:
    """The keys in one Redis. What it does may raise one of the `problems()`."""

    def __init__(self, url: str) -> None:
        self._redis: Any = connect(url, timeout=_TIMEOUT, connections=_CONNECTIONS)
        self._has_warned = False

    async def exchange(self, seen: Seen, changed: Sequence[KeyRecord]) -> News:
        """Write these keys; read what has changed since something was `seen`, these among them."""
        names = [_PREFIX + name for name in ("records", "revoked", "expires", "changes", "state")]
        written: list[object] = []
        for each in changed:
            kept = msgspec.structs.replace(each, revoked=0, expires=0)
            written += (each.id, msgspec.json.encode(kept), each.revoked, each.expires)
        found = await self._redis.eval(_EXCHANGE, len(names), *names, secrets.token_hex(8), *seen, *written)
        data, version, since, keys = found
        records = [
            msgspec.structs.replace(record, revoked=int(revoked), expires=int(expires))
            for written, revoked, expires in keys
            if (record := self._read(written)) is not None
        ]
        return News(Seen(_text(data), version), records, are_all=not since)

    def _read(self, written: bytes | None) -> KeyRecord | None:
        """None for what is no key: one that somebody has deleted there, or whatever else is in its place."""
        try:
            return _decode(written or b"")
        except msgspec.DecodeError as error:
            if not self._has_warned:
                self._has_warned = True
                logger.warning("something in Redis is no API key", extra={"reason": str(error)})
            return None

    async def note_used(self, used: Mapping[str, int]) -> None:
        """Write when keys were used, by their ids."""
        written = [part for each in used.items() for part in each]
        await self._redis.eval(_USE, 1, f"{_PREFIX}used", *written)

    async def forget(self, ids: Sequence[str]) -> None:
        """Remove keys, by their ids."""
        names = [_PREFIX + name for name in ("records", "revoked", "expires", "used", "changes")]
        await self._redis.eval(_FORGET, len(names), *names, *ids)

    async def used(self) -> dict[str, int]:
        """When keys were last used, by any gateway."""
        found = await self._redis.hgetall(f"{_PREFIX}used")
        return {_text(name): int(at) for name, at in found.items()}

    async def close(self) -> None:
        """Stop."""
        with suppress(*failures()):
            await self._redis.aclose()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
