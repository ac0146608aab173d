"""Limits that all workers and gateways share, in Redis: the questions of one event loop iteration go in one call.

A question waits `timeout` seconds at most. If it has no answer by then, or is asked while Redis is known to be slow or
down, the request is decided by the fallback of its policy. When that lasts, no request waits for Redis again until a
probe was answered in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from portico.core.caches import ages
from portico.core.faults import FAULTS, contain
from portico.core.tasks import endless
from portico.net.redis.connection import reason
from portico.policies.counters.generations import Generations
from portico.policies.counters.redis_link import Link, argument

logger: Final = logging.getLogger("portico.limits")

_MOST_IN_A_CALL: Final = 200
"""Questions in one run of the script: Redis does nothing else meanwhile."""
_REFUSED_FOR: Final = 1.0
"""Seconds at most for which a refusal is repeated without asking, so that a limit reset in Redis soon takes effect."""
_REFUSED: Final = 50_000
_LATE_FOR: Final = 0.1
"""Seconds, or five times the timeout, for which every answer is late before Redis is no longer asked: on a busy machine
a single stall is common, and Redis counts what it is asked, however late."""
_PAUSES: Final = (0.05, 2.0)
"""Seconds between probes: the first and the longest pause; it doubles each time."""
_STEADY: Final = 10.0
"""Seconds of service after which the first pause is the short one again."""
_CONNECT_TIMEOUT: Final = 2.0
_GIVEN_UP: Final = 2.0
"""Seconds of silence after which a connection is replaced: the peer may be gone without closing it."""
_LAST_QUESTION: Final = 5.0
"""Seconds without a question after which no exchange uses a configuration any more that was replaced."""
_FAULT: Final = "a request failed behind the limits that are shared"
_PROBE: Final = [argument(b"portico:limit:probe")], [b"".join(map(argument, (b"1000000", b"1", b".")))]


class Question(Protocol):
    """What one request asks of its limits."""

    keys: list[bytes]
    """The names of its limits in Redis, as bulk strings."""
    arguments: list[bytes]
    """The script's arguments for each, as bulk strings, the three of one joined."""

    def answered(self, left: list[int], clock: float) -> None:
        """For each limit how many requests are left, or minus the microseconds until it admits one.

        `clock` is Redis's time, in seconds since the epoch.
        """

    def unanswered(self) -> None:
        """Redis does not answer, or not in time."""

    def faulted(self) -> None:
        """Either of these raised an unexpected error: the request ends, and the others go on."""


class _Call:
    """Questions that were sent together."""

    __slots__ = ("due", "is_excused", "is_over", "questions")

    def __init__(self, questions: list[Question], due: float) -> None:
        self.questions = questions
        self.due = due
        self.is_excused = self.is_over = False


