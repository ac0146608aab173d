"""Which identities were used already: each is valid for one request."""

from __future__ import annotations

from threading import Lock
from typing import Final

CAPACITY: Final = 65_536


class Seen:
    """Remembers ids until they expire, `capacity` of them at most (65,536 take about 10 MB).

    Where there are more, the oldest are forgotten, and from then on nothing is accepted that would have expired by the
    time they would: whether it was used before is no longer known.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lock = Lock()
        self._expiries: dict[str, float] = {}
        """In the order in which they came, which is nearly that in which they expire."""
        self._forgotten = float("-inf")

    def first_use(self, name: str, expires: float, now: float) -> bool:
        """Whether `name` is used for the first time; `expires` and `now` are seconds since the epoch."""
        with self._lock:
            if name in self._expiries or expires <= self._forgotten:
                return False
            self._expiries[name] = expires
            self._forget(now)
            return True

    def _forget(self, now: float) -> None:
        while self._expiries:
            oldest = next(iter(self._expiries))
            expires = self._expiries[oldest]
            if expires > now:
                if len(self._expiries) <= self._capacity:
                    return
                self._forgotten = max(self._forgotten, expires)
            del self._expiries[oldest]

    def __len__(self) -> int:
        return len(self._expiries)
