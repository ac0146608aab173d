"""The far ends of connections: services that answer as a case says, clients that send what it says."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .case import Answer
from .loop import Line
from .readers import Message, read_requests

if TYPE_CHECKING:
    from .simulation import Simulation


class Service:
    """The far end of one connection to an instance: reads requests, answers as the case says."""

    def __init__(self, simulation: Simulation, line: Line, name: str) -> None:
        self.simulation = simulation
        self.line = line
        self.name = name
        self.pieces: deque[bytes | None] = deque()
        self.answered = self.noticed = 0
        self.ended = False

    @property
    def requests(self) -> list[Message]:
        return read_requests(bytes(self.line.received))

    def look(self) -> None:
        """Put answers to what has been asked in line."""
        if self.ended or self.line.lost or len(self.line.received) == self.noticed:
            return
        self.noticed = len(self.line.received)
        for request in self.requests[self.answered :]:
            answer = self.simulation.answer_of_turn()
            if answer is None or not (request.complete or answer.early):
                return
            self._answer(answer)
            if self.ended:
                return

    def say(self) -> None:
        """Send the next piece."""
        piece = self.pieces.popleft()
        if piece is None:
            self.line.reset()
        else:
            self.line.say(piece or None)

    def _answer(self, answer: Answer) -> None:
        simulation = self.simulation
        simulation.answers_given += 1
        self.answered += 1
        raw = answer.raw.encode("latin-1").replace(b"@@@@", b"%04d" % (simulation.answers_given % 10_000))
        self.pieces += simulation.case.pieces(raw)
        if answer.end != "keep":
            self.ended = True
            self.pieces.append(b"" if answer.end == "close" else None)


class ClientEnd:
    """The far end of one client's connection."""

    def __init__(self, line: Line, pieces: list[bytes | None]) -> None:
        self.line = line
        self.pieces: deque[bytes | None] = deque(pieces)
        self.deaf = False

    def say(self) -> None:
        """Send the next piece."""
        self.line.say(self.pieces.popleft())
