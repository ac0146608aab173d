"""A case: all that a run depends on, as plain data that can be printed, shrunk, kept and run again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from itertools import cycle
from typing import Any, Final

LARGEST_READ: Final = 65536


@dataclass
class Answer:
    """How a service answers one request: bytes as text in which each character is one byte, `@@@@` a number of its own.

    `early` sends it when the request's head is there, otherwise its end is waited for; `end` is what comes behind it:
    `keep` nothing, `close` the end of the connection, `reset` a break.
    """

    raw: str
    early: bool = False
    end: str = "keep"


@dataclass
class Case:
    """What clients send, how services answer, and in which order it all happens.

    Clients' bytes are text as an answer's. `sizes` are the pieces in which both sides' bytes arrive, in turn. The
    letters of `schedule` are the keys of `simulation.ACTIONS`; what it leaves undone happens behind it. `dials` are the
    fates of connections to services, in turn, keys of `simulation.FATES`. With `hangs_up` clients end their side of the
    connection right behind their last byte. `fault` is the number of the call of the gateway's that raises an exception
    which nobody foresaw, 0 for none. `policies` are those of users, in the words of `hooked`.
    """

    clients: list[str]
    answers: list[Answer] = field(default_factory=list)
    sizes: list[int] = field(default_factory=lambda: [1 << 20])
    schedule: str = ""
    dials: str = "o"
    trusted: bool = False
    hangs_up: bool = False
    exact: bool = False
    limits: dict[str, int] = field(default_factory=dict)
    fault: int = 0
    policies: list[str] = field(default_factory=list)

    def pieces(self, data: bytes) -> list[bytes]:
        """The data cut by `sizes`, into a few hundred pieces at most unless `exact`, none larger than a read."""
        least = 1 if self.exact else len(data) // 400 + 1
        sizes = cycle(min(max(size, least), LARGEST_READ) for size in self.sizes or [1 << 20])
        found, start = [], 0
        while start < len(data):
            end = start + next(sizes)
            found.append(data[start:end])
            start = end
        return found

    def dump(self) -> str:
        """The case as one line of JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def load(tree: dict[str, Any]) -> Case:
        """The case that was dumped; what it does not name has its usual value."""
        known = {key: value for key, value in tree.items() if key in Case.__dataclass_fields__}
        answers = [Answer(**answer) for answer in known.pop("answers", [])]
        return Case(answers=answers, **known)
