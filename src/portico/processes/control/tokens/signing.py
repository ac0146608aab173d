"""Signing tokens: with a secret, or with keys of the gateway's own, which all workers and all gateways know."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
from pydantic import SecretStr

from portico.core.tasks import cancelled, endless
from portico.policies.auth.key_sets import OWN_KEYS
from portico.policies.auth.keys import Key, KeySet, key_set
from portico.processes.control.tokens.key_store import KeyStore
from portico.processes.control.tokens.keys import (
    JWS,
    Ring,
    begun,
    decode,
    encode,
    kept_up,
    private_key,
    published,
    rotated,
    withdrawn,
)
from portico.processes.control.workers import Workers

logger: Final = logging.getLogger("portico.auth")

_INTERVAL: Final = 5.0
"""Seconds between two looks at what other gateways have, and whether a key has become old."""


class Signing(Protocol):
    """What tokens are signed with; `secret` signs refresh tokens."""

    @property
    def secret(self) -> bytes:
        """The same one, whatever becomes of keys."""

    @property
    def keys(self) -> KeySet:
        """What verifies the tokens."""

    def signed(self, claims: bytes, kind: str) -> str:
        """A token with these claims, of this `typ`."""


class BySecret:
    """Signs with the secret that services and routes know."""

    def __init__(self, secret: SecretStr, algorithm: str) -> None:
        self.secret = secret.get_secret_value().encode()
        self.keys = KeySet([Key(self.secret, (algorithm,))])
        self._algorithm = algorithm

    def signed(self, claims: bytes, kind: str) -> str:
        return JWS.encode(claims, self.secret, self._algorithm, {"typ": kind})


class ByOwnKeys:
    """Signs with keys that are made here, replaced after `rotate` seconds, and published."""

    def __init__(self, store: KeyStore, workers: Workers, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._workers = workers
        self._clock = clock
        self._turn = asyncio.Lock()
        self._text = store.last()
        self._ring: Ring | None = None
        self._algorithm = ""
        self._rotate = self._life = 0.0
        self.document = b""
        """What is published: a JSON Web Key Set."""
        self._task: asyncio.Task[None] | None = None

    @property
    def ring(self) -> Ring:
        """The keys, once they were followed."""
        assert self._ring is not None
        return self._ring

    @property
    def secret(self) -> bytes:
        return self.ring.secret.encode()

    @property
    def keys(self) -> KeySet:
        return key_set(self.document)

    def signed(self, claims: bytes, kind: str) -> str:
        key = self.ring.signing(self._clock())
        return JWS.encode(claims, private_key(key), key.algorithm, {"typ": kind, "kid": key.kid})

    async def follow(self, algorithm: str, rotate: float, life: float) -> None:
        """Sign so from now on: tokens live for `life` seconds, and `rotate` is 0 where keys do not become old."""
        self._algorithm, self._rotate, self._life = algorithm, rotate, life
        await self._keep_up()
        if self._task is None:
            self._task = endless(self._keep_keeping_up(), "the keys that tokens are signed with")

    async def rotate(self, *, withdraw: bool) -> None:
        """Have another key, which signs in ten minutes, or, with `withdraw`, at once, while all others end."""
        await self._keep_up()
        async with self._turn:
            change = withdrawn if withdraw else rotated
            new = await asyncio.to_thread(change, self.ring, self._algorithm, self._clock())
            self._take(await self._store.replace(self._text, encode(new)))

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            await cancelled([self._task])
        self._task = None
        self._workers.forget_keys(OWN_KEYS)
        await self._store.close()

    async def _keep_keeping_up(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                await self._keep_up()
            except Exception:
                logger.exception("the keys that tokens are signed with could not be looked after")

    async def _keep_up(self) -> None:
        """Take what other gateways have, and do what is due."""
        async with self._turn:
            now = self._clock()
            known = self._known()
            if known is None:
                self._text = encode(await asyncio.to_thread(begun, self._algorithm, now))
            self._take(await self._store.replace(b"", self._text))
            due = await asyncio.to_thread(kept_up, self.ring, self._algorithm, now, self._rotate, self._life)
            if due != self.ring:
                self._take(await self._store.replace(self._text, encode(due)))

    def _known(self) -> Ring | None:
        try:
            return decode(self._text) if self._text else None
        except msgspec.DecodeError as error:
            logger.error("keys of tokens cannot be read: others are made", extra={"reason": str(error)})
            return None

    def _take(self, text: bytes) -> None:
        ring = decode(text)
        self._text = text
        if ring != self._ring:
            names = [key.kid for key in ring.keys]
            logger.info("keys that tokens are signed with", extra={"keys": ", ".join(names)})
            self._ring = ring
            self.document = published(ring)
            self._workers.publish_keys(OWN_KEYS, self.document, time.monotonic())
