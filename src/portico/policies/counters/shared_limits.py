"""Limits that all workers and gateways share, in Redis.

If a question has no answer in time, or is asked while Redis is known to be slow or down, the request is decided by the
fallback of its policy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import Context
from importlib.resources import files
from typing import Any, Final, Protocol, cast

from portico.core.caches import ages
from portico.net.redis.asking import Asking, Question, Use
from portico.net.redis.link import Link, Script, argument
from portico.policies.counters.generations import Generations

SCRIPT: Final = Script(files(__package__).joinpath("limits.lua").read_bytes())
"""The script that takes from limits; its head describes its arguments and its reply."""

_REFUSED_FOR: Final = 1.0
"""Seconds at most for which a refusal is repeated without asking, so that a limit reset in Redis soon takes effect."""
_REFUSED: Final = 50_000

_USE: Final = Use(
    logger=logging.getLogger("portico.limits"),
    script=SCRIPT,
    per_key=3,
    probe=(argument(b"portico:limit:probe"), b"".join(map(argument, (b"1000000", b"1", b".")))),
    down="Redis does not serve limits: each goes by its fallback",
    up="Redis serves limits again",
    fault="a request failed behind the limits that are shared",
)


class SharedLimits(Asking[Question]):
    """Asks Redis through a `link`; `timeout` is how long a question may wait, in seconds.

    A question gets for each limit how many requests are left, or minus the microseconds until it admits one.
    """

    def __init__(self, link: Link, timeout: float, fallbacks: dict[str, int], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(link, timeout, _USE, loop)
        self.fallbacks = fallbacks
        """Requests that were decided without Redis, by service."""
        self._refused: Generations[bytes, tuple[float, float]] = Generations(_REFUSED)
        ages(self)

    def age(self, now: float) -> None:  # noqa: ARG002 - a refusal is remembered for a second at most
        """Drop refusals."""
        self._refused.rotate()

    def refused_for(self, key: bytes, now: float) -> float:
        """Seconds for which Redis has refused a limit, if it need not be asked again yet; 0 if it has to be asked.

        `now` is a moment of the monotonic clock.
        """
        known = self._refused.get(key)
        return known[1] - now if known is not None and now < known[0] else 0.0

    def peek(self) -> SharedLimits:
        """The same, for whoever asks what is left: Redis says it, and counts nothing."""
        return _Peeked(self)

    def refuse(self, key: bytes, asked: float, wait: float) -> None:
        """Remember that a limit asked at the moment `asked` refuses for `wait` seconds from then on."""
        self._refused.put(key, (asked + min(wait, _REFUSED_FOR), asked + wait))

    def forget(self, key: bytes) -> None:
        """Ask again about a limit, whatever it said a moment ago."""
        self._refused.discard(key)


class Countable(Question, Protocol):
    """A question that may also be asked without being counted."""

    looking: Sequence[bytes]
    """The script's arguments then."""
    takes: Sequence[bool]
    """Which of its limits count it."""


class _Peeked(SharedLimits):
    """What is asked is looked at; what was paid is not."""

    def __init__(self, of: SharedLimits) -> None:
        self._of, self.is_up, self.fallbacks = of, of.is_up, {}
        self._refused = of._refused.peek()

    def ask(self, question: Question) -> None:
        if hasattr(question, "looking"):
            Context().run(self._of.ask, _Looked(cast(Countable, question)))  # others' questions go with it


class _Looked:
    """A question that takes nothing: the script says what is there, of which it would take one."""

    __slots__ = ("arguments", "keys", "question")

    def __init__(self, question: Countable) -> None:
        self.question = question
        self.keys, self.arguments = question.keys, [*question.looking]

    def answered(self, replies: list[Any], clock: float) -> None:
        pairs = zip(replies, self.question.takes, strict=True)
        self.question.answered([left - takes if left > 0 else left for left, takes in pairs], clock)

    def unanswered(self) -> None:
        self.question.unanswered()

    def faulted(self) -> None:
        self.question.faulted()
