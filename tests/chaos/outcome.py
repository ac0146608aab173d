"""What came of one thing that a client tried, as the load reports it for the verdict."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

LARGE = "large"
TIMED = ("get", "fresh", LARGE)
"""Requests whose latency is looked at."""
STREAMS = ("download", "events")
IDEMPOTENT = (*TIMED, *STREAMS)
POST = "post"
WEBSOCKET = "websocket"
HEALTH = "health"


class Failure(Exception):  # noqa: N818 - it reads as what happened
    """The client got something else than it asked for; the text is its kind."""


@dataclass
class Outcome:
    """One request, or one message and its echo. `began` is of the clock that all processes share.

    `begun` says that a response had come from the service, at least its head; `failure` is empty where all was well.
    What has to be sent at a certain moment began then, even if it was sent `late` seconds after.
    """

    client: str
    began: float
    seconds: float = 0.0
    begun: bool = False
    failure: str = ""
    instance: str = ""
    retry_after: str = ""
    late: float = 0.0

    @property
    def ended(self) -> float:
        return self.began + self.seconds

    def extend_to(self, moment: float) -> None:
        """It began no later than this: when a WebSocket broke in a pause, only the next message shows it."""
        self.seconds += self.began - moment
        self.began = moment

    def is_refused(self) -> bool:
        """Whether it was answered, but by saying no for now."""
        return self.failure.startswith(("429", "503"))

    def is_broken_off(self) -> bool:
        """Whether nothing more can be asked on its connection: a failure other than a whole answer."""
        return bool(self.failure) and not self.failure[0].isdecimal()


class Report:
    """All outcomes of a load."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    @contextmanager
    def attempt(self, client: str, due: float | None = None) -> Iterator[Outcome]:
        """Notes what becomes of the block; a failure ends the block, not its caller."""
        now = time.monotonic()
        outcome = Outcome(client, now) if due is None else Outcome(client, due, late=now - due)
        try:
            yield outcome
        except (Failure, OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            outcome.failure = _kind(error, outcome.begun)
        outcome.seconds = time.monotonic() - outcome.began
        self.outcomes.append(outcome)

    def write(self, path: Path) -> None:
        """One line of JSON each."""
        path.write_text("".join(json.dumps(asdict(each)) + "\n" for each in self.outcomes))


def read(path: Path) -> list[Outcome]:
    """What `Report.write` wrote."""
    return [Outcome(**json.loads(line)) for line in path.read_text().splitlines()]


def _kind(error: Exception, begun: bool) -> str:
    match error:
        case Failure():
            return str(error)
        case TimeoutError():
            return "timeout"
        case ConnectionRefusedError():
            return "refused"
        case ConnectionError():
            return "cut short" if begun else "reset"
        case EOFError():
            return "cut short" if begun else "closed unanswered"
        case ValueError() | asyncio.LimitOverrunError():
            return "malformed"
    return f"{type(error).__name__}: {error}"
