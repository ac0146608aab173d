"""What clients saw of one fault: counted, judged, and as a line of the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from support.markdown import markdown

from .outcome import IDEMPOTENT, POST, STREAMS, TIMED, WEBSOCKET, Outcome

Span = tuple[float, float]
"""From one moment to another, of the clock that all processes share."""

_HEAD: Final = (
    "fault", "gateway", "requests", "idempotent failed", "excused", "POST", "streams", "WebSockets",
    "p99 ms before", "during", "after", "back after s", "what failed", "verdict",
)  # fmt: skip


class Promise(Enum):
    """What may fail while a fault lasts, and for how long after it."""

    IDEMPOTENT = "no idempotent request but those whose response had begun"
    RUNNING = "nothing but what ran on the process that was killed"
    REFUSED = "nothing, but requests may be refused"
    STORED = "no small GET, whose answers are in the cache"
    ALL = "nothing"


@dataclass
class Row:
    """One line. From `steady` on the load was; `during` is the fault, and in `spans` something was killed.

    `back` is after how many seconds what was broken had traffic again; `broken` says which promises were not kept.
    """

    fault: str
    gateway: str
    promise: Promise
    outcomes: Sequence[Outcome]
    steady: float
    during: Span
    spans: Sequence[Span] = ()
    back: float | None = None
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    is_judged: bool = True

    def __post_init__(self) -> None:
        failed = [each for each in self.outcomes if each.failure]
        self.excused = [each for each in failed if each.client in IDEMPOTENT and self._is_excused(each)]
        self.idempotent = [each for each in failed if each.client in IDEMPOTENT and not self._is_excused(each)]
        counted = self.idempotent
        if self.promise is not Promise.IDEMPOTENT:
            counted = [each for each in failed if not self._is_excused(each)]
        if counted:
            self.broken.insert(0, f"{len(counted)} failed")

    def expect(self, promise: bool, otherwise: str) -> None:
        """Note a promise that was not kept."""
        if not promise:
            self.broken.append(otherwise)

    @property
    def verdict(self) -> str:
        """In words."""
        words = "; ".join(self.broken) or "ok"
        return words if self.is_judged else f"({words})"

    def has_failed(self) -> bool:
        """Whether Portico broke a promise."""
        return self.is_judged and bool(self.broken)

    def kinds(self) -> str:
        """Every failure by client and kind, the most frequent first."""
        counts = Counter(f"{each.client} {each.failure}" for each in self.outcomes if each.failure)
        return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())

    def cells(self) -> list[str]:
        """What stands in the table."""
        before, after = (self.steady, self.during[0]), (self.during[1] + (self.back or 0.0), float("inf"))
        return [
            self.fault,
            self.gateway,
            str(len(self.outcomes)),
            str(len(self.idempotent)),
            str(len(self.excused)),
            *(str(self._failed(*clients)) for clients in ((POST,), STREAMS, (WEBSOCKET,))),
            *(f"{p99(self.outcomes, span):.1f}" for span in (before, self.during, after)),
            "" if self.back is None else f"{self.back:.1f}",
            "; ".join(filter(None, (self.kinds(), *self.notes))),
            self.verdict,
        ]

    def _failed(self, *clients: str) -> int:
        return sum(1 for each in self.outcomes if each.failure and each.client in clients)

    def _is_excused(self, outcome: Outcome) -> bool:
        match self.promise:
            case Promise.IDEMPOTENT:
                return outcome.begun
            case Promise.RUNNING:
                return any(outcome.began <= end and outcome.ended >= begin for begin, end in self.spans)
            case Promise.REFUSED:
                return outcome.is_refused()
            case Promise.STORED:
                return outcome.client not in TIMED
            case Promise.ALL:
                return False


def as_table(rows: Iterable[Row]) -> str:
    """All rows, for a terminal and for Markdown."""
    return markdown([_HEAD, *(row.cells() for row in rows)])


def p99(outcomes: Iterable[Outcome], span: Span) -> float:
    """In ms, of the timed requests that were answered and began in the span; 0 where there are none."""
    timed = (each for each in outcomes if each.client in TIMED and not each.failure)
    took = sorted(each.seconds for each in timed if span[0] <= each.began < span[1])
    return took[int(len(took) * 0.99)] * 1000 if took else 0.0
