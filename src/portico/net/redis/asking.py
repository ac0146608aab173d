"""Asks Redis what requests wait for: the questions of one event loop iteration go in one call.

A question waits `timeout` seconds at most. If it has no answer by then, or is asked while Redis is known to be slow or
down, its request goes on without. When that lasts, no request waits for Redis again until a probe was answered in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from logging import Logger
from typing import Any, Final, Generic, Protocol, TypeVar

from portico.core.faults import FAULTS, contain
from portico.core.tasks import endless
from portico.net.redis.connection import reason
from portico.net.redis.link import Link, Script

_MOST_IN_A_CALL: Final = 200
"""Questions in one run of the script: Redis does nothing else meanwhile."""
_LATE_FOR: Final = 0.1
"""Seconds, or five times the timeout, for which every answer is late before Redis is no longer asked: on a busy machine
a single stall is common, and Redis processes what it is asked, however late."""
_FIRST_PAUSE: Final = 0.05
"""Seconds between the first two probes; the pause doubles each time."""
_STEADY: Final = 10.0
"""Seconds of service after which the first pause is the short one again."""
_LAST_QUESTION: Final = 5.0
"""Seconds without a question after which no exchange uses a configuration any more that was replaced."""


class Question(Protocol):
    """What one request asks."""

    keys: list[bytes]
    """As bulk strings; in a Cluster all are of one slot."""
    arguments: list[bytes]
    """The script's arguments for each key, as bulk strings, joined to one."""

    def answered(self, replies: list[Any], clock: float) -> None:
        """What the script says of each key. `clock` is Redis's time, in seconds since the epoch."""

    def unanswered(self) -> None:
        """Redis does not answer, or not in time."""

    def faulted(self) -> None:
        """Either of these raised an unexpected error: the request ends, and the others go on."""


Q = TypeVar("Q", bound=Question)


@dataclass(frozen=True, slots=True)
class Use:
    """What is asked, and how.

    `script` returns its time in microseconds, then something for each key, for which it takes `per_key` arguments.
    `probe` is a key with its arguments that shows that it runs. `down` and `up` are what events say, `fault` is what is
    said of a request that failed on its answer. Redis is probed every `longest_pause` seconds at least; a connection is
    replaced that could not be made or is silent for `given_up` seconds: the peer may be gone without closing it.
    """

    logger: Logger
    script: Script
    per_key: int
    probe: tuple[bytes, bytes]
    down: str
    up: str
    fault: str
    longest_pause: float = 2.0
    given_up: float = 2.0


class _Call(Generic[Q]):
    """Questions that were sent together."""

    __slots__ = ("due", "is_excused", "is_over", "questions")

    def __init__(self, questions: list[Q], due: float) -> None:
        self.questions = questions
        self.due = due
        self.is_excused = self.is_over = False


