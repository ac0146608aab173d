"""Purges of all gateways that share a Redis, in a stream there: each reads on from where it was, so it misses none."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import msgspec

from portico.core.tasks import cancelled, endless
from portico.net.redis.connection import connect, failures, masked, reason
from portico.proxy.cache.purges import Purge

logger: Final = logging.getLogger("portico.cache")

STREAM: Final = "portico:cache:purges"
_TIMEOUT: Final = 2.0
_BLOCK: Final = 1000
"""Milliseconds for which the server keeps a read that finds nothing: less than the timeout."""
_SETTLE: Final = 0.01
"""Seconds for which purges are gathered: invalidations of a busy service come in hundreds."""
_RETRY: Final = 0.3
_BATCH: Final = 100
_LENGTH: Final = 10_000
"""Entries that the stream keeps, at least."""
_KEPT: Final = 3600
"""Seconds for which it keeps them, at least: a gateway that was away for longer purges all that it has in memory."""
_COMPARED: Final = 10.0
"""Seconds between two comparisons of the clocks."""
_DOUBT: Final = 0.5
"""Seconds by which clocks may have been compared wrongly."""
_REPEATED: Final = 60.0
"""Seconds after which a purge need not be repeated to a server that may have lost it."""
_MOST: Final = 10_000
"""Purges that wait for Redis; more are replaced by one of everything."""


class _Entry(msgspec.Struct):
    """What one gateway adds at one moment: `sent` is the moment by its own clock, by which the purges are dated."""

    gateway: str
    sent: float
    purges: list[Purge]
    swept: float = 0.0
    """A time before which that gateway has swept behind all purges; 0: it says nothing of it."""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Entry).decode


class PurgeStream:
    """Adds purges of this gateway, and gives those of others to `received`, until it is closed.

    `missed` is called where some may have been missed, `swept` where another gateway has swept what they share behind
    all purges before a time. Nothing that Redis does or answers ends it.
    """

    def __init__(
        self,
        url: str,
        received: Callable[[list[Purge]], None],
        missed: Callable[[], None],
        swept: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._url = url
        self._received = received
        self._missed = missed
        self._swept = swept
        self._redis: Any = connect(url, timeout=_TIMEOUT, connections=2)
        self._gateway = secrets.token_hex(8)
        self._last = "0"
        """The stream's last entry that was read."""
        self._read = time.monotonic()
        self._has_begun = False
        self._ahead = 0.0
        """Seconds that the clock of the server is ahead of this one's, at least."""
        self._compared = -math.inf
        """When that was found out."""
        self._unsent: list[Purge] = []
        self._swept_before = 0.0
        """What is to be said of this gateway's own sweep."""
        self._sent: list[Purge] = []
        """Those of the last while, which a server may lose that is replaced by another."""
        self._woken = asyncio.Event()
        self._sent_all = asyncio.Event()
        self.up: bool | None = None
        """Whether the stream can be read; None before the first attempt."""
        self._tasks = [
            endless(self._read_on(), "reading of other gateways' purges"),
            endless(self._send_on(), "sending of purges to other gateways"),
        ]

    def add(self, purges: Iterable[Purge]) -> None:
        """Add purges, as soon as Redis takes them."""
        self._unsent += purges
        if not self._unsent:
            return
        if len(self._unsent) > _MOST:
            logger.warning("Redis is out of reach for too many purges: other gateways will purge everything")
            self._unsent = [Purge.of("all")]
        self._sent_all.clear()
        self._woken.set()

    def add_swept(self, before: float) -> None:
        """Tell other gateways of a sweep; nothing is lost if they do not hear of it."""
        self._swept_before = before
        self._woken.set()

    @property
    def is_current(self) -> bool:
        """Whether all that was added until a moment ago has been read."""
        return bool(self.up) and time.monotonic() - self._read < 2 * _BLOCK / 1000

    async def all_sent(self, timeout: float) -> bool:
        """Wait until Redis has taken all that was added; whether it has."""
        try:
            await asyncio.wait_for(self._sent_all.wait(), timeout)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stop."""
        await cancelled(self._tasks)
        with suppress(*failures()):
            await self._redis.aclose()

    # ---- from other gateways

    async def _read_on(self) -> None:
        while True:
            try:
                async with asyncio.timeout(3 * _TIMEOUT):
                    if not self.up:
                        await self._begin()
                    await self._read_some()
            except failures() as error:
                self._note(False, reason(error))
                await asyncio.sleep(_RETRY)
            except Exception:
                logger.exception("purges of other gateways could not be read")
                await asyncio.sleep(_RETRY)

    async def _begin(self) -> None:
        """After a connection was away: see whether entries may have gone meanwhile, and repeat what may be lost."""
        first = await self._redis.xrange(STREAM, count=1)
        overtaken = bool(first) and _position(first[0][0]) > _position(self._last)
        too_late = time.monotonic() - self._read > _KEPT
        if self._has_begun and (too_late or (overtaken and await self._redis.xlen(STREAM) >= _LENGTH)):
            self._missed()
        self._has_begun = True
        self._note(True)
        repeated, self._sent = self._sent, []
        self.add(_recent(repeated))

    async def _read_some(self) -> None:
        if time.monotonic() - self._compared > _COMPARED:
            await self._compare_clocks()
        found = await self._redis.xread({STREAM: self._last}, count=_BATCH, block=_BLOCK)
        self._read = time.monotonic()
        for _, entries in found or ():
            for position, fields in entries:
                self._last = _text(position)
                self._take((_position(position)[0] + 1) / 1000, fields)

    async def _compare_clocks(self) -> None:
        seconds, micros = await self._redis.eval("return redis.call('TIME')", 1, STREAM)
        self._ahead = int(seconds) + int(micros) / 1e6 - time.time()
        self._compared = time.monotonic()

    def _take(self, added: float, fields: dict[bytes, bytes]) -> None:
        """Purges that were added before this moment by the server's clock: dated anew, by the clock here.

        What takes time on the way only makes them later, and what is stored after them may go with them.
        """
        try:
            entry = _decode((fields or {}).get(b"entry", b""))
        except msgspec.DecodeError:
            logger.warning("an entry of the stream of purges is not one", extra={"stream": STREAM})
            return
        if entry.gateway != self._gateway:
            later = added - entry.sent - self._ahead
            if entry.purges:
                self._received([msgspec.structs.replace(purge, at=purge.at + later) for purge in entry.purges])
            if entry.swept:
                self._swept(entry.swept + later - _DOUBT)

    def _note(self, up: bool, why: str = "") -> None:
        if up != self.up:
            if up:
                logger.info("purges are shared with other gateways", extra={"redis": masked(self._url)})
            else:
                extra = {"redis": masked(self._url), "reason": why}
                logger.warning("purges cannot be shared with other gateways: they wait for Redis", extra=extra)
        self.up = up

    # ---- to other gateways

    async def _send_on(self) -> None:
        while True:
            await self._woken.wait()
            await asyncio.sleep(_SETTLE)
            self._woken.clear()
            purges, self._unsent = self._unsent, []
            try:
                async with asyncio.timeout(3 * _TIMEOUT):
                    await self._send(purges)
                purges = []
            except failures() as error:
                self._note(False, reason(error))
            except Exception:
                logger.exception("purges could not be sent to other gateways")
            if purges:
                await asyncio.sleep(_RETRY)
                self.add(purges)
            elif not self._unsent:
                self._sent_all.set()

    async def _send(self, purges: list[Purge]) -> None:
        for start in range(0, len(purges), _BATCH):
            await self._add(_Entry(self._gateway, time.time(), purges[start : start + _BATCH]))
        if self._swept_before:
            await self._add(_Entry(self._gateway, time.time(), [], self._swept_before))
            self._swept_before = 0.0
        await self._redis.expire(STREAM, _KEPT)
        self._sent = [*_recent(self._sent), *purges]

    async def _add(self, entry: _Entry) -> None:
        await self._redis.xadd(STREAM, {"entry": _encode(entry)}, maxlen=_LENGTH, approximate=True)


def _recent(purges: Iterable[Purge]) -> list[Purge]:
    end = time.time() - _REPEATED
    return [purge for purge in purges if purge.at >= end]


def _position(written: bytes | str) -> tuple[int, int]:
    """An entry's position, which begins with the time at which it was added, in milliseconds."""
    first, _, second = _text(written).partition("-")
    return int(first), int(second or 0)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
