"""Forwarding one exchange: choose an instance, send the request, stream the response, try again where that is safe.

No task runs for an exchange that finds an open connection: bytes come in from one side and go out to the other in the
same call.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from portico.answer import date_line, send_answer
from portico.errors import MessageError, Refusal, UpstreamError
from portico.exchange import Exchange
from portico.forwarded import (
    REQUEST_DROP,
    RESPONSE_DROP,
    VIA,
    announced_trailers,
    believed_lines,
    believed_trace_id,
    passed_trailers,
)
from portico.messages import CHUNKED, IDEMPOTENT, TUNNEL, UNTIL_CLOSE, ResponseHead
from portico.route import Route
from portico.tunnel import Tunnel
from portico.upstreams.instance import Instance
from portico.wire.client import UpstreamConnection
from portico.wire.deadlines import NEVER

logger: Final = logging.getLogger("portico.forward")

REPLAY_LIMIT: Final = 64 * 1024
"""Bytes of a request's content that are kept so that it can be sent again."""

_BACKOFF: Final = 0.025
_BACKOFF_LIMIT: Final = 0.4
"""Seconds before an instance is tried again: doubled each time from the one to the other."""


class Forwarding:
    """One exchange on its way to a service and back; it hears both sides: `Receiver` and `ResponseReceiver`."""

    # fmt: off
    __slots__ = (
        # the exchange
        "exchange", "loop", "over", "route", "service", "stream", "upgrade",
        # its content
        "body_done", "kept", "kept_size", "replayable",
        # the try that is under way
        "answered", "connection", "fresh_only", "instance", "retries", "reused", "sent_at", "tried", "waiting",
    )
    # fmt: on

    def __init__(self, exchange: Exchange, route: Route, loop: asyncio.AbstractEventLoop) -> None:
        self.exchange = exchange
        self.stream = exchange.stream
        self.route = route
        self.service = route.service
        self.loop = loop
        self.over = False
        self.kept: list[bytes] = []
        self.kept_size = 0
        self.replayable = True
        assert exchange.request is not None
        self.body_done = exchange.request.framing == 0
        self.upgrade = route.upgrade_for(exchange.request) if b"upgrade" in exchange.request.noted else b""
        self.instance: Instance | None = None
        self.connection: UpstreamConnection | None = None
        self.reused = False
        self.tried: list[Instance] = []
        self.retries = 0
        self.fresh_only = False
        self.waiting: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self.sent_at = 0.0
        self.answered = False

    def start(self) -> None:
        """Begin with the first instance."""
        self.stream.receiver = self
        self.service.budget.note_request(self.exchange.started)
        self._try_instance()
        if not self.body_done and not self.over:
            self.stream.read_body()

    # ---- towards the service

    def _try_instance(self) -> None:
        """1. Choose an instance. 2. Find an open connection to it, or open one."""
        self.waiting = None
        instance = self.service.choose(self.tried)
        if instance is None and self.tried:
            instance = self.service.choose()  # all were tried: start over
        if instance is None:
            self._refuse("no_healthy_upstream", f"no instance of {self.service.name} is healthy", (b"Retry-After: 1",))
            return
        self.instance = instance
        self.tried.append(instance)
        instance.in_flight += 1
        self.exchange.attempts += 1
        self.exchange.upstream = instance.name
        request = self.exchange.request
        assert request is not None
        connection = None if self.fresh_only else instance.take(recently_used=request.method not in IDEMPOTENT)
        if connection is not None:
            self.reused = True
            self._send(connection)
        else:
            self.reused = False
            self.waiting = self.loop.create_task(self._connect(instance))

    async def _connect(self, instance: Instance) -> None:
        try:
            connection = await instance.connect(min(self.route.timeouts.connect, self._time_left()))
        except UpstreamError as error:
            self.waiting = None
            self.upstream_failed(error)
        except Exception:
            logger.exception("a connection failed in a way that nobody foresaw", extra={"instance": instance.name})
            self.waiting = None
            self._refuse("internal_error", "the gateway failed on this request")
        else:
            self.waiting = None
            self._send(connection)

    def _send(self, connection: UpstreamConnection) -> None:
        """3. Send the head and what is there of the content."""
        self.connection = connection
        exchange = self.exchange
        request = exchange.request
        assert request is not None
        timeouts = self.route.timeouts
        self.sent_at = time.monotonic()
        deadline = NEVER if timeouts.total is None else exchange.started + timeouts.total
        head = self._head()
        if self.upgrade:
            key = request.fields.get(b"sec-websocket-key")
            connection.start(self, request.method, head, False, timeouts, deadline, self.upgrade, key)
        else:
            connection.start(self, request.method, head, request.framing == CHUNKED, timeouts, deadline)
        for data in self.kept:
            connection.send_body(data)
        if self.body_done:
            self._end_body(connection)
            return
        if self.kept_size > REPLAY_LIMIT:
            self._forget_body()
        if not connection.stalled:
            self.stream.resume_reading()

    def _head(self) -> bytes:
        """The request's head as the service gets it."""
        exchange, route, instance = self.exchange, self.route, self.instance
        request = exchange.request
        assert request is not None
        assert instance is not None
        fields = request.fields
        if exchange.trusted:
            lines = self._passed_lines() + self._believed_lines()
        else:
            if fields.passed_by is not REQUEST_DROP or route.trailers:
                fields.passed = b"\r\n".join((*self._passed_lines(), *self._host_told()))
                fields.passed_by = None if route.trailers else REQUEST_DROP
            lines = [fields.passed] if fields.passed else []  # repeated fields are one object: worked out once
            lines += (route.forwarded, self.stream.client.peer.lines)
        if self.upgrade:
            lines.append(b"Connection: Upgrade\r\nUpgrade: " + self.upgrade)
        host_line = b"Host: " + request.host if route.preserve_host and request.host else instance.host_line
        start = b"".join((request.method, b" ", exchange.target, exchange.query, b" HTTP/1.1\r\n", host_line))
        return b"\r\n".join((start, *lines, *exchange.request_lines, self._ids(), b"", b""))

    def _ids(self) -> bytes:
        exchange = self.exchange
        trace_id = exchange.trace_id.encode()
        request_id = b"X-Request-ID: " + exchange.request_id.encode()
        if exchange.trusted and exchange.request is not None and believed_trace_id(exchange.request.fields):
            return request_id  # the trace context goes on as it came
        return b"".join((request_id, b"\r\ntraceparent: 00-", trace_id, b"-", trace_id[16:], b"-01"))

    def _passed_lines(self) -> list[bytes]:
        """The client's field lines that go on to the service, and how its content is framed there."""
        request, route = self.exchange.request, self.route
        assert request is not None
        fields = request.fields
        lines = fields.without(REQUEST_DROP | request.hop_by_hop if request.hop_by_hop else REQUEST_DROP)
        if request.framing == CHUNKED:
            lines.append(b"Transfer-Encoding: chunked")
        elif request.framing or b"content-length" in request.noted:
            lines.append(b"Content-Length: %d" % request.framing)
        if route.trailers:
            lines += announced_trailers(fields, route.trailers)
            if self._client_takes_trailers():
                lines.append(b"Connection: TE\r\nTE: trailers")
        return lines

    def _host_told(self) -> tuple[bytes, ...]:
        request = self.exchange.request
        assert request is not None
        return (b"X-Forwarded-Host: " + request.host,) if request.host else ()  # HTTP/1.0 need not name one

    def _believed_lines(self) -> list[bytes]:
        """What a trusted proxy tells, and that it was here."""
        exchange = self.exchange
        assert exchange.request is not None
        fields, host = exchange.request.fields, exchange.request.host
        return [VIA, *believed_lines(fields, self.stream.client.peer, exchange.client_ip, host, self.route.prefix)]

    # ---- told by the client's side: Receiver

    def body_received(self, data: bytes) -> None:
        """Pass content on, and keep a little for a second try."""
        connection = self.connection
        if self.replayable:
            self.kept.append(data)
            self.kept_size += len(data)
            if self.kept_size > REPLAY_LIMIT:
                if connection is not None:
                    self._forget_body()
                else:
                    self.stream.pause_reading()
        if connection is not None:
            connection.send_body(data)

    def body_ended(self) -> None:
        """Nothing more will come from the client."""
        self.body_done = True
        if self.connection is not None:
            self._end_body(self.connection)

    def _end_body(self, connection: UpstreamConnection) -> None:
        allowed = self.route.trailers
        connection.end_body(passed_trailers(self.stream.trailers, allowed) if allowed else ())

    def body_failed(self, error: MessageError) -> None:
        """The client broke off or broke the rules in the middle of its content."""
        self._drop_connection()
        self._refuse(error.reason, error.detail)

    def pause_writing(self) -> None:
        """The client reads slowly: so do we."""
        if self.connection is not None:
            self.connection.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self.connection is not None:
            self.connection.resume_reading()

    def going_away(self) -> None:
        """A response that is under way may end."""

    def finished(self, failure: str | None) -> None:
        """The client's side is over, well or not: nothing is owed to it any more."""
        self._drop_connection()
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None
            self._leave_instance()
        self.over = True
        self.exchange.finished(failure)

    # ---- told by the service's side: ResponseReceiver

    def upstream_pause_writing(self) -> None:
        """The service reads slowly: so do we."""
        self.stream.pause_reading()

    def upstream_resume_writing(self) -> None:
        """The service has caught up."""
        self.stream.resume_reading()

    def response_interim(self, head: ResponseHead) -> None:
        """Early hints and the like are passed on."""
        drop = RESPONSE_DROP | _LENGTH | head.hop_by_hop
        self.stream.send_interim(head.status, head.phrase, head.fields.without(drop))

    def response_started(self, head: ResponseHead) -> None:
        """4. Pass the response's head on, or try again if it is of a kind to be retried."""
        exchange = self.exchange
        now = time.monotonic()
        exchange.upstream_seconds = upstream_seconds = now - self.sent_at
        status = head.status
        if status in self.service.retry.statuses and self._may_retry("status"):
            self._drop_connection()
            self._retry()
            return
        self.answered = True
        self._forget_body()
        exchange.status = status
        lines = self._response_lines(head)
        lines.append(
            b"X-Request-ID: %b\r\nServer-Timing: gateway;dur=%.2f, upstream;dur=%.2f"
            % (
                exchange.request_id.encode(),
                (now - exchange.started - upstream_seconds) * 1000,
                upstream_seconds * 1000,
            )
        )
        framing = head.framing
        if framing == TUNNEL:
            self._open_tunnel(lines)
        elif status == 426 and b"upgrade" in head.noted:
            lines += (b"Connection: Upgrade", *(b"Upgrade: " + value for value in head.fields.all(b"upgrade")))
        elif framing == CHUNKED and self.route.trailers and self._client_takes_trailers():
            lines += announced_trailers(head.fields, self.route.trailers)
        self.stream.send_head(status, head.phrase, lines, CHUNKED if framing == UNTIL_CLOSE else framing)

    def _open_tunnel(self, lines: list[bytes]) -> None:
        """The service has switched protocols: a tunnel takes over on both sides."""
        connection, self.connection = self.connection, None
        assert connection is not None
        lines.append(b"Upgrade: " + self.upgrade)
        tunnel = Tunnel(self.exchange, connection, self, self.upgrade, self.route.timeouts.tunnel)
        connection.receiver = self.stream.receiver = tunnel

    def tunnel_ended(self, failure: str | None) -> None:
        """The tunnel that took over is closed on both sides."""
        self._leave_instance()
        self.over = True
        self.exchange.finished(failure)

    def _response_lines(self, head: ResponseHead) -> list[bytes]:
        """The service's field lines that go on to the client, and those that policies add."""
        exchange = self.exchange
        fields = head.fields
        drop = exchange.response_drop
        if drop or head.hop_by_hop or head.status in _BODILESS:
            drop = (drop or _NOTHING) | RESPONSE_DROP | head.hop_by_hop
            lines = fields.without(drop | _LENGTH if head.status in _BODILESS else drop)
        else:
            if fields.passed_by is None:
                fields.passed = b"\r\n".join(fields.without(RESPONSE_DROP))
                fields.passed_by = RESPONSE_DROP
            lines = [fields.passed] if fields.passed else []
        lines += exchange.response_lines
        if b"date" not in fields.names:
            lines.append(date_line())
        return lines

    def response_body(self, data: bytes) -> None:
        """5. Pass content on."""
        self.stream.send_body(data)

    def response_ended(self) -> None:
        """6. Free the connection, then end the response."""
        connection, self.connection = self.connection, None
        instance = self._leave_instance()
        trailers: list[bytes] = []
        if connection is not None:
            if self.route.trailers and self._client_takes_trailers():
                trailers = passed_trailers(connection.trailers, self.route.trailers)
            if instance is not None and connection.is_reusable():
                instance.give_back(connection)
            else:
                connection.close()
        self.stream.end(trailers)

    def _client_takes_trailers(self) -> bool:
        """Whether the client asked for trailer fields (RFC 9110, section 6.5.1)."""
        request = self.exchange.request
        return request is not None and b"te" in request.noted and b"trailers" in request.fields.tokens(b"te")

    def upstream_failed(self, error: UpstreamError) -> None:
        """The service did not answer, or not to the end."""
        stale = self.reused and self.connection is not None and not self.connection.heard and error.leg == "reset"
        self.connection = None
        self._leave_instance()
        if self.answered:
            self.exchange.reason = error.reason
            self.stream.abort(error.reason)
            return
        request = self.exchange.request
        assert request is not None
        if stale and self.replayable and request.method in IDEMPOTENT:
            # The service closed a kept connection just as it was used again: nobody's failure, so no try is used up.
            self.fresh_only = True
            self.tried.pop()
            self._try_instance()
        elif self._may_retry(error.leg):
            self._retry()
        else:
            self._refuse(error.reason, f"{self.service.name}: {error.detail}")

    # ---- trying again

    def _may_retry(self, leg: str) -> bool:
        """Whether another try is safe, wanted, and within bounds.

        Safe is what never reached a service, and what may be repeated by its method; both only while the content is
        still at hand.
        """
        retry = self.service.retry
        request = self.exchange.request
        assert request is not None
        unsent = leg in ("connect", "connect_timeout")
        wanted = leg == "status" or leg.removesuffix("_timeout") in retry.legs
        return (
            wanted
            and self.replayable
            and (unsent or request.method in IDEMPOTENT)
            and self.retries < retry.attempts
            and self._time_left() > 0
            and (unsent or self.service.budget.spend())  # what never arrived burdens nobody: that is failover
        )

    def _time_left(self) -> float:
        """Seconds until the exchange must be over."""
        total = self.route.timeouts.total
        return NEVER if total is None else self.exchange.started + total - time.monotonic()

    def _retry(self) -> None:
        self.retries += 1
        rounds = self.retries - (len(self.service.instances) - 1)
        if rounds <= 0:
            self._try_instance()
        else:  # every instance has had its turn: give them a moment
            self.waiting = self.loop.call_later(min(_BACKOFF * 2 ** (rounds - 1), _BACKOFF_LIMIT), self._try_instance)

    def _forget_body(self) -> None:
        self.replayable = False
        self.kept = []

    # ---- ends

    def _refuse(self, reason: str, detail: str, lines: tuple[bytes, ...] = ()) -> None:
        if not self.over:
            send_answer(self.exchange, Refusal(reason, detail, lines))

    def _drop_connection(self) -> None:
        """Leave an exchange with a service unfinished; its connection cannot serve another."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
            self._leave_instance()

    def _leave_instance(self) -> Instance | None:
        instance, self.instance = self.instance, None
        if instance is not None:
            instance.in_flight -= 1
        return instance


_NOTHING: Final[frozenset[bytes]] = frozenset()
_LENGTH: Final = frozenset({b"content-length"})
_BODILESS: Final = (101, 204)
"""Statuses that may not have a Content-Length (RFC 9110, section 8.6)."""
