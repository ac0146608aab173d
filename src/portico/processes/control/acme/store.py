"""Where accounts and records of certificates are kept: in a file, and in the Redis that gateways share, if any.

The keys of a certificate, `portico:acme:{NAME}` and that with `:lease` behind it, are in one slot of a Cluster. The
file has what was there last, so that a Redis that has lost it changes nothing.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from portico.net.redis.connection import connect, failures, reason
from portico.processes.control.acme.records import (
    Account,
    Kept,
    Record,
    decode_account,
    decode_kept,
    decode_record,
    encode,
    newer,
)
from portico.processes.control.state_file import StateFile

logger: Final = logging.getLogger("portico.acme")

_TIMEOUT: Final = 1.0
_LEASE: Final = 90_000
"""Milliseconds for which one gateway orders unless it asks again."""
_KEPT: Final = 100 * 86_400_000
"""Milliseconds for which Redis keeps what no gateway writes any more."""

_HOLD: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
"""
_WRITE: Final = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
"""Only who holds the lease writes."""


class AwayError(Exception):
    """Redis does not answer: what gateways have to agree on waits."""


class LostError(Exception):
    """Another gateway orders by now."""


def last_kept(path: Path | None) -> Kept:
    """What a file has, for a process that does not write it; nothing where it cannot be read."""
    with suppress(OSError, msgspec.DecodeError):
        if path is not None:
            return decode_kept(path.read_bytes())
    return Kept()


class Store:
    """The file at `path`, or where that cannot be used at `other`; `url` is the Redis that gateways share.

    `gateway` is what a lease has in it.
    """

    def __init__(self, path: Path | None, other: Path, url: str | None, gateway: bytes) -> None:
        self._file = StateFile(path, other, "certificates are")
        self.kept = self._read()
        self.is_shared = url is not None
        self._redis: Any = connect(url, timeout=_TIMEOUT, connections=2) if url is not None else None
        self._gateway = hashlib.sha256(gateway).hexdigest()[:16]
        self._is_failing = False

    def _read(self) -> Kept:
        try:
            return decode_kept(self._file.path.read_bytes())
        except FileNotFoundError:
            return Kept()
        except (OSError, msgspec.DecodeError) as error:
            extra = {"file": str(self._file.path), "reason": str(error)}
            logger.error("certificates cannot be read: they are ordered anew", extra=extra)
            return Kept()

    # ---- records

    async def record(self, name: str, names: list[str]) -> Record:
        """What is known of a certificate, here and by other gateways. Raises AwayError."""
        own = self.kept.records.get(name) or Record(names)
        if self._redis is None:
            return own
        shared = await self._asked(self._redis.get(_key(name)))
        if shared is None:
            if own.certificate is not None or own.order is not None or own.problem:
                await self._asked(self._redis.set(_key(name), encode(own), px=_KEPT, nx=True))
            return own
        with suppress(msgspec.DecodeError):  # of another release
            found = newer(own, decode_record(shared))
            if found != own:
                self._keep(name, found)
            elif found.certificate != decode_record(shared).certificate and await self.hold(name):
                await self.write(name, own)
            return found
        return own

    async def write(self, name: str, record: Record) -> None:
        """Keep it, for all gateways. Raises LostError, and then it is not kept, or AwayError: then it is, here."""
        if self._redis is not None:
            try:
                arguments = 2, _key(name), _lease(name), self._gateway, encode(record), _KEPT
                if not await self._asked(self._redis.eval(_WRITE, *arguments)):
                    raise LostError
            except AwayError:
                self._keep(name, record)
                raise
        self._keep(name, record)

    def forget(self, wanted: set[str], now: float) -> None:
        """Drop the certificates that are not wanted any more and have ended, but not what an authority has said."""
        for name, record in list(self.kept.records.items()):
            ended = record.certificate is None or record.certificate.life.end < now
            if name not in wanted and ended and record.order is None and record.next_try < now:
                del self.kept.records[name]

    # ---- accounts

    async def account(self, name: str) -> Account | None:
        """An account at an authority, which all gateways share. Raises AwayError."""
        own = self.kept.accounts.get(name)
        if self._redis is None:
            return own
        found = await self._asked(self._redis.get(f"portico:acme:account:{name}"))
        with suppress(msgspec.DecodeError):
            if found is not None:
                return decode_account(found)
        return await self.keep_account(name, own, None) if own is not None and found is None else own

    async def keep_account(self, name: str, account: Account, known: Account | None) -> Account:
        """Keep one in place of the one that was known; there may be another gateway's then. Raises AwayError."""
        if self._redis is not None:
            key = f"portico:acme:account:{name}"
            is_new = await self._asked(self._redis.set(key, encode(account), px=_KEPT, nx=known is None))
            if not is_new:
                account = await self.account(name) or account
        self.kept.accounts[name] = account
        self._save()
        return account

    # ---- one gateway orders

    async def hold(self, name: str) -> bool:
        """Whether this gateway is the one that orders, for the next while. Raises AwayError."""
        if self._redis is None:
            return True
        return bool(await self._asked(self._redis.eval(_HOLD, 1, _lease(name), self._gateway, _LEASE)))

    async def release(self, name: str) -> None:
        """Let another gateway order."""
        if self._redis is not None:
            with suppress(AwayError):
                await self._asked(self._redis.eval(_RELEASE, 1, _lease(name), self._gateway))

    async def close(self) -> None:
        """Stop."""
        if self._redis is not None:
            with suppress(*failures()):
                await self._redis.aclose()
        self._file.close()

    async def _asked(self, command: Any) -> Any:
        try:
            return await command
        except failures() as error:
            raise AwayError(f"Redis does not answer: {reason(error)}") from None

    def _keep(self, name: str, record: Record) -> None:
        self.kept.records[name] = record
        self._save()

    def _save(self) -> None:
        try:
            self._file.store(encode(self.kept), safely=True)
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                extra = {"file": str(self._file.path), "reason": error.strerror or str(error)}
                logger.error("certificates cannot be stored: a restart orders them again", extra=extra)
            self._is_failing = True


def _key(name: str) -> str:
    return f"portico:acme:{{{name}}}"


def _lease(name: str) -> str:
    return f"{_key(name)}:lease"