class SharedLimits:
    """Asks Redis through a `link`; `timeout` is how long a question may wait, in seconds."""

    def __init__(self, link: Link, timeout: float, fallbacks: dict[str, int], loop: asyncio.AbstractEventLoop) -> None:
        self.timeout = timeout
        self.is_up = False
        """Whether Redis answers in time, as far as is known."""
        self.fallbacks = fallbacks
        """Requests that were decided without Redis, by service."""
        self._link = link
        self._loop = loop
        self._gathered: list[Question] = []
        self._calls: deque[_Call] = deque()
        self._watching = False
        self._asked = loop.time()
        """When it was asked last."""
        self._refused: Generations[bytes, tuple[float, float]] = Generations(_REFUSED)
        self._silent_since: float | None = None
        self._late_since: float | None = None
        """When the first call was sent of those, in a row, that were not answered in time."""
        self._stirred = asyncio.Event()
        """Set when there is a reason to check Redis at once."""
        self._tried = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        link.lost = self._lost
        ages(self)

    def age(self, now: float) -> None:  # noqa: ARG002 - a refusal is remembered for a second at most
        """Drop refusals."""
        self._refused.rotate()

    # ---- sending questions

    def ask(self, question: Question) -> None:
        """Have it answered, with all others of this iteration of the loop; only while `is_up`."""
        if not self._gathered:
            self._loop.call_soon(self._send)
        self._gathered.append(question)

    def refused_for(self, key: bytes, now: float) -> float:
        """Seconds for which Redis has refused a limit, if it need not be asked again yet; 0 if it has to be asked.

        `now` is a moment of the monotonic clock.
        """
        known = self._refused.get(key)
        return known[1] - now if known is not None and now < known[0] else 0.0

    def refuse(self, key: bytes, asked: float, wait: float) -> None:
        """Remember that a limit asked at the moment `asked` refuses for `wait` seconds from then on."""
        self._refused.put(key, (asked + min(wait, _REFUSED_FOR), asked + wait))

    def _send(self) -> None:
        gathered, self._gathered = self._gathered, []
        for questions in self._link.parts(gathered):
            for start in range(0, len(questions), _MOST_IN_A_CALL):
                self._call(questions[start : start + _MOST_IN_A_CALL])

    def _call(self, questions: list[Question]) -> None:
        if not self.is_up:  # since they asked
            _go_on_without(questions)
            return
        self._asked = now = self._loop.time()
        call = _Call(questions, now + self.timeout)
        self._calls.append(call)
        keys = [key for question in questions for key in question.keys]
        arguments = [each for question in questions for each in question.arguments]
        try:
            self._link.run(keys, arguments, lambda reply: self._answered(call, reply))
        except FAULTS:
            logger.exception("Redis could not be asked")
            self._link.close()
            self._fail("it could not be asked")
        self._watch()

    def _answered(self, call: _Call, reply: list[int] | Exception) -> None:
        if call.is_over:
            self._received()
            return
        if isinstance(reply, Exception) and self._link.is_divided:
            self._give_up(call)
            return
        if isinstance(reply, Exception):
            self._link.close()  # another server may have taken over: the next connection finds it
            self._fail(reason(reply))
            return
        clock = reply[0] / 1e6
        self._late_since = None
        self._calls.remove(call)  # mostly the first: only one that was sent again is answered after later ones
        start = 1
        for question in call.questions:
            end = start + len(question.keys)
            try:
                question.answered(reply[start:end], clock)
            except FAULTS:
                contain(question, _FAULT)
            start = end

    # ---- late answers

    def _watch(self) -> None:
        """Check the oldest call when it is due."""
        if self._calls and not self._watching:
            self._watching = True
            self._after_reading(self._calls[0].due, self._look)

    def _look(self) -> None:
        self._watching = False
        if self._calls:
            call, now = self._calls[0], self._loop.time()
            if now - call.due > self.timeout / 2 and not call.is_excused:
                call.is_excused = True  # the worker itself was busy: perhaps the question has only just been sent
                call.due = now + self.timeout
            if now >= call.due:
                self._give_up_on(call, now)
            self._watch()

    def _give_up_on(self, call: _Call, now: float) -> None:
        """Its questions go on without an answer; so do all others, if none came in time lately."""
        sent = call.due - self.timeout
        if self._late_since is None:
            self._late_since = sent
        if now - self._late_since >= max(_LATE_FOR, 5 * self.timeout) and not self._link.is_divided:
            self._fail(f"no answer within {self.timeout * 1000:g} ms")
            return
        self._give_up(call)

    def _give_up(self, call: _Call) -> None:
        self._calls.remove(call)
        call.is_over = True
        _go_on_without(call.questions)

    def _after_reading(self, when: float, callback: Callable[[], object]) -> None:
        """Call back at a time of the loop; what has arrived by then is read first, however late the loop is.

        Timers run before the loop reads: of the next two iterations, one begins with reading.
        """
        self._loop.call_at(when, self._loop.call_soon, self._loop.call_soon, callback)

    def _lost(self, error: Exception) -> None:
        self._silent_since = None
        self._fail(f"the connection broke: {reason(error)}")

    def _fail(self, problem: str) -> None:
        """Stop asking until a probe is answered."""
        self._stirred.set()
        if not self.is_up:
            return
        logger.warning("Redis does not serve limits: each goes by its fallback", extra={"reason": problem})
        self._release()

    def _release(self) -> None:
        """Let all pending questions go on without an answer."""
        self.is_up = False
        self._late_since = None
        calls, self._calls = self._calls, deque()
        gathered, self._gathered = self._gathered, []
        if calls and self._link.is_open:
            self._silent_since = time.monotonic()
        for call in calls:
            call.is_over = True
        for questions in (*(call.questions for call in calls), gathered):
            _go_on_without(questions)

    def _received(self) -> None:
        """Something was received, if late."""
        self._silent_since = None
        self._stirred.set()

    # ---- reconnecting

    async def start(self) -> None:
        """Connect, and keep the connection up from now on; does not wait long for the first."""
        self._tasks = [endless(work, "the connection to Redis") for work in (self._tend(), *self._link.work())]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                await self._tried.wait()

    def retire(self) -> None:
        """Close once nobody has asked for a while: exchanges go by the snapshot that they began with."""
        self._asked = self._loop.time()
        self._loop.call_later(_LAST_QUESTION, self._close_unasked)

    def _close_unasked(self) -> None:
        if self._calls or self._gathered or self._loop.time() - self._asked < _LAST_QUESTION:
            self._loop.call_later(_LAST_QUESTION, self._close_unasked)
        else:
            self.close()

    def close(self) -> None:
        """Close the connection to Redis."""
        for task in self._tasks:
            task.cancel()
        self._link.close()
        self._release()

    async def _tend(self) -> None:
        """While Redis serves, wait until it does not; while it does not, probe it with backoff."""
        pause, longest = _PAUSES
        is_reported = False
        while True:
            self._stirred.clear()
            try:
                problem = await self._revive()
            except Exception as error:
                logger.exception("Redis could not be tried")
                problem = repr(error)
            if not problem:
                self.is_up = True
                if is_reported:
                    logger.info("Redis serves limits again")
                is_reported = True
                since = time.monotonic()
                self._tried.set()
                while self.is_up:
                    await self._stirred.wait()
                    self._stirred.clear()
                if time.monotonic() - since > _STEADY:
                    pause = _PAUSES[0]
            elif not is_reported:
                logger.warning("Redis does not serve limits: each goes by its fallback", extra={"reason": problem})
                is_reported = True
            self._tried.set()
            await self._back_off(pause)
            pause = min(2 * pause, longest)

    async def _back_off(self, pause: float) -> None:
        """The first pause ends with the first sign of life; later ones do not, so an unstable server does not flap."""
        if pause > _PAUSES[0]:
            await asyncio.sleep(pause)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._stirred.wait()

    async def _revive(self) -> str:
        """Connect if need be, and send a probe: what is wrong with the answer, or nothing."""
        if self._silent_since is not None:
            if time.monotonic() - self._silent_since < _GIVEN_UP:
                return "no answer"
            self._silent_since = None
            self._link.close()
        try:
            if not self._link.is_open:
                async with asyncio.timeout(_CONNECT_TIMEOUT):
                    await self._link.open()
        except Exception as error:  # OSError, TimeoutError, and what redis-py raises
            return f"no connection: {reason(error)}"
        return "" if self._link.is_divided else await self._probe()

    async def _probe(self) -> str:
        answer: asyncio.Future[str] = self._loop.create_future()

        def receive(reply: list[int] | Exception) -> None:
            self._received()
            if isinstance(reply, Exception):
                self._link.close()
            if not answer.done():
                answer.set_result(reason(reply) if isinstance(reply, Exception) else "")

        def missed() -> None:
            if not answer.done():
                answer.set_result(f"no answer within {self.timeout * 1000:g} ms")

        self._silent_since = time.monotonic()
        self._link.run(*_PROBE, receive)
        self._after_reading(self._loop.time() + self.timeout, missed)
        return await answer


def _go_on_without(questions: Iterable[Question]) -> None:
    """Let each go on without an answer."""
    for question in questions:
        try:
            question.unanswered()
        except FAULTS:
            contain(question, _FAULT)
