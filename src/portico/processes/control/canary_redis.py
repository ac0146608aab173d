"""Canaries of all gateways that share a Redis: one decision for each, the counts of all, and one gateway that decides.

The keys of a canary, `portico:canary:{ROUTE:ID}` and what follows, name its route and what makes it this one (services
and steps), so that gateways with different files do not disturb each other. A gateway writes again what Redis has lost.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from typing import Any, Final

import msgspec

from portico.net.redis.connection import connect, failures
from portico.processes.control.canary import Decision
from portico.processes.control.canary_counts import Sides
from portico.processes.control.canary_records import Record

_TIMEOUT: Final = 0.5
_LEASE: Final = 5000
"""Milliseconds for which one gateway decides unless it asks again: it does so every second."""
_KEPT: Final = 600_000
"""Milliseconds for which a canary is kept that no gateway watches.

That is for a restart of all gateways. Once its file is another one it must not come back: as one that was promoted, the
next release would get all requests at once.
"""

_EXCHANGE: Final = """
local run = redis.call('HGET', KEYS[1], 'run')
if not run or (run == ARGV[2] and tonumber(redis.call('HGET', KEYS[1], 'version')) < tonumber(ARGV[3])) then
  redis.call('HSET', KEYS[1], 'run', ARGV[2], 'version', ARGV[3], 'decision', ARGV[4])
end
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
local holder = redis.call('GET', KEYS[3])
if not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[6])
  holder = ARGV[1]
end
return {redis.call('HGET', KEYS[1], 'decision'), holder, redis.call('HVALS', KEYS[2])}
"""
"""Write what this gateway counted, and its decision where there is none or an earlier one of the same run; read the
decision, who decides, and all counts. A run of which a gateway alone still knows is over.
"""

_REPLACE: Final = """
if redis.call('HGET', KEYS[1], 'run') ~= ARGV[1] or redis.call('HGET', KEYS[1], 'version') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'run', ARGV[1], 'version', ARGV[3], 'decision', ARGV[4])
if ARGV[5] == '1' then redis.call('DEL', KEYS[2]) end
return 1
"""
"""Compare and set; what was counted goes with the epoch to which it belongs."""


class Shared(msgspec.Struct, frozen=True):
    """A decision of all gateways, what all have counted since its step began, and whether this one decides."""

    decision: Decision
    counted: Sides
    leads: bool


class _Counted(msgspec.Struct, frozen=True):
    run: str
    epoch: int
    sides: Sides


_decision: Final = msgspec.json.Decoder(Decision).decode
_counted: Final = msgspec.json.Decoder(_Counted).decode


def problems() -> tuple[type[Exception], ...]:
    """What `SharedCanaries` may raise: Redis is away, or what it has is not of this release."""
    return *failures(), msgspec.DecodeError


class SharedCanaries:
    """The canaries in one Redis. What it does may raise one of the `problems()`."""

    def __init__(self, url: str) -> None:
        self._redis: Any = connect(url, timeout=_TIMEOUT, connections=2)
        self._gateway = secrets.token_hex(8)

    async def exchange(self, route: str, own: Record) -> Shared:
        """Write what is known here, read what all know."""
        decision = own.decision
        found, holder, counted = await self._redis.eval(
            _EXCHANGE,
            3,
            *self._keys(route, decision),
            self._gateway,
            decision.run,
            decision.version,
            msgspec.json.encode(decision),
            msgspec.json.encode(_Counted(*decision.part, own.counted)),
            _LEASE,
            _KEPT,
        )
        shared = _decision(found)
        sides = Sides()
        for each in counted:
            with suppress(msgspec.DecodeError):
                of_gateway = _counted(each)
                if (of_gateway.run, of_gateway.epoch) == shared.part:
                    sides += of_gateway.sides
        return Shared(shared, sides, _text(holder) == self._gateway)

    async def replace(self, route: str, expected: Decision, new: Decision) -> bool:
        """Write a decision in place of the expected one; False where that is not there any more."""
        keys = self._keys(route, new)[:2]
        is_other = int(new.part != expected.part)
        arguments = (expected.run, expected.version, new.version, msgspec.json.encode(new), is_other)
        return bool(await self._redis.eval(_REPLACE, 2, *keys, *arguments))

    async def forget(self, route: str, decision: Decision) -> None:
        """It is not in the file any more; a gateway that has it there still writes it again."""
        for key in self._keys(route, decision):
            await self._redis.delete(key)

    async def close(self) -> None:
        """Stop."""
        with suppress(*failures()):
            await self._redis.aclose()

    def _keys(self, route: str, decision: Decision) -> tuple[str, str, str]:
        """Those of the decision, of what gateways counted, and of the lease: all in one slot of a Cluster."""
        about = msgspec.json.encode((decision.service, decision.to, decision.steps))
        key = f"portico:canary:{{{route}:{hashlib.sha256(about).hexdigest()[:16]}}}"
        return key, f"{key}:counted", f"{key}:lease"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
