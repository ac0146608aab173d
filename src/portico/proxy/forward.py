"""Forwarding one exchange: choose an instance, send the request, stream the response, try again where that is safe.

No task runs for an exchange that finds an open connection: bytes come in from one side and go out to the other in the
same call.
"""

from __future__ import annotations

import asyncio
import logging
import time
from math import ceil
from typing import Final

from portico.core.errors import MessageError, Refusal, UpstreamError
from portico.core.exchange import Exchange, Sink
from portico.core.fields import REQUEST_DROP, RESPONSE_DROP
from portico.core.messages import CHUNKED, TUNNEL, UNTIL_CLOSE, Fields, ResponseHead
from portico.proxy.answer import date_line, send_answer
from portico.proxy.headers.forwarded import (
    VIA,
    announced_trailers,
    believed_lines,
    believed_trace_id,
    passed_trailers,
)
from portico.proxy.hedge import HEDGED, Hedge
from portico.proxy.routing.route import Handling
from portico.proxy.tunnel import Tunnel
from portico.upstreams.budget import WINDOW
from portico.upstreams.hedging import Hedging
from portico.upstreams.instance import Instance
from portico.upstreams.limit import Limit
from portico.upstreams.retry_after import seconds_asked_for
from portico.wire.deadlines import NEVER
from portico.wire.http1.client import UpstreamConnection
from portico.wire.writing import LARGE

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
        "exchange", "handling", "loop", "over", "request", "service", "stream", "upgrade",
        # its content
        "body_done", "kept", "kept_size", "replayable",
        # the try that is under way
        "answered", "connection", "fresh_only", "hedge", "instance", "retries", "reused", "sent_at", "tried", "waiting",
    )
    # fmt: on

    def __init__(self, exchange: Exchange, handling: Handling, loop: asyncio.AbstractEventLoop) -> None:
        request = exchange.request
        assert request is not None
        self.exchange = exchange
        self.request = request
        self.stream = exchange.stream
        self.handling = handling
        self.service = handling.service
        self.loop = loop
        self.over = False
        self.kept: list[bytes] = []
        self.kept_size = 0
        self.replayable = True
        self.body_done = request.framing == 0
        self.upgrade = handling.upgrade_for(request) if b"upgrade" in request.noted else b""
        self.instance: Instance | None = None
        self.connection: UpstreamConnection | None = None
        self.tried: tuple[Instance, ...] = ()
        self.retries = 0
        self.fresh_only = False
        self.hedge: Hedge | None = None
        self.waiting: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self.sent_at = 0.0
        self.answered = False
        if exchange.content:
            self.kept.append(exchange.content)
            self.kept_size = request.framing
            self.body_done = True

    def start(self) -> None:
        """Begin with the first instance."""
        self.stream.receiver = self
        budget, now = self.service.budget, self.exchange.started
        if now - budget.since > WINDOW:
            budget.age(now)
        budget.requests += 1
        self._try_instance()
        if self.service.hedging is not None:
            self._prepare_hedge(self.service.hedging)
        if not self.body_done and not self.over:
            self.stream.read_body()

    # ---- towards the service

    def _try_instance(self, spares: bool = False) -> None:
        """1. Choose an instance. 2. Find an open connection to it, or open one.

        `spares` leaves those alone that asked for it.
        """
        service, exchange = self.service, self.exchange
        choose = service.choose
        instance = self._choose_again(spares) if self.tried else choose((), exchange)
        if instance is None:
            self._refuse_for_want()
            return
        if instance.in_flight >= instance.max_connections:
            full = service.full()
            instance = choose((*self.tried, *full), exchange) or choose(full, exchange)
            if instance is None:
                self._refuse("overloaded", f"every instance of {service.name} has all its connections in use", _SOON)
                return
        breaker = instance.breaker
        if breaker is not None and breaker.alert:
            breaker.started(exchange)
        self.instance = instance
        self.tried += (instance,)
        instance.in_flight += 1
        exchange.attempts += 1
        exchange.upstream = instance.name
        connection = None if self.fresh_only else instance.take(self.request.method not in self.handling.retry.methods)
        self.reused = connection is not None
        if connection is not None:
            self._send(instance, connection)
        else:
            self.waiting = self.loop.create_task(self._connect(instance))

    async def _connect(self, instance: Instance) -> None:
        try:
            connection = await instance.connect(min(self.handling.timeouts.connect, self.time_left()))
        except UpstreamError as error:
            self.waiting = None
            self.upstream_failed(error)
        except Exception:
            logger.exception("a connection failed in a way that nobody foresaw", extra={"instance": instance.name})
            self.waiting = None
            self._leave_instance()
            self._refuse("internal_error", "the gateway failed on this request")
        else:
            self.waiting = None
            self._send(instance, connection)

    def _send(self, instance: Instance, connection: UpstreamConnection) -> None:
        """3. Send the head and what is there of the content."""
        self.connection = connection
        request, timeouts = self.request, self.handling.timeouts
        self.sent_at = now = time.monotonic()
        total = timeouts.total
        deadline = NEVER if total is None else self.exchange.started + total
        head = self.head_for(instance)
        if self.upgrade:
            key = request.fields.get(b"sec-websocket-key")
            connection.start(self, request.method, head, False, timeouts, now, deadline, self.upgrade, key)
        elif request.framing == 0:
            connection.start_whole(self, request.method, head, timeouts, now, deadline)
            return
        elif self.body_done and request.framing > 0:
            self._send_whole(connection, head, now, deadline)
            return
        else:
            connection.start(self, request.method, head, request.framing == CHUNKED, timeouts, now, deadline)
        for data in self.kept:
            connection.send_body(data)
        if self.body_done:
            self._end_body(connection)
            return
        if self.kept_size > REPLAY_LIMIT:
            self._forget_body()
        if not connection.stalled:
            self.stream.resume_reading()

    def _send_whole(self, connection: UpstreamConnection, head: bytes, now: float, deadline: float) -> None:
        """Send the head with all of the content, which is there."""
        content = b"".join(self.kept)
        is_small = len(content) < LARGE
        start = head + content if is_small else head
        connection.start_whole(self, self.request.method, start, self.handling.timeouts, now, deadline)
        if not is_small:
            connection.send_behind(content)
            if self.kept_size > REPLAY_LIMIT:
                self._forget_body()

    def head_for(self, instance: Instance) -> bytes:
        """The request's head as an instance of the service gets it."""
        exchange, request, handling = self.exchange, self.request, self.handling
        place = exchange.place
        own_id = exchange.id = exchange.request_id.encode()
        line_end = instance.line_end
        if handling.preserve_host and request.host:
            line_end = b" HTTP/1.1\r\nHost: %b\r\n" % request.host
        added = exchange.request_lines if not self.upgrade and handling.signer is None else self._added_lines()
        end = b"\r\n".join((b"", *added, b"", b"")) if added else _END
        if exchange.trusted:
            lines = b"\r\n".join((*self._passed_lines(), *self._believed_lines(), b"X-Request-ID: "))
            return b"".join((request.method, b" ", place.target, exchange.query, line_end, lines, own_id, end))
        fields, peer = request.fields, self.stream.client.peer
        if fields.passed_by is not peer or handling.trailers:
            self._join_passed(fields)  # fields that repeat are one object: worked out once
        # fmt: off
        pieces = (
            request.method, b" ", place.target, exchange.query, line_end, fields.passed, place.forwarded,
            b"traceparent: 00-", own_id, b"-", own_id[16:], b"-01\r\nX-Request-ID: ", own_id, end,
        )
        # fmt: on
        return b"".join(pieces)

    def _added_lines(self) -> list[bytes]:
        """What stands in a head because of the route: the upgrade that it allows, and what policies add."""
        exchange, signer = self.exchange, self.handling.signer
        lines = [b"Connection: Upgrade\r\nUpgrade: " + self.upgrade] if self.upgrade else []
        lines += exchange.request_lines
        if signer is not None and exchange.consumer is not None:
            lines.append(signer.line(exchange))
        return lines

    def _join_passed(self, fields: Fields) -> None:
        """What goes on of a client's fields, and what the service is told about the client."""
        peer = self.stream.client.peer
        fields.passed = b"\r\n".join((*self._passed_lines(), VIA, *self._host_told(), peer.lines, b""))
        fields.passed_by = None if self.handling.trailers else peer

    def _passed_lines(self) -> list[bytes]:
        """The client's field lines that go on to the service, and how its content is framed there."""
        request, handling = self.request, self.handling
        fields = request.fields
        lines = fields.without(REQUEST_DROP | request.hop_by_hop) if request.hop_by_hop else fields.unnoted()
        if request.framing == CHUNKED:
            lines.append(b"Transfer-Encoding: chunked")
        elif request.framing or b"content-length" in request.noted:
            lines.append(b"Content-Length: %d" % request.framing)
        if handling.trailers:
            lines += announced_trailers(fields, handling.trailers)
            if self._client_takes_trailers():
                lines.append(b"Connection: TE\r\nTE: trailers")
        return lines

    def _host_told(self) -> tuple[bytes, ...]:
        host = self.request.host
        return (b"X-Forwarded-Host: " + host,) if host else ()  # HTTP/1.0 need not name one

    def _believed_lines(self) -> list[bytes]:
        """What a trusted proxy tells, and that it was here."""
        exchange = self.exchange
        fields, host = self.request.fields, self.request.host
        lines = believed_lines(fields, self.stream.client.peer, exchange.client_ip, host, exchange.place.route.prefix)
        if believed_trace_id(fields) is None:
            trace_id = exchange.trace_id.encode()
            lines.append(b"traceparent: 00-%b-%b-01" % (trace_id, trace_id[16:]))
        return [VIA, *lines]

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
        allowed = self.handling.trailers
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
        if self.instance is not None or self.waiting is not None:
            if self.answered and self.instance is not None:
                self._note_success(self.instance)  # a client may leave a stream that would never end
            self._drop_try()
        if self.hedge is not None:
            self._end_hedge()
        self.over = True
        if self.kept_size:
            self._forget_body()
        if self.service.limit is not None:
            self._leave_service(self.service.limit)
        exchange = self.exchange
        finish = exchange.finish
        finish(exchange, failure)

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

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:
        """4 to 6 in one, for a response that is all there and of which nobody else wants to know."""
        exchange, instance, connection = self.exchange, self.instance, self.connection
        status = head.status
        if instance is None or connection is None or self.hedge is not None or status >= _TELLING:
            return False
        breaker = instance.breaker
        if (breaker is not None and breaker.alert) or instance.latency is not None:
            return False
        framing = head.framing
        if framing == CHUNKED and self.handling.trailers:
            return False
        exchange.ended = instance.heard = now
        exchange.upstream_seconds = seconds = now - self.sent_at
        exchange.status = status
        self.answered = True
        self.instance = self.connection = None
        instance.in_flight -= 1
        if connection.free(head):
            instance.give_back(connection, now)
        else:
            connection.close()
        start = head.passed
        if not start or exchange.response_drop is not None:
            start = b"\r\n".join((head.line, *self._response_lines(head)))
        elif exchange.response_lines:
            start = b"\r\n".join((start, *exchange.response_lines))
        own, upstream = _written_out(now - exchange.started - seconds, seconds)
        pieces = (start, _ID, exchange.id, _TIMING, own, _TIMING_UPSTREAM, upstream, _END, content)
        self.stream.send_whole(status, pieces, framing, now)
        return True

    def response_started(self, head: ResponseHead) -> None:
        """4. Pass the response's head on, or try again if it is of a kind to be retried."""
        exchange = self.exchange
        now = time.monotonic()
        exchange.upstream_seconds = upstream_seconds = now - self.sent_at
        status = head.status
        instance = self.instance
        assert instance is not None
        instance.heard = now
        breaker = instance.breaker
        if (breaker is not None and breaker.alert) or status >= _TELLING or instance.latency is not None:
            self._note_answer(instance, head, now, self.sent_at)
        if status in self.handling.retry.statuses and self._may_ask_another(now):
            self._drop_connection()
            self._retry(spares=True)
            return
        if self.hedge is not None:
            self._end_hedge()
        self.answered = True
        self._forget_body()
        exchange.status = status
        lines = self._response_lines(head)
        lines.append(_told(exchange, now - exchange.started - upstream_seconds, upstream_seconds))
        framing = head.framing
        if framing == TUNNEL:
            self._open_tunnel(lines)
        elif status == 426 and b"upgrade" in head.noted:
            lines += (b"Connection: Upgrade", *(b"Upgrade: " + value for value in head.fields.all(b"upgrade")))
        elif framing == CHUNKED and self.handling.trailers and self._client_takes_trailers():
            lines += announced_trailers(head.fields, self.handling.trailers)
        self.stream.send_head(status, head.phrase, lines, CHUNKED if framing == UNTIL_CLOSE else framing)

    def _open_tunnel(self, lines: list[bytes]) -> None:
        """The service has switched protocols: a tunnel takes over on both sides."""
        connection, self.connection = self.connection, None
        assert connection is not None
        lines.append(b"Upgrade: " + self.upgrade)
        tunnel = Tunnel(self.exchange, connection, self, self.upgrade, self.handling.timeouts.tunnel)
        connection.receiver = self.stream.receiver = tunnel
        if self.instance is not None:
            self._note_success(self.instance)
        if self.service.limit is not None:  # a tunnel may last for days, and asks next to nothing of its service
            self._leave_service(self.service.limit)

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
        has_date = b"date" in fields.names
        if drop or head.hop_by_hop or head.status in _BODILESS:
            drop = (drop or _NOTHING) | RESPONSE_DROP | head.hop_by_hop
            lines = fields.without(drop | _LENGTH if head.status in _BODILESS else drop)
        else:
            lines = fields.without(RESPONSE_DROP)
            if has_date:
                head.passed = b"\r\n".join((head.line, *lines))
        lines += exchange.response_lines
        if not has_date:
            lines.append(date_line())
        return lines

    def response_body(self, data: bytes) -> None:
        """5. Pass content on."""
        self.stream.send_body(data)

    def response_sink(self) -> Sink | None:
        """5. The same, past this house, where the content is long and nothing is to be done to it."""
        return self.stream.sink()

    def response_ended(self) -> None:
        """6. Free the connection, then end the response."""
        connection, self.connection = self.connection, None
        instance = self._leave_instance()
        if instance is not None and instance.breaker is not None and instance.breaker.alert:
            self._note_success(instance)
        trailers: list[bytes] = []
        if connection is not None:
            if self.handling.trailers and self._client_takes_trailers():
                trailers = passed_trailers(connection.trailers, self.handling.trailers)
            if instance is not None and connection.is_reusable():
                instance.give_back(connection)
            else:
                connection.close()
        self.stream.end(trailers)

    def _client_takes_trailers(self) -> bool:
        """Whether the client asked for trailer fields (RFC 9110, section 6.5.1)."""
        return b"te" in self.request.noted and b"trailers" in self.request.fields.tokens(b"te")

    def upstream_failed(self, error: UpstreamError) -> None:
        """The service did not answer, or not to the end."""
        connection, instance = self.connection, self.instance
        stale = self.reused and connection is not None and not connection.heard and error.leg == "reset"
        if instance is not None and not stale and self._is_its_fault(error, connection):
            instance.note_failure(self.exchange, time.monotonic() - self.sent_at if connection is not None else 0.0)
        self.connection = None
        self._leave_instance()
        if self.answered:
            self.exchange.reason = error.reason
            self.stream.abort(error.reason)
        elif stale and instance is not None and self.replayable and self.request.method in self.handling.retry.methods:
            # The service closed a kept connection just as it was used again: nobody's failure, so no try is used up.
            self.fresh_only = True
            self.tried = tuple(one for one in self.tried if one is not instance)
            self._try_instance()
        else:
            self._go_on(error)

    def _go_on(self, error: UpstreamError) -> None:
        """A try has failed: wait for the other one, try again, or say so."""
        if self.hedge is not None and self.hedge.is_under_way:
            return
        if self._may_retry(error.leg):
            self._retry(spares=error.leg not in _UNSENT)
        else:
            self._refuse(error.reason, f"{self.service.name}: {error.detail}")

    def _note_answer(self, instance: Instance, head: ResponseHead, now: float, sent_at: float) -> None:
        """What the head of a response says about its instance."""
        instance.note_answer(self.exchange, head.status, now - sent_at)
        if head.status in _MAY_ASK_FOR_REST:
            instance.rests_until = now + seconds_asked_for(head.fields)

    def _note_success(self, instance: Instance) -> None:
        """Nothing was wrong with the response, as far as it came."""
        breaker = instance.breaker
        if breaker is not None and breaker.alert and self.exchange.status < 500:
            breaker.succeeded()

    def _is_its_fault(self, error: UpstreamError, connection: UpstreamConnection | None) -> bool:
        """Whether a failure says something about the instance: a client too can be what a time-out waited for."""
        if error.leg != "timeout":
            return True
        return self.body_done and connection is not None and not connection.paused

    # ---- trying again

    def _may_retry(self, leg: str) -> bool:
        """Whether another try is safe, wanted, and within bounds.

        Safe is what never reached a service, and what may be repeated by its method; both only while the content is
        still at hand.
        """
        retry = self.handling.retry
        unsent = leg in _UNSENT
        wanted = leg == "status" or leg.removesuffix("_timeout") in retry.legs
        if not wanted and leg in retry.elsewhere:
            wanted = any(instance not in self.tried for instance in self.service.available)
        return (
            wanted
            and self.replayable
            and (unsent or self.request.method in retry.methods)
            and self.retries < retry.attempts
            and self.time_left() > 0
            and (unsent or self.service.budget.spend(retry.budget))  # what never arrived burdens nobody: failover
        )

    def _may_ask_another(self, now: float) -> bool:
        """Whether an answer that is of a kind to be retried is put aside for another one."""
        if self.hedge is not None and self.hedge.is_under_way:
            return True
        return self.service.has_rested(now) and self._may_retry("status")

    def _choose_again(self, spares: bool) -> Instance | None:
        """An instance that was not tried and, with `spares`, wants no rest; else one that wants none; else any."""
        choose, exchange = self.service.choose, self.exchange
        resting = self.service.resting(time.monotonic()) if spares else []
        return choose([*self.tried, *resting], exchange) or choose(resting, exchange) or choose((), exchange)

    def time_left(self) -> float:
        """Seconds until the exchange must be over."""
        total = self.handling.timeouts.total
        return NEVER if total is None else self.exchange.started + total - time.monotonic()

    def _retry(self, spares: bool) -> None:
        if self.hedge is not None and self.hedge.is_under_way:
            return
        self.retries += 1
        rounds = self.retries - (len(self.service.available) - 1)
        if rounds <= 0:
            self._try_instance(spares)
        else:  # every instance has had its turn: give them a moment
            pause = min(_BACKOFF * 2 ** (rounds - 1), _BACKOFF_LIMIT)
            self.waiting = self.loop.call_later(pause, self._try_later, spares)

    def _try_later(self, spares: bool) -> None:
        self.waiting = None
        self._try_instance(spares)

    def _forget_body(self) -> None:
        self.replayable = False
        self.kept = []
        self.exchange.content = b""

    # ---- a second try beside the first one

    def _prepare_hedge(self, hedging: Hedging) -> None:
        """Have a second instance asked if the first takes too long."""
        hedging.budget.note_request(self.exchange.started)
        if self._may_be_hedged():
            self.hedge = Hedge(self, hedging, self.loop)
            self.hedge.wait()

    def _may_be_hedged(self) -> bool:
        request = self.request
        return request.method in HEDGED and request.framing == 0 and not self.upgrade and self.instance is not None

    def upstream_silent(self) -> None:
        """The instance takes long: where others answer meanwhile, one of them is asked beside it."""
        service, instance = self.service, self.instance
        failover = service.failover
        if failover is None or self.hedge is not None or instance is None or not self._may_be_hedged():
            return
        if service.is_outdone(instance, self.sent_at):
            self.hedge = Hedge(self, failover, self.loop)
            self.hedge.begin(is_free=instance not in service.available)

    def hedge_answered(self, hedge: Hedge, head: ResponseHead) -> None:
        """The second try was faster: it is the only one from here on, unless its answer is one to be put aside."""
        assert hedge.instance is not None
        if head.status in self.handling.retry.statuses and (self.instance is not None or self.waiting is not None):
            self._note_answer(hedge.instance, head, time.monotonic(), hedge.sent_at)
            self._end_hedge()
            return
        if self.instance is not None and self.instance.latency is not None and self.connection is not None:
            now = time.monotonic()
            self.instance.latency.note(now - self.sent_at, now)  # at least that long
        if hedge.hedging is self.service.failover and self.instance is not None:
            self.instance.note_failure(self.exchange, time.monotonic() - self.sent_at)
        self._drop_try()
        hedge.hedging.note_won()
        self.instance, self.connection, self.sent_at = hedge.instance, hedge.connection, hedge.sent_at
        self.reused, self.hedge = False, None
        assert hedge.connection is not None
        hedge.connection.receiver = self
        self.exchange.upstream = hedge.instance.name
        self.response_started(head)

    def hedge_failed(self, error: UpstreamError) -> None:
        """The second try came to nothing; so may the first one have."""
        self.hedge = None
        if self.instance is None and self.waiting is None:
            self._go_on(error)

    def _end_hedge(self) -> None:
        hedge, self.hedge = self.hedge, None
        if hedge is not None:
            hedge.cancel()

    # ---- ends

    def _refuse_for_want(self) -> None:
        """There is no instance that could be asked."""
        seconds = self.service.opens_in(time.monotonic())
        if seconds is None:
            self._refuse("no_healthy_upstream", f"no instance of {self.service.name} is healthy", (b"Retry-After: 1",))
        else:
            line = b"Retry-After: %d" % max(1, ceil(seconds))
            self._refuse("circuit_open", f"{self.service.name} failed too often and is left alone for a while", (line,))

    def _refuse(self, reason: str, detail: str, lines: tuple[bytes, ...] = ()) -> None:
        if self.hedge is not None:
            self._end_hedge()
        if not self.over:
            send_answer(self.exchange, Refusal(reason, detail, lines))

    def _drop_connection(self) -> None:
        """Leave an exchange with a service unfinished; its connection cannot serve another."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
            self._leave_instance()

    def _drop_try(self) -> None:
        """Leave the try that is under way, wherever it is."""
        self._drop_connection()
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None
            self._leave_instance()

    def _leave_service(self, limit: Limit) -> None:
        """Give the place back, and tell how long the service took, or had to so far."""
        exchange = self.exchange
        if not self.sent_at:
            limit.leave()
        elif self.answered:
            seconds = exchange.upstream_seconds or 0.0
            limit.leave(self.sent_at, seconds, exchange.status < 500 and exchange.status != 429)
        else:
            limit.leave(self.sent_at, time.monotonic() - self.sent_at, answered=False)

    def _leave_instance(self) -> Instance | None:
        instance, self.instance = self.instance, None
        if instance is not None:
            instance.in_flight -= 1
            if instance.breaker is not None and instance.breaker.alert:
                instance.breaker.left(self.exchange)
        return instance


def _told(exchange: Exchange, own_seconds: float, upstream_seconds: float) -> bytes:
    """`X-Request-ID` and `Server-Timing` for the client."""
    own, upstream = _written_out(own_seconds, upstream_seconds)
    return b"".join((_ID[2:], exchange.id, _TIMING, own, _TIMING_UPSTREAM, upstream))


def _written_out(own_seconds: float, upstream_seconds: float) -> tuple[bytes, bytes]:
    """Both in milliseconds."""
    try:
        return _MILLISECONDS[int(own_seconds * 1e5)], _MILLISECONDS[int(upstream_seconds * 1e5)]
    except IndexError:
        return b"%.2f" % (own_seconds * 1000), b"%.2f" % (upstream_seconds * 1000)


_ID: Final = b"\r\nX-Request-ID: "
_TIMING: Final = b"\r\nServer-Timing: gateway;dur="
_TIMING_UPSTREAM: Final = b", upstream;dur="
_MILLISECONDS: Final = [b"%.2f" % (number / 100) for number in range(10_000)]
"""What most durations are, written out: in hundredths of a millisecond."""
_END: Final = b"\r\n\r\n"
"""What follows the last line of a head."""
_SOON: Final = (b"Retry-After: 1",)
_NOTHING: Final[frozenset[bytes]] = frozenset()
_MAY_ASK_FOR_REST: Final = (429, 503)
_TELLING: Final = 426
"""The lowest status that has to be looked at: it asks for an upgrade, or says something about its instance."""
_UNSENT: Final = ("connect", "connect_timeout")
"""Legs on which nothing of a request has reached a service."""
_LENGTH: Final = frozenset({b"content-length"})
_BODILESS: Final = (101, 204)
"""Statuses that may not have a Content-Length (RFC 9110, section 8.6)."""
