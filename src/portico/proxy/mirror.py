"""Copies of requests that another service gets, too. Its answers are read and dropped; no exchange knows of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from portico.core.errors import UpstreamError
from portico.core.exchange import Exchange, Sink
from portico.core.faults import FAULTS, contain
from portico.core.messages import ResponseHead
from portico.proxy.attempt import Attempt
from portico.proxy.compose import edited_head
from portico.proxy.mirror_losses import Losses
from portico.proxy.routing.route import Compose, Handling
from portico.upstreams.breaker import CLOSED
from portico.upstreams.instance import Instance
from portico.upstreams.limit import Limit
from portico.wire.http1.client import UpstreamConnection

MARKER: Final = "X-Portico-Mirror"
"""The field that names the route of a copy. What has it is not copied again: a mirror may lead back here."""
_MARKER_NAME: Final = MARKER.lower().encode()

FAILED: Final = "failed"
TIMEOUT: Final = "timeout"
TOO_LARGE: Final = "too_large"
BUSY: Final = "busy"
UNAVAILABLE: Final = "unavailable"
ABORTED: Final = "aborted"
"""What may come of a copy, beside the class of an answer's status, such as `2xx`."""
_LOST: Final = frozenset({FAILED, TIMEOUT, BUSY, UNAVAILABLE})
"""Outcomes that say that the mirror does not keep up, or is not there."""

ANSWER_LIMIT: Final = 1024 * 1024
"""Bytes of an answer that are read, so that its connection can be used again; of a longer one it is closed."""
_PAUSE: Final = 1.0
"""Seconds without copies for an instance to which no connection could be opened: an attempt costs more than a copy."""
_ERRORS: Final = 500


class Room:
    """How many copies of a route's requests are under way for one service; kept from one snapshot to the next."""

    __slots__ = ("_paused", "losses", "used")

    def __init__(self) -> None:
        self.used = 0
        self.losses = Losses()
        self._paused: dict[Instance, float] = {}

    def pause(self, instance: Instance, now: float) -> None:
        """No connection to an instance could be opened."""
        self._paused[instance] = now + _PAUSE

    def paused(self, now: float) -> Sequence[Instance]:
        """The instances for which there are no copies now."""
        if self._paused:
            self._paused = {instance: until for instance, until in self._paused.items() if until > now}
        return [*self._paused]


@dataclass(frozen=True, slots=True)
class Mirror:
    """Which of a route's requests are copied for another service, and how."""

    route: str
    handling: Handling
    """The service, and how heads are composed for it."""
    share: float
    """Of all requests, 1.0 for each of them."""
    methods: frozenset[bytes]
    """Of those that are copied; empty for all."""
    max_body: int
    max_in_flight: int
    timeout: float
    """Seconds that a copy has until its answer has come."""
    drops: frozenset[bytes]
    """The fields that it does not have, in lower case."""
    room: Room
    counts: dict[tuple[str, ...], float]
    """By route, service and outcome."""

    def admits(self, exchange: Exchange, framing: int) -> bool:
        """Whether a request is copied whose body has this framing; then its room is taken until `release`."""
        request = exchange.request
        assert request is not None
        if (self.methods and request.method not in self.methods) or _MARKER_NAME in request.fields.names:
            return False
        if framing > self.max_body:
            self.count(TOO_LARGE)
            return False
        if self.room.used >= self.max_in_flight:
            self.count(BUSY)
            return False
        self.room.used += 1
        return True

    def release(self, outcome: str) -> None:
        """A copy is over, or will not be made."""
        self.room.used -= 1
        self.count(outcome)

    def count(self, outcome: str) -> None:
        """Note what came of a copy."""
        key = (self.route, self.handling.service_name, outcome)
        self.counts[key] = self.counts.get(key, 0.0) + 1.0
        if outcome in _LOST:
            self.room.losses.note(self.route, self.handling.service_name, outcome)

    def head(self, compose: Compose, exchange: Exchange, instance: Instance) -> bytes:
        """The head of a copy, composed as for the route's own service."""
        head = compose(exchange, self.handling, instance, b"")
        return edited_head(head, self.drops, (b"%b: %b" % (MARKER.encode(), self.route.encode()),))


def _is_on_trial(instance: Instance) -> bool:
    """Whether clients' requests are to find out how an instance does."""
    return instance.breaker is not None and instance.breaker.state != CLOSED