class Asking(Generic[Q]):
    """Asks Redis through a `link`; `timeout` is how long a question may wait, in seconds."""

    def __init__(self, link: Link, timeout: float, use: Use, loop: asyncio.AbstractEventLoop) -> None:
        self.timeout = timeout
        self.is_up = False
        """Whether Redis answers in time, as far as is known."""
        self.ahead = 0.0
        """Seconds from the monotonic clock to that of Redis, by its last answer; 0 before the first."""
        self.link = link
        self._use = use
        self._loop = loop
        self._gathered: list[Q] = []
        self._calls: deque[_Call[Q]] = deque()
        self._watching = False
        self._asked = loop.time()
        """When it was asked last."""
        self._silent_since: float | None = None
        self._late_since: float | None = None
        """When the first call was sent of those, in a row, that were not answered in time."""
        self._stirred = asyncio.Event()
        """Set when there is a reason to check Redis at once."""
        self._tried = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        link.lost = self._lost

    # ---- sending questions

    def ask(self, question: Q) -> None:
        """Have it answered, with all others of this iteration of the loop; only while `is_up`."""
        if not self._gathered:
            self._loop.call_soon(self._send)
        self._gathered.append(question)

    def _send(self) -> None:
        gathered, self._gathered = self._gathered, []
        for questions in self.link.parts(gathered):
            for start in range(0, len(questions), _MOST_IN_A_CALL):
                self._call(questions[start : start + _MOST_IN_A_CALL])

    def _call(self, questions: list[Q]) -> None:
        if not self.is_up:  # since they asked
            self._go_on_without(questions)
            return
        self._asked = now = self._loop.time()
        call = _Call(questions, now + self.timeout)
        self._calls.append(call)
        keys = [key for question in questions for key in question.keys]
        arguments = [each for question in questions for each in question.arguments]
        try:
            count = self._use.per_key * len(keys)
            self.link.run(self._use.script, keys, arguments, count, lambda reply: self._answered(call, reply))
        except FAULTS:
            self._use.logger.exception("Redis could not be asked")
            self.link.close()
            self._fail("it could not be asked")
        self._watch()

    def _answered(self, call: _Call[Q], reply: list[Any] | Exception) -> None:
        if call.is_over:
            self._received()
            return
        if isinstance(reply, Exception) and self.link.is_divided:
            self._give_up(call)
            return
        if isinstance(reply, Exception):
            self.link.close()  # another server may have taken over: the next connection finds it
            self._fail(reason(reply))
            return
        clock = self._note_clock(reply)
        self._late_since = None
        self._calls.remove(call)  # mostly the first: only one that was sent again is answered after later ones
        start = 1
        for question in call.questions:
            end = start + len(question.keys)
            try:
                question.answered(reply[start:end], clock)
            except FAULTS:
                contain(question, self._use.fault)
            start = end

    def _note_clock(self, reply: list[Any]) -> float:
        clock: float = reply[0] / 1e6
        self.ahead = clock - time.monotonic()
        return clock

    # ---- late answers

    def _watch(self) -> None:
        """Check the oldest call when it is due."""
        if self._calls and not self._watching:
            self._watching = True
            self.after_reading(self._calls[0].due, self._look)

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

    def _give_up_on(self, call: _Call[Q], now: float) -> None:
        """Its questions go on without an answer; so do all others, if none came in time lately."""
        sent = call.due - self.timeout
        if self._late_since is None:
            self._late_since = sent
        if now - self._late_since >= max(_LATE_FOR, 5 * self.timeout) and not self.link.is_divided:
            self._fail(f"no answer within {self.timeout * 1000:g} ms")
            return
        self._give_up(call)

    def _give_up(self, call: _Call[Q]) -> None:
        self._calls.remove(call)
        call.is_over = True
        self._go_on_without(call.questions)

    def after_reading(self, when: float, callback: Callable[[], object]) -> None:
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
        self._report(problem)
        self._release()

    def _release(self) -> None:
        """Let all pending questions go on without an answer."""
        self.is_up = False
        self._late_since = None
        calls, self._calls = self._calls, deque()
        gathered, self._gathered = self._gathered, []
        if calls and self.link.is_open:
            self._silent_since = time.monotonic()
        for call in calls:
            call.is_over = True
        for questions in (*(call.questions for call in calls), gathered):
            self._go_on_without(questions)

    def _go_on_without(self, questions: Iterable[Q]) -> None:
        """Let each go on without an answer."""
        for question in questions:
            try:
                question.unanswered()
            except FAULTS:
                contain(question, self._use.fault)

    def _report(self, problem: str) -> None:
        self._use.logger.warning(self._use.down, extra={"reason": problem})

    def _received(self) -> None:
        """Something was received, if late."""
        self._silent_since = None
        self._stirred.set()

    # ---- reconnecting

    async def start(self) -> None:
        """Connect, and keep the connection up from now on; does not wait long for the first."""
        self._tasks = [endless(work, "the connection to Redis") for work in (self._tend(), *self.link.work())]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._use.given_up):
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
        self.link.close()
        self._release()

    async def _tend(self) -> None:
        """While Redis serves, wait until it does not; while it does not, probe it with backoff."""
        pause, longest = _FIRST_PAUSE, self._use.longest_pause
        is_reported = False
        while True:
            self._stirred.clear()
            try:
                problem = await self._revive()
            except Exception as error:
                self._use.logger.exception("Redis could not be tried")
                problem = repr(error)
            if not problem:
                self.is_up = True
                if is_reported:
                    self._use.logger.info(self._use.up)
                is_reported = True
                since = time.monotonic()
                self._tried.set()
                while self.is_up:
                    await self._stirred.wait()
                    self._stirred.clear()
                if time.monotonic() - since > _STEADY:
                    pause = _FIRST_PAUSE
            elif not is_reported:
                self._report(problem)
                is_reported = True
            self._tried.set()
            await self._back_off(pause)
            pause = min(2 * pause, longest)

    async def _back_off(self, pause: float) -> None:
        """The first pause ends with the first sign of life; later ones do not, so an unstable server does not flap."""
        if pause > _FIRST_PAUSE:
            await asyncio.sleep(pause)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._stirred.wait()

    async def _revive(self) -> str:
        """Connect if need be, and send a probe: what is wrong with the answer, or nothing."""
        if self._silent_since is not None:
            if time.monotonic() - self._silent_since < self._use.given_up:
                return "no answer"
            self._silent_since = None
            self.link.close()
        try:
            if not self.link.is_open:
                async with asyncio.timeout(self._use.given_up):
                    await self.link.open()
        except Exception as error:  # OSError, TimeoutError, and what redis-py raises
            return f"no connection: {reason(error)}"
        return "" if self.link.is_divided else await self._probe()

    async def _probe(self) -> str:
        answer: asyncio.Future[str] = self._loop.create_future()

        def receive(reply: list[Any] | Exception) -> None:
            self._received()
            if isinstance(reply, Exception):
                self.link.close()
            else:
                self._note_clock(reply)
            if not answer.done():
                answer.set_result(reason(reply) if isinstance(reply, Exception) else "")

        def missed() -> None:
            if not answer.done():
                answer.set_result(f"no answer within {self.timeout * 1000:g} ms")

        self._silent_since = time.monotonic()
        key, arguments = self._use.probe
        self.link.run(self._use.script, [key], [arguments], self._use.per_key, receive)
        self.after_reading(self._loop.time() + self.timeout, missed)
        return await answer
