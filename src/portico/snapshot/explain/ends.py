"""The two ends of a request that nobody has sent: its client, and the instance that would get it.

Both note what they would have been sent, and send nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import copy
from typing import Any, Final

from portico.core.exchange import Client, Receiver, Sink
from portico.upstreams.instance import Instance
from portico.wire.http1.client import UpstreamConnection

_HEAD_END: Final = b"\r\n\r\n"
_MOST_OF_BODY: Final = 2048
"""Bytes of an answer's body that are noted."""


class Outcome:
    """What came of a request, as soon as something has: a head for an instance, an answer, or a reason to wait."""

    def __init__(self) -> None:
        self.is_there = asyncio.Event()
        self.head: bytes | None = None
        self.instance: Instance | None = None
        """The one that would have got it."""
        self.answer: Noted | None = None
        self.waits_for_body = False

    def sent(self, head: bytes, instance: Instance) -> None:
        """An instance would have got this; only the first one counts, others are copies."""
        if self.head is None:
            self.head, self.instance = head[: head.index(_HEAD_END) + len(_HEAD_END)], instance
            self.is_there.set()

    def wait_for_body(self) -> None:
        """Something needs a body that is not there."""
        if not self.is_there.is_set():
            self.waits_for_body = True
            self.is_there.set()


class Noted:
    """A response that the gateway gave."""

    def __init__(self, status: int, lines: Sequence[bytes]) -> None:
        self.status = status
        self.lines = lines
        self.body = b""

    def add(self, data: bytes) -> None:
        """A piece of its body."""
        self.body += data[: _MOST_OF_BODY - len(self.body)]


class Idle:
    """The load of a server that has nothing to do."""

    in_flight = tunnels = 0


class ClientEnd:
    """A `Stream` without a socket: the client's side of an exchange whose request is all there, or has a body to come.

    The body is at most what is `known` of it.
    """

    receiver: Receiver

    def __init__(self, client: Client, body_limit: int, known: int, *, is_done: bool, outcome: Outcome) -> None:
        self.client = client
        self.body_limit = body_limit
        self.bytes_in = known
        self.bytes_out = 0
        self.request_done = is_done
        self.response_started = self.writing_paused = False
        self.server = Idle()
        self.trailers: Sequence[bytes] = ()
        self._outcome = outcome

    def send_interim(self, status: int, phrase: bytes, lines: list[bytes]) -> None:
        """Nothing is interim here."""

    def send_head(self, status: int, phrase: bytes, lines: list[bytes], framing: int) -> None:  # noqa: ARG002
        self.response_started = True
        self._answered(Noted(status, lines))

    def send_body(self, data: bytes) -> None:
        if self._outcome.answer is not None:
            self._outcome.answer.add(data)

    def sink(self) -> Sink | None:
        return None

    def end(self, trailers: Sequence[bytes] = ()) -> None:
        """It is over."""

    def send_whole(self, status: int, pieces: Sequence[bytes], framing: int, now: float) -> None:  # noqa: ARG002
        *head, _, content = pieces
        answer = Noted(status, b"".join(head).split(b"\r\n")[1:])
        answer.add(content)
        self._answered(answer)

    def take_back(self) -> bool:
        return False

    def abort(self, reason: str) -> None:  # noqa: ARG002
        self._outcome.is_there.set()

    def read_body(self) -> None:
        if not self.request_done:
            self._outcome.wait_for_body()

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""

    def _answered(self, answer: Noted) -> None:
        outcome = self._outcome
        if outcome.answer is None:
            outcome.answer = answer
            outcome.is_there.set()


class InstanceEnd(Instance):
    """An instance in the state of another, with one open connection, on which nothing is sent."""

    def __init__(self, of: Instance, outcome: Outcome) -> None:  # it has all of it already
        self.__dict__.update(vars(of))
        self.of = of
        self.breaker = None if of.breaker is None else of.breaker.peek()
        self.latency = copy(of.latency)
        self._outcome = outcome

    def take(self, only_once: bool) -> UpstreamConnection:  # noqa: ARG002
        connection: Any = _Connection(self, self._outcome)
        return connection  # type: ignore[no-any-return]

    async def connect(self, timeout: float) -> UpstreamConnection:  # noqa: ARG002
        return self.take(only_once=True)

    def give_back(self, connection: UpstreamConnection, now: float = 0.0) -> None:
        """There is none."""


class _Connection:
    """What an attempt has for a connection."""

    stalled = pending = paused = False
    received = remote = None
    trailers: Sequence[bytes] = ()
    receiver: Any = None

    def __init__(self, instance: Instance, outcome: Outcome) -> None:
        self._instance, self._outcome = instance, outcome

    def start(self, receiver: object, method: bytes, head: bytes, *_: object) -> None:  # noqa: ARG002
        self._outcome.sent(head, self._instance)

    start_whole = start

    def send_body(self, data: bytes) -> None:
        """Nothing is sent."""

    send_rest = send_body

    def end_body(self, trailers: Sequence[bytes] = ()) -> None:
        """Nothing is sent."""

    def close(self) -> None:
        """It was never open."""

    pause_reading = resume_reading = close
