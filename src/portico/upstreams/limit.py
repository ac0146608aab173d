"""How many exchanges a service has under way at once: a number of places, and a queue for them."""

from __future__ import annotations

from typing import Protocol

from portico.core.faults import FAULTS, contain


class Waiting(Protocol):
    """Who waits for a place."""

    def admitted(self) -> None:
        """It has one now, and gives it back with `Limit.leave`."""

    def faulted(self) -> None:
        """`admitted` raised what nobody foresaw: the exchange ends, and the permit is given back."""


class Limit:
    """`most` places, and `room` for those who wait, `timeout` seconds each.

    Who enters has to leave, whatever became of it. Those who wait come in the order of their coming.
    """

    __slots__ = ("_admitting", "most", "timeout", "room", "running", "waiting")

    def __init__(self, most: int, room: int = 0, timeout: float = 1.0) -> None:
        self.most = most
        self.room = room
        self.timeout = timeout
        self.running = 0
        self.waiting: dict[Waiting, None] = {}
        self._admitting = False

    def enter(self) -> bool:
        """Whether there was a place; if so it is taken."""
        if self.running >= self.most or self.waiting:
            return False
        self.running += 1
        return True

    def wait(self, who: Waiting) -> bool:
        """Whether there was room to wait; if so `who` will be admitted, unless it is forgotten before."""
        if len(self.waiting) >= self.room:
            return False
        self.waiting[who] = None
        return True

    def forget(self, who: Waiting) -> None:
        """`who` waits no more."""
        self.waiting.pop(who, None)

    def leave(self, asked: float | None = None, seconds: float = 0.0, answered: bool = True) -> None:  # noqa: ARG002
        """Give a place back. The service was asked at this moment (None: it was not) and took, or had, these seconds.

        `answered` tells whether it did what it was asked.
        """
        self.running -= 1
        self._admit()

    def resize(self, most: int) -> None:
        """Take another number; who is in stays."""
        self.most = most
        self._admit()

    def _admit(self) -> None:
        """Let in who waits. Who comes in may leave at once, by way of this method: that must not go on for ever."""
        if self._admitting:
            return
        self._admitting = True
        try:
            while self.waiting and self.running < self.most:
                who = next(iter(self.waiting))
                del self.waiting[who]
                self.running += 1
                try:
                    who.admitted()
                except FAULTS:
                    contain(who)
        finally:
            self._admitting = False
