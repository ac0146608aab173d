"""The keys of issuers that publish them: what the control process fetched, and asking it for a key that is missing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Protocol
from weakref import WeakSet

from portico.policies.auth.keys import Key, KeySet, key_set
from portico.policies.counters.generations import Generations

logger: Final = logging.getLogger("portico.auth")

_WAITING: Final = 1_000
"""Requests that may wait for the keys of an issuer."""
_TIMEOUT: Final = 6.0
"""Seconds that a request waits for keys at most."""
_UNKNOWN: Final = 1_000
"""Names of keys that an issuer does not have, remembered until it publishes others."""
_UNKNOWN_FOR: Final = 5.0
"""Seconds after which they are asked for once more all the same: an issuer may sign with a key before it is seen."""


class KeySource(NamedTuple):
    """Where an issuer publishes its keys: at an address, or (`discovered`) at one that its metadata names.

    `issuer` is what the metadata has to say of itself; empty where keys are fetched by their address.
    """

    address: str
    issuer: str = ""

    @property
    def discovered(self) -> bool:
        """Whether the address of the keys has to be looked up."""
        return bool(self.issuer)


OWN_KEYS: Final = KeySource("gateway.tokens")
"""Those that the gateway itself signs tokens with."""


class Dependent(Protocol):
    """What is remembered because of keys, and has to be forgotten when one of them is withdrawn."""

    def forget(self) -> None:
        """Prove everything anew."""


class RemoteKeys:
    """The keys of one issuer: None until they have come. `dependent` is what a withdrawn key ends."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self.keys: KeySet | None = None
        self.dependent: WeakSet[Dependent] = WeakSet()
        self._waiting: dict[asyncio.Future[None], float] = {}
        """Who waits, and since when."""
        self._unknown: Generations[str, float] = Generations(_UNKNOWN)

    def matching(self, kid: str | None, algorithm: str) -> list[Key]:
        """The keys that may have signed a token with this header, as far as is known."""
        return self.keys.matching(kid, algorithm) if self.keys is not None else []

    def may_come(self, kid: str | None) -> bool:
        """Whether it is worth waiting for a key of this name; for one without a name it always is."""
        return len(self._waiting) < _WAITING and (self.keys is None or kid is None or not self._is_unknown(kid))

    def _is_unknown(self, kid: str) -> bool:
        since = self._unknown.get(kid)
        return since is not None and time.monotonic() - since < _UNKNOWN_FOR

    async def news(self, kid: str | None) -> None:
        """Wait until the issuer was asked for its keys once more, or that failed."""
        asked = time.monotonic()
        if not self._ask() and self.keys is not None:
            return
        before, coming = self.keys, asyncio.get_running_loop().create_future()
        self._waiting[coming] = asked
        try:
            async with asyncio.timeout(_TIMEOUT):
                await coming
        except TimeoutError:
            return
        finally:
            self._waiting.pop(coming, None)
        if kid is not None and before is not None and self.keys is before:
            self._unknown.put(kid, time.monotonic())

    def peek(self, asked: Callable[[], None]) -> RemoteKeys:
        """The same keys, for whoever asks what would be said: `asked` is called where the issuer would be."""
        return _Peeked(self, asked)

    def learn(self, keys: KeySet | None, as_of: float) -> None:
        """Use these keys from now on; None: those that are there, for no others could be had.

        `as_of` is when the issuer was asked (monotonic): where they are no others, who wants news from later waits on.
        """
        is_new = keys is not None and keys != self.keys
        if keys is not None and keys != self.keys:
            withdrawn = self.keys is not None and any(key not in keys.keys for key in self.keys.keys)
            self.keys = keys
            self._unknown = Generations(_UNKNOWN)
            if withdrawn:
                for each in list(self.dependent):
                    each.forget()
        for coming, since in self._waiting.items():
            if not coming.done() and (is_new or since <= as_of):
                coming.set_result(None)


class _Peeked(RemoteKeys):
    def __init__(self, of: RemoteKeys, asked: Callable[[], None]) -> None:
        super().__init__(lambda: False)
        self.keys, self._unknown, self._waiting = of.keys, of._unknown.peek(), dict(of._waiting)
        self._asked = asked

    async def news(self, kid: str | None) -> None:  # noqa: ARG002
        self._asked()


class KeySets:
    """The keys of all issuers in this process, by where they are published.

    `ask` asks for the keys of a source; False where nobody is there to do it.
    """

    def __init__(self) -> None:
        self.ask: Callable[[KeySource], bool] = lambda source: False  # noqa: ARG005
        self._sets: dict[KeySource, RemoteKeys] = {}

    def of(self, source: KeySource) -> RemoteKeys:
        """The keys of a source, which is the same object for ever."""
        if source not in self._sets:
            self._sets[source] = RemoteKeys(lambda: self.ask(source))
        return self._sets[source]

    def peek(self, asked: Callable[[str], None]) -> KeySets:
        """The same, for whoever asks what would be said: `asked` is called with the address of an issuer that would
        be asked.
        """
        peeked = KeySets()
        for source, keys in self._sets.items():
            peeked._sets[source] = keys.peek(partial(asked, source.address))
        return peeked

    def learn(self, source: KeySource, document: bytes, as_of: float) -> None:
        """A source published this at that monotonic time, which processes share; empty: it could not be fetched."""
        keys = None
        if document:
            try:
                keys = key_set(document)
            except ValueError:
                logger.exception("the keys of an issuer cannot be used", extra={"address": source.address})
        self.of(source).learn(keys, as_of)
