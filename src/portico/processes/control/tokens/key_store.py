"""Where signing keys are kept: in a file of this gateway, and in the Redis that gateways share, where there is one."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from portico.net.redis.connection import connect, failures, reason
from portico.processes.control.state_file import StateFile

logger: Final = logging.getLogger("portico.auth")

_TIMEOUT: Final = 1.0
_REPLACE: Final = """
local found = redis.call('GET', KEYS[1])
if (found or '') ~= ARGV[1] then return found end
redis.call('SET', KEYS[1], ARGV[2])
return ARGV[2]
"""
"""Compare and set; returns what is there then."""


class KeyStore:
    """Keeps one text: the file has what was there last, so that a Redis that is away or has lost it changes nothing.

    `before` is what to begin with where the file has nothing. Gateways with the same `issuer` share what is in Redis.
    """

    def __init__(self, file: StateFile, before: Path | None, url: str | None, issuer: str) -> None:
        self._file = file
        self._before = before
        self._key = f"portico:token-keys:{issuer}"
        self._redis: Any = connect(url, timeout=_TIMEOUT, connections=1) if url is not None else None
        self._is_failing = False

    def last(self) -> bytes:
        """What this gateway had last; empty where it had nothing."""
        for path in (self._file.path, self._before):
            with suppress(OSError):
                if path is not None:
                    return path.read_bytes()
        return b""

    async def replace(self, known: bytes, new: bytes) -> bytes:
        """Have `new` in place of what was known, which may be nothing; what is there then, and may be another's."""
        if self._redis is not None:
            try:
                new = await self._redis.eval(_REPLACE, 1, self._key, known, new) or known or new
                self._is_failing = False
            except failures() as error:
                if not self._is_failing:
                    logger.error("keys of tokens are not shared: Redis is away", extra={"reason": reason(error)})
                self._is_failing = True
                return known or new
        if new != self.last():
            self._keep(new)
        return new

    def _keep(self, text: bytes) -> None:
        try:
            self._file.store(text, safely=True)
        except OSError as error:
            logger.error("keys of tokens cannot be stored: they end with this gateway", extra={"reason": str(error)})

    async def close(self) -> None:
        """Stop."""
        if self._redis is not None:
            with suppress(*failures()):
                await self._redis.aclose()
        self._file.close()
