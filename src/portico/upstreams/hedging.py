"""Hedging: a slow first attempt gets a second one, within a budget (Dean, Barroso, "The Tail at Scale", 2013)."""

from __future__ import annotations

from dataclasses import dataclass, field

from portico.upstreams.budget import Budget


@dataclass(slots=True)
class Hedging:
    """One service's: `after` seconds without a response's head, for `share` of the requests at most.

    `sent` and `won` count by service.
    """

    service: str
    after: float
    share: float
    sent: dict[str, int]
    won: dict[str, int]
    budget: Budget = field(default_factory=Budget)

    def begin(self, *, is_free: bool = False) -> bool:
        """Whether one more hedge is within the budget, or free; if so it is counted."""
        if not is_free and not self.budget.spend(self.share):
            return False
        self.sent[self.service] = self.sent.get(self.service, 0) + 1
        return True

    def note_won(self) -> None:
        """The hedge was the first to answer."""
        self.won[self.service] = self.won.get(self.service, 0) + 1