class Copy(Attempt):
    """One copy of a request whose body is all there, a `ResponseReceiver`; it is sent once, and a failure ends it.

    What comes of it is reported to no breaker and no balancer: the service may have clients of its own, who must not
    pay for a copy that was given up too soon, or that cannot be done twice.
    """

    __slots__ = (
        "answer_size",
        "chunked",
        "content",
        "deadline",
        "head",
        "is_over",
        "limit",
        "mirror",
        "status",
        "trailers",
    )

    limit: Limit | None
    """Whose permit it has."""

    def __init__(self, exchange: Exchange, mirror: Mirror, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(exchange, mirror.handling, loop)
        self.mirror = mirror
        self.limit = None
        self.is_over = False
        self.status = self.answer_size = 0

    def begin(self, compose: Compose, content: bytes, *, chunked: bool, trailers: Sequence[bytes]) -> None:
        """Choose an instance, and connect to it, while the request can still be read."""
        self.content, self.chunked, self.trailers = content, chunked, trailers
        self.deadline = time.monotonic() + self.mirror.timeout
        try:
            self._begin(compose)
        except FAULTS:
            contain(self)

    def _begin(self, compose: Compose) -> None:
        service, exchange = self.handling.service, self.exchange
        if service.limit is not None:
            if not service.limit.enter():
                self._end(BUSY)
                return
            self.limit = service.limit
        full, paused = service.full(), self.mirror.room.paused(time.monotonic())
        instance = service.choose((*full, *paused, *filter(_is_on_trial, service.available)), exchange)
        if instance is None:
            self._end(BUSY if full else UNAVAILABLE)
            return
        self.head = self.mirror.head(compose, exchange, instance)
        self.connect(instance, only_once=True)

    def time_left(self) -> float:
        return self.deadline - time.monotonic()

    def send(self, instance: Instance, connection: UpstreamConnection) -> None:  # noqa: ARG002
        """Send the head, and the whole body: what the other side does not read yet, the connection keeps."""
        self.connection = connection
        self.sent_at = now = time.monotonic()
        method = self.exchange.method.encode()
        connection.start(self, method, self.head, self.chunked, self.handling.timeouts, now, self.deadline)
        if self.content:
            connection.send_body(self.content)
        connection.end_body(self.trailers)
        self.head = self.content = b""

    # ---- ends

    def broke(self) -> None:
        self._end(FAILED)

    def _end(self, outcome: str) -> None:
        if self.is_over:
            return
        self.is_over = True
        self.head = self.content = b""
        limit, self.limit = self.limit, None
        try:
            self.leave()
            if limit is not None:
                limit.leave()
        finally:
            self.mirror.release(outcome)

    def _outcome(self) -> str:
        return f"{self.status // 100}xx"

    # ---- called by the service's side: ResponseReceiver

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:  # noqa: ARG002
        """Decline: step by step is simpler."""
        return False

    def response_interim(self, head: ResponseHead) -> None:
        """Nobody gets it."""

    def response_started(self, head: ResponseHead) -> None:
        """Of the response, its status is all that matters."""
        self.status = head.status
        if head.framing > ANSWER_LIMIT:
            self._cut()

    def response_body(self, data: bytes) -> None:
        self.answer_size += len(data)
        if self.answer_size > ANSWER_LIMIT:
            self._cut()

    def _cut(self) -> None:
        """Read no more of a long answer."""
        self.drop()
        self._end(self._outcome())

    def response_sink(self) -> Sink | None:
        return None

    def response_ended(self) -> None:
        """Free the connection, unless the service has answered early and may never read what was sent."""
        connection, self.connection = self.connection, None
        instance = self.leave()
        if connection is None or instance is None:
            return
        if connection.is_reusable() and not connection.transport.get_write_buffer_size():
            instance.give_back(connection)
            if self.status >= _ERRORS:
                instance.doubt(connection)
        else:
            connection.close()
        self._end(self._outcome())

    def upstream_failed(self, error: UpstreamError) -> None:
        """No whole answer will come; no other attempt is made."""
        if self.instance is not None and not self.sent_at:
            self.instance.reachability.failed(error.cause)
            self.mirror.room.pause(self.instance, time.monotonic())
        self.connection = None
        self._end(TIMEOUT if error.phase.endswith("timeout") else FAILED)

    def upstream_silent(self) -> None:
        """It is waited for."""

    def upstream_pause_writing(self) -> None:
        """All of the body was given to the connection."""

    def upstream_resume_writing(self) -> None:
        """The same."""
