"""The API keys that hold in this process, as the control process says, and when each was last used."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from copy import copy
from typing import Final
from weakref import WeakSet

import msgspec

from portico.policies.auth.key_sets import Dependent

_WAITING: Final = 1_000
"""Requests that may wait for the table."""
_TIMEOUT: Final = 6.0
"""Seconds that a request waits for it at most."""


class ApiKey(msgspec.Struct, frozen=True, array_like=True):
    """One key, by the SHA-256 `digest` of its text.

    `scopes` are those of its consumer's that it has; None: all of them. `expires` is in seconds since the epoch, 0 for
    never. One that does not `hold` is none any more.
    """

    id: str
    digest: bytes
    consumer: str
    scopes: tuple[str, ...] | None = None
    expires: int = 0
    holds: bool = True


class KeyTable:
    """All keys that hold. `dependent` is what is remembered because of them, and ends when one of them does.

    `used` is when keys were used since somebody last took that away: the second, by the key's id.
    """

    def __init__(self) -> None:
        self.dependent: WeakSet[Dependent] = WeakSet()
        self.used: dict[str, int] = {}
        self.is_known = False
        """Whether the keys have come at all."""
        self._keys: dict[bytes, ApiKey] = {}
        self._waiting: set[asyncio.Future[None]] = set()

    def find(self, digest: bytes) -> ApiKey | None:
        """The key with this digest."""
        return self._keys.get(digest)

    def learn(self, keys: Iterable[ApiKey], *, are_all: bool) -> None:
        """Go by these keys from now on, and with `are_all` by no others."""
        if are_all:
            before, self._keys = self._keys, {key.digest: key for key in keys if key.holds}
            ends = any(self._keys.get(digest) != key for digest, key in before.items())
            self.is_known = True
        else:
            changes = [self._changes(key) for key in keys]
            ends = any(changes)
        if ends:
            for each in list(self.dependent):
                each.forget()
        if self.is_known:
            for coming in self._waiting:
                if not coming.done():
                    coming.set_result(None)
            self._waiting = set()

    def _changes(self, key: ApiKey) -> bool:
        """Go by this key; whether that ends what was remembered of it."""
        before = self._keys.pop(key.digest, None)
        if key.holds:
            self._keys[key.digest] = key
        return before is not None and before != key

    async def arrival(self) -> None:
        """Wait until the keys have come, if that may be expected."""
        if self.is_known or len(self._waiting) >= _WAITING:
            return
        coming = asyncio.get_running_loop().create_future()
        self._waiting.add(coming)
        try:
            async with asyncio.timeout(_TIMEOUT):
                await coming
        except TimeoutError:
            return
        finally:
            self._waiting.discard(coming)

    def peek(self) -> KeyTable:
        """The same keys, for whoever asks what would be said: none of them is used by that, and nothing waited for."""
        peeked = copy(self)
        peeked.__class__ = _Peeked
        peeked.dependent, peeked.used, peeked._waiting = WeakSet(), {}, set()
        return peeked

    def take_used(self) -> dict[str, int]:
        """When keys were used since this was last asked."""
        used, self.used = self.used, {}
        return used


class _Peeked(KeyTable):
    async def arrival(self) -> None:
        """What is not known yet is not known."""
