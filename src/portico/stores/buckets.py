"""Token buckets in memory, one float each: the generic cell rate algorithm (ITU-T I.371)."""

from __future__ import annotations

from typing import Final

from portico.stores.generations import Generations

CAPACITY: Final = 100_000
"""Buckets per generation. A client whose bucket was dropped starts with a full one, so the oldest go first."""

_ROUNDING: Final = 1e-3
"""Share of a token by which sums of floats may be off: without it the last token of a full bucket is refused."""


class TokenBuckets:
    """Buckets of `burst` tokens, refilled one token every `interval` seconds.

    What is stored per key is the moment when its bucket will be full again; an absent key has a full bucket. A bucket
    that has been left alone for `burst * interval` seconds is full, so generations older than that are dropped without
    loss.
    """

    __slots__ = ("_entries", "_margin", "_room", "_rotated", "burst", "interval", "span")

    def __init__(self, requests_per_minute: float, burst: int, capacity: int = CAPACITY) -> None:
        self.burst = burst
        self.interval = 60.0 / requests_per_minute
        self.span = burst * self.interval
        self._room = self.span - self.interval
        self._margin = self.interval * _ROUNDING
        self._entries: Generations[str, float] = Generations(capacity)
        self._rotated = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def look(self, key: str, now: float) -> float:
        """What `take` would say now."""
        debt = max(0.0, (self._entries.get(key) or now) - now)
        if debt > self._room + self._margin:
            return self._room - debt
        left = (self._room - debt) / self.interval + _ROUNDING
        return left // 1 if left > 0.0 else 0.0

    def set_left(self, key: str, left: float, now: float) -> None:
        """Take over what a bucket kept elsewhere has: `left` tokens, or minus the seconds until the next one."""
        debt = self.span - left * self.interval if left >= 0.0 else self._room - left
        if debt > 0.0:
            self._entries.put(key, now + debt)

    def take(self, key: str, now: float) -> float:
        """Take a token: the tokens left (0 or more), or, where there is none, minus the seconds until the next one."""
        if now - self._rotated > self.span:
            self._rotated = now
            self._entries.rotate()
        young = self._entries.young
        known = young.get(key)
        debt = (known or self._entries.get(key) or now) - now
        if debt <= 0.0:
            debt = 0.0
        elif debt > self._room + self._margin:
            return self._room - debt
        debt += self.interval
        if known is None:
            self._entries.put(key, now + debt)
        else:
            young[key] = now + debt
        left = (self.span - debt) / self.interval + _ROUNDING
        return left // 1 if left > 0.0 else 0.0
