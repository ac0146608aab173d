"""Who comes most, and where, and when each route was last hit: as workers count it while somebody watches."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection, Mapping
from typing import Any, Final

WINDOW: Final = 60
"""Seconds of which there are rates: more than of other figures, for a name comes less often than all together."""
_LENGTH: Final = 5
"""Seconds that are counted together."""
_MOST_NAMES: Final = 200
"""Names that are kept of these, beside those of routes."""
_KINDS: Final = ("consumers", "paths", "clients")


class _Span:
    """The counts of a few seconds, by kind and name."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.counts: dict[str, Counter[str]] = {kind: Counter() for kind in (*_KINDS, "routes")}

    def end(self) -> None:
        """Keep what came most often."""
        for kind in _KINDS:
            self.counts[kind] = Counter(dict(self.counts[kind].most_common(_MOST_NAMES)))


class Top:
    """Of one gateway."""

    def __init__(self) -> None:
        self._spans: deque[_Span] = deque()
        self._hits: dict[str, float] = {}
        self._began: float | None = None

    def begin(self) -> None:
        """Workers count from now on."""
        self._spans.clear()
        self._hits.clear()
        self._began = time.monotonic()

    def end(self) -> None:
        """They do not any more."""
        self._began = None

    def add(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Count what a worker has."""
        now = time.monotonic()
        number = int(now) // _LENGTH
        if not self._spans or self._spans[-1].number != number:
            if self._spans:
                self._spans[-1].end()
            self._spans.append(_Span(number))
            while self._spans[0].number <= number - WINDOW // _LENGTH:
                self._spans.popleft()
        for kind, counted in self._spans[-1].counts.items():
            counted.update(counts[kind])
        self._hits |= dict.fromkeys(counts["routes"], now)

    def window(self) -> float:
        """The seconds that rates are of."""
        return 0.0 if self._began is None else min(WINDOW, time.monotonic() - self._began)

    def since(self) -> float | None:
        """Since when workers count, in seconds since the epoch; None where they do not."""
        return None if self._began is None else self._clock(self._began)

    def named(self, most: int) -> dict[str, Any]:
        """Those that come most often, with their rates, by kind."""
        found: dict[str, Any] = {"window": round(self.window(), 3)}
        for kind in _KINDS:
            listed = self._summed(kind).most_common(most)
            found[kind] = [{"name": name, "rate": self._rate(count)} for name, count in listed]
        return found

    def routes(self, names: Collection[str], most: int) -> list[dict[str, Any]]:
        """All of these routes or, where there are more, those that were hit last: each with its rate and the time of
        its last hit (seconds since the epoch), if there was one.
        """
        if self._hits.keys() - names:
            self._hits = {name: self._hits[name] for name in self._hits.keys() & names}
        if len(names) > most:
            names = [
                *sorted(self._hits, key=lambda name: -self._hits[name]),
                *(each for each in names if each not in self._hits),
            ][:most]
        counts = self._summed("routes")
        return [
            {
                "name": name,
                "rate": self._rate(counts[name]),
                "last_hit": self._clock(self._hits[name]) if name in self._hits else None,
            }
            for name in names
        ]

    def _summed(self, kind: str) -> Counter[str]:
        oldest = int(time.monotonic()) // _LENGTH - WINDOW // _LENGTH
        summed: Counter[str] = Counter()
        for span in self._spans:
            if span.number > oldest:
                summed.update(span.counts[kind])
        return summed

    def _rate(self, count: int) -> float:
        return round(count / max(1.0, self.window()), 3)

    @staticmethod
    def _clock(moment: float) -> float:
        """A monotonic time by the clock: as far back from now, even where that was set meanwhile."""
        return round(time.time() - (time.monotonic() - moment), 3)
