"""A concurrency limit for a service: a number of permits, and a queue for them."""

from __future__ import annotations

from typing import Protocol

from portico.core.faults import FAULTS, contain


class Waiting(Protocol):
    """A caller that waits for a permit."""

    def admitted(self) -> None:
        """It has a permit now, and gives it back with `Limit.leave`."""

    def faulted(self) -> None:
        """`admitted` raised unexpectedly: the exchange ends, and the permit is given back."""


class Limit:
    """`most` permits, and a queue with `queue_size` for callers that wait, `timeout` seconds each.

    A caller that enters has to leave, whatever its outcome. Waiting callers are admitted in the order of arrival.
    """

    __slots__ = ("_admitting", "most", "timeout", "queue_size", "running", "waiting")

    def __init__(self, most: int, queue_size: int = 0, timeout: float = 1.0) -> None:
        self.most = most
        self.queue_size = queue_size
        self.timeout = timeout
        self.running = 0
        self.waiting: dict[Waiting, None] = {}
        self._admitting = False

    def enter(self) -> bool:
        """Whether there was a permit; if so it is taken."""
        if self.running >= self.most or self.waiting:
            return False
        self.running += 1
        return True

    def enter_anyway(self) -> None:
        """Take a permit, be there one or not."""
        self.running += 1

    def wait(self, caller: Waiting) -> bool:
        """Whether there was room to wait; if so `caller` will be admitted, unless it is forgotten before."""
        if len(self.waiting) >= self.queue_size:
            return False
        self.waiting[caller] = None
        return True

    def forget(self, caller: Waiting) -> None:
        """Remove `caller` from the queue."""
        self.waiting.pop(caller, None)

    def leave(self, sent_at: float | None = None, seconds: float = 0.0, answered: bool = True) -> None:  # noqa: ARG002
        """Give a permit back. `sent_at` is when the request was sent (None: it was not), `seconds` its duration so far.

        `answered` is whether the service answered it.
        """
        self.running -= 1
        self._admit()

    def peek(self) -> Limit:
        """As many permits and places as there are now, for whoever asks whether there is one: none is taken here."""
        peeked = Limit(self.most, self.queue_size - len(self.waiting), self.timeout)
        peeked.running = max(self.running, self.most) if self.waiting else self.running
        return peeked

    def resize(self, most: int) -> None:
        """Change the number of permits; those granted stay."""
        self.most = most
        self._admit()

    def _admit(self) -> None:
        """Admit waiting callers. One may leave at once, which calls this again: it must not recurse without end."""
        if self._admitting:
            return
        self._admitting = True
        try:
            while self.waiting and self.running < self.most:
                caller = next(iter(self.waiting))
                del self.waiting[caller]
                self.running += 1
                try:
                    caller.admitted()
                except FAULTS:
                    contain(caller)
        finally:
            self._admitting = False
