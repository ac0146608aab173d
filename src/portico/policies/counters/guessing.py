"""Guessing of passwords, slowed down: by who is named, by where it comes from, and by both together.

Only what failed is counted, so that whoever knows a password is never made to wait for having used it often. A name
that is guessed at from everywhere still lets those in who have signed in from their address before.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from copy import copy
from typing import Final, NamedTuple

from portico.core.clients import client_of
from portico.policies.counters.buckets import Moments
from portico.policies.counters.generations import Generations

_MOST: Final = 50_000
"""Names that are known to come from an address."""
_LONGEST: Final = 100
"""Characters of a name that is kept as it is."""


class _Pace(NamedTuple):
    """So many failures at once, then one in so many seconds."""

    burst: int
    interval: float


_NAME_AND_ADDRESS: Final = _Pace(5, 15.0)
_ADDRESS: Final = _Pace(30, 5.0)
_NAME: Final = _Pace(50, 60.0)


class Guessing:
    """Who has to wait before the next attempt. Names that there are not count as others do."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._free_at = Moments()
        """When all failures of each will have been worn off."""
        self._known: Generations[str, bool] = Generations(_MOST)

    def wait(self, name: str, address: str) -> float:
        """Seconds until the next attempt is looked at; 0: this one is."""
        now = self._clock()
        waits = [
            self._free_at.get(key) - (pace.burst - 1) * pace.interval - now
            for key, pace in self._counted(name, address)
        ]
        return max(0.0, *waits)

    def failed(self, name: str, address: str) -> None:
        """Count an attempt that failed."""
        now = self._clock()
        for key, pace in self._counted(name, address):
            self._free_at.put(key, max(self._free_at.get(key), now) + pace.interval, now)

    def succeeded(self, name: str, address: str) -> None:
        """Forget what failed before from this address with this name, and know it from now on."""
        pair = _key(_short(name), client_of(address))
        self._free_at.forget(pair)
        self._known.put(pair, True)

    def peek(self) -> Guessing:
        """The same, for whoever asks what would be said: no attempt is counted for it."""
        peeked = copy(self)
        peeked._free_at, peeked._known = self._free_at.peek(), self._known.peek()
        return peeked

    def _counted(self, name: str, address: str) -> list[tuple[str, _Pace]]:
        name, client = _short(name), client_of(address)
        pair = _key(name, client)
        counted = [(pair, _NAME_AND_ADDRESS), (_key("", client), _ADDRESS)]
        if self._known.get(pair) is None:
            counted.append((_key(name, ""), _NAME))
        return counted


def _key(name: str, client: str) -> str:
    """A name and an address, either of which may be empty: then it is all of them."""
    return f"{client} {name}"


def _short(name: str) -> str:
    """The same for a name that is no longer than names are; of others not all is kept."""
    if len(name) <= _LONGEST:
        return name
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
