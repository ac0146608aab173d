"""Forwarding one exchange: choose an instance, send the request, stream the response, retry where that is safe.

No task runs for an exchange that finds an open connection: bytes received from one side are sent to the other in the
same call.
"""

from __future__ import annotations

import asyncio
import time
from math import ceil
from typing import Final

from portico.core.errors import Answer, MessageError, Refusal, UpstreamError
from portico.core.exchange import Exchange, Sink
from portico.core.faults import FAULTS, contain
from portico.core.fields import RESPONSE_DROP
from portico.core.messages import CHUNKED, TUNNEL, UNTIL_CLOSE, ResponseHead
from portico.proxy import host_refusal
from portico.proxy.answer import send_answer
from portico.proxy.attempt import Attempt
from portico.proxy.compose import (
    HEAD_END,
    LENGTH,
    REQUEST_ID,
    TIMING,
    TIMING_UPSTREAM,
    hides_timing,
    milliseconds,
    takes_trailers,
    timing_lines,
)
from portico.proxy.headers.forwarded import announced_trailers, passed_trailers
from portico.proxy.hedge import HEDGED, Hedge
from portico.proxy.rewriting import rewritten
from portico.proxy.routing.route import Handling
from portico.proxy.tunnel import Tunnel
from portico.upstreams.budget import WINDOW
from portico.upstreams.hedging import Hedging
from portico.upstreams.instance import Instance
from portico.upstreams.limit import Limit
from portico.upstreams.retry_after import seconds_asked_for
from portico.wire.deadlines import NEVER
from portico.wire.http1.client import ResponseReceiver, UpstreamConnection
from portico.wire.websocket import PROTOCOL as WEBSOCKET
from portico.wire.websocket import is_key
from portico.wire.writing import LARGE

REPLAY_LIMIT: Final = 64 * 1024
"""Bytes of a request's body that are kept so that it can be sent again."""

_PAUSE: Final = 0.025
_PAUSE_LIMIT: Final = 0.4
"""Seconds before an instance is tried again: doubled each time, from the first value up to the second."""


class Forwarding(Attempt):
    """One exchange with a service; it receives from both sides: `Receiver` and `ResponseReceiver`."""

    replay_limit = REPLAY_LIMIT

    # fmt: off
    __slots__ = (
        # the exchange
        "over", "request", "service", "stream", "upgrade",
        # its body
        "body_done", "framing", "kept", "kept_size", "replayable",
        # its attempts
        "answered", "fresh_only", "hedge", "retries", "tried",
    )
    # fmt: on

    def __init__(self, exchange: Exchange, handling: Handling, loop: asyncio.AbstractEventLoop) -> None:
        request = exchange.request
        assert request is not None
        self.exchange = exchange  # not by super(): this runs for every request
        self.handling = handling
        self.loop = loop
        self.instance = self.connection = self.waiting = None
        self.sent_at = 0.0
        self.request = request
        self.stream = exchange.stream
        self.service = handling.service
        self.over = False
        self.kept: list[bytes] = []
        self.kept_size = 0
        self.replayable = True
        self.framing = framing = request.framing
        self.body_done = framing == 0
        self.upgrade = handling.upgrade_for(request) if b"upgrade" in request.noted else b""
        self.tried: tuple[Instance, ...] = ()
        self.retries = 0
        self.fresh_only = False
        self.hedge: Hedge | None = None
        self.answered = False
        if exchange.content:
            self.kept.append(exchange.content)
            self.kept_size = framing
            self.body_done = True

    def start(self) -> None:
        """Begin with the first instance."""
        self.stream.receiver = self
        if self.upgrade and self.upgrade == WEBSOCKET and not is_key(self.request.fields.get(b"sec-websocket-key")):
            # The service would be blamed for a response that cannot be verified.
            detail = "a WebSocket begins with one Sec-WebSocket-Key, 16 bytes in base64"
            self._refuse("malformed_request", detail, proxy_error="http_request_error")
            return
        budget, now = self.service.budget, self.exchange.started
        if now - budget.since > WINDOW:
            budget.age(now)
        budget.requests += 1
        self._try_instance()
        if self.service.hedging is not None:
            self._prepare_hedge(self.service.hedging)
        if not self.body_done and not self.over:
            self.stream.read_body()

    @property
    def received_status(self) -> int:
        """The status that the service gave, once its response has begun."""
        return self.exchange.status

    # ---- to the service

    def _try_instance(self, backs_off: bool = False) -> None:
        """6. Choose an instance, and connect to it.

        With `backs_off`, instances that asked for backoff are left alone.
        """
        service, exchange = self.service, self.exchange
        choose = service.choose
        instance = self._choose_again(backs_off) if self.tried else choose((), exchange)
        if instance is None:
            self._refuse_for_want()
            return
        if instance.in_flight >= instance.max_connections:
            full = service.full()
            instance = choose((*self.tried, *full), exchange) or choose(full, exchange)
            if instance is None:
                detail = f"every instance of {service.name} has all its connections in use"
                self._refuse("overloaded", detail, _SOON, "connection_limit_reached")
                return
        self.tried += (instance,)
        exchange.attempts += 1
        exchange.upstream = instance.name
        only_once = self.request.method not in self.handling.retry.methods
        self.connect(instance, only_once, self.fresh_only)

    def send(self, instance: Instance, connection: UpstreamConnection) -> None:
        """6. Send the head, and as much of the body as has arrived."""
        self.connection = connection
        request, timeouts = self.request, self.handling.timeouts
        self.sent_at = now = time.monotonic()
        deadline = NEVER if timeouts.total is None else self.exchange.started + timeouts.total
        head = self.handling.compose(self.exchange, self.handling, instance, self.upgrade)
        if self.upgrade:
            key = request.fields.get(b"sec-websocket-key")
            connection.start(self, request.method, head, False, timeouts, now, deadline, self.upgrade, key)
            self._end_body(connection)
        elif self.framing == 0:
            connection.start_whole(self, request.method, head, timeouts, now, deadline)
        elif self.body_done:
            self.send_whole(self, connection, head, now, deadline)
            if self.kept_size > self.replay_limit:
                self._forget_body()
        else:
            connection.start(self, request.method, head, self.framing == CHUNKED, timeouts, now, deadline)
            for data in self.kept:
                connection.send_body(data)
            if self.kept_size > self.replay_limit:
                self._forget_body()
            if not connection.stalled:
                self.stream.resume_reading()

    def send_whole(
        self, receiver: ResponseReceiver, connection: UpstreamConnection, head: bytes, now: float, deadline: float
    ) -> None:
        """Send the head with the whole body, which has arrived; `receiver` gets the response."""
        method, timeouts = self.request.method, self.handling.timeouts
        if self.framing == CHUNKED:
            connection.start(receiver, method, head, True, timeouts, now, deadline)
            for data in self.kept:
                connection.send_body(data)
            self._end_body(connection)
            return
        content = b"".join(self.kept)
        is_small = len(content) < LARGE
        connection.start_whole(receiver, method, head + content if is_small else head, timeouts, now, deadline)
        if not is_small:
            connection.send_rest(content)

    # ---- called by the client's side: Receiver

    def body_received(self, data: bytes) -> None:
        """Forward a part of the body, and keep a little for a second attempt."""
        connection = self.connection
        if self.replayable:
            self.kept.append(data)
            self.kept_size += len(data)
            if self.kept_size > self.replay_limit:
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
        """The client broke off or violated the protocol in the middle of its body."""
        self.drop_connection()
        self._refuse(error.reason, error.detail)

    def pause_writing(self) -> None:
        """The client reads slowly: stop reading from the service."""
        if self.connection is not None:
            self.connection.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self.connection is not None:
            self.connection.resume_reading()

    def going_away(self) -> None:
        """A response that is under way may end."""

    def finished(self, failure: str | None) -> None:
        """The client's side is over, with or without a failure: nothing more is sent to it."""
        exchange = self.exchange
        finish = exchange.finish
        try:
            if self.instance is not None or self.waiting is not None:
                if self.answered and self.instance is not None:
                    self._note_success(self.instance)  # a client may leave an endless stream
                self.drop()
            if self.hedge is not None:
                self._end_hedge()
            if self.kept_size:
                self._forget_body()
        finally:
            self.over = True
            try:
                if self.service.limit is not None:
                    self._leave_service(self.service.limit)
            finally:
                finish(exchange, failure)

    # ---- called by the service's side: ResponseReceiver

    def upstream_pause_writing(self) -> None:
        """The service reads slowly: stop reading from the client."""
        self.stream.pause_reading()

    def upstream_resume_writing(self) -> None:
        """The service has caught up."""
        self.stream.resume_reading()

    def response_interim(self, head: ResponseHead) -> None:
        """Forward early hints and the like."""
        drop = RESPONSE_DROP | LENGTH | head.hop_by_hop | (self.exchange.response_drop or frozenset())
        self.stream.send_interim(head.status, head.phrase, rewritten(self.exchange, head.fields.without(drop)))

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:
        """7. All of it at once, for a response that has arrived whole and that nothing else is notified of."""
        exchange, instance, connection = self.exchange, self.instance, self.connection
        status = head.status
        if instance is None or connection is None or self.hedge is not None:
            return False
        if status >= _REFUSED and self._is_notable(instance, status, content):
            return False
        breaker = instance.breaker
        if (breaker is not None and breaker.alert) or instance.latency is not None:
            return False
        framing = head.framing
        if framing == CHUNKED and self.handling.trailers:
            return False
        exchange.ended = instance.answered_at = now
        exchange.upstream_seconds = seconds = now - self.sent_at
        exchange.status = status
        self.answered = True
        self.instance = self.connection = None
        instance.in_flight -= 1
        if connection.free(head):
            instance.give_back(connection, now)
        else:
            connection.close()
        start: bytes | None = head.passed
        if not start or exchange.response_drop is not None:
            start = self.start_of(head)
            if start is None:
                return True
            if hides_timing(exchange):
                self.stream.send_whole(
                    exchange.status, (start, REQUEST_ID, exchange.id, HEAD_END, content), framing, now
                )
                return True
        elif exchange.response_lines:
            start = b"\r\n".join((start, *exchange.response_lines))
        own, upstream = milliseconds(now - exchange.started - seconds, seconds)
        pieces = (start, REQUEST_ID, exchange.id, TIMING, own, TIMING_UPSTREAM, upstream, HEAD_END, content)
        self.stream.send_whole(exchange.status, pieces, framing, now)
        return True

    def start_of(self, head: ResponseHead) -> bytes | None:
        """7. The status line of a whole response with the end-to-end field lines; None where another was sent."""
        return b"\r\n".join((head.line, *self.handling.response_lines(self.exchange, head)))

    def response_started(self, head: ResponseHead) -> None:
        """7. Forward the response's head, or 8. retry if its status is one to be retried."""
        exchange = self.exchange
        now = time.monotonic()
        exchange.upstream_seconds = now - self.sent_at
        status = head.status
        instance = self.instance
        assert instance is not None
        instance.answered_at = now
        breaker = instance.breaker
        if (breaker is not None and breaker.alert) or status >= _REFUSED or instance.latency is not None:
            self._note_answer(instance, head, now, self.sent_at)
        if status in self.handling.retry.statuses and self._may_ask_another(now):
            exchange.upstream_error = f"the service answered {status}"
            self.drop_connection()
            self._retry(backs_off=True)
            return
        self.accept(head, now)

    def accept(self, head: ResponseHead, now: float) -> None:
        """7. This is the response: no other attempt counts any more."""
        if self.hedge is not None:
            self._end_hedge()
        self.answered = True
        self._forget_body()
        self.forward_head(head, now)

    def forward_head(self, head: ResponseHead, now: float) -> None:
        """7. Forward the head of the response that was decided for."""
        self.exchange.status = head.status
        lines = self.handling.response_lines(self.exchange, head)
        self.send_head(head, head.status, lines, head.framing, now)

    def send_head(self, head: ResponseHead, status: int, lines: list[bytes], framing: int, now: float) -> None:
        """7. Send a head with these end-to-end field lines, and begin what follows it."""
        exchange, upstream_seconds = self.exchange, self.exchange.upstream_seconds or 0.0
        lines.append(timing_lines(exchange, now - exchange.started - upstream_seconds))
        if framing == TUNNEL:
            self._open_tunnel(lines)
        elif status == 426 and b"upgrade" in head.noted:
            lines += (b"Connection: Upgrade", *(b"Upgrade: " + value for value in head.fields.all(b"upgrade")))
        elif framing == CHUNKED and self.handling.trailers and takes_trailers(self.request):
            lines += announced_trailers(head.fields, self.handling.trailers)
        phrase = head.phrase if status == head.status else b""
        self.stream.send_head(status, phrase, lines, CHUNKED if framing == UNTIL_CLOSE else framing)

    def _open_tunnel(self, lines: list[bytes]) -> None:
        """The service has switched protocols: a tunnel takes over on both sides."""
        connection, self.connection = self.connection, None
        assert connection is not None
        lines.append(b"Upgrade: " + self.upgrade)
        tunnel = Tunnel(self.exchange, connection, self, self.upgrade, self.handling.timeouts.tunnel)
        connection.receiver = self.stream.receiver = tunnel
        if self.instance is not None:
            self._note_success(self.instance)
        if self.service.limit is not None:  # a tunnel may last for days, with next to no load for its service
            self._leave_service(self.service.limit)

    def tunnel_ended(self, failure: str | None) -> None:
        """The tunnel that took over is closed on both sides."""
        self.leave()
        self.over = True
        self.exchange.finished(failure)

    def response_body(self, data: bytes) -> None:
        """7. Forward the body."""
        self.stream.send_body(data)

    def response_sink(self) -> Sink | None:
        """7. The same in the kernel, where the body is long and is forwarded unchanged."""
        return self.stream.sink()

    def response_ended(self) -> None:
        """7. Free the connection, then end the response."""
        self.stream.end(self.free_connection())

    def free_connection(self) -> list[bytes]:
        """7. Give the connection back after a complete response; the trailers of that which go on to the client."""
        connection, self.connection = self.connection, None
        instance = self.leave()
        if instance is not None and instance.breaker is not None and instance.breaker.alert:
            self._note_success(instance)
        trailers: list[bytes] = []
        if connection is not None:
            if self.handling.trailers and takes_trailers(self.request):
                trailers = passed_trailers(connection.trailers, self.handling.trailers)
            if instance is not None and connection.is_reusable():
                instance.give_back(connection)
                if self.received_status >= 500:
                    instance.doubt(connection)
            else:
                connection.close()
        return trailers

    def upstream_failed(self, error: UpstreamError) -> None:
        """There was no response, or an incomplete one."""
        connection, instance = self.connection, self.instance
        stale = self.is_stale(error)
        if instance is not None and not stale and self._is_its_fault(error, connection):
            seconds = time.monotonic() - self.sent_at if connection is not None else 0.0
            instance.note_failure(self.exchange, seconds, error)
        self.connection = None
        self.leave()
        if self.answered:
            self.exchange.upstream_error = error.cause or error.detail
            detail = f"{self.service.name}: {error.detail}"
            self.break_off(Refusal(error.reason, detail, proxy_error=error.proxy_error))
        elif stale and instance is not None and self.replayable and self.request.method in self.handling.retry.methods:
            # The service closed a kept connection just as it was reused: not a failure, so no attempt is used up.
            self.fresh_only = True
            self.tried = tuple(one for one in self.tried if one is not instance)
            self._try_instance()
        else:
            self._go_on(error)

    def _go_on(self, error: UpstreamError) -> None:
        """An attempt has failed: wait for the other one, retry, or report the failure."""
        self.exchange.upstream_error = (error.cause or error.detail) + self._allowed(error.phase)
        if self.hedge is not None and self.hedge.is_under_way:
            return
        if self._may_retry(error.phase):
            self._retry(backs_off=error.phase not in _UNSENT)
        else:
            detail = f"{self.service.name}: {error.detail}{self._allowed(error.phase)}"
            is_total = error.phase == "timeout" and self.time_left() <= 0
            proxy_error = "http_response_timeout" if is_total else error.proxy_error
            self._refuse(error.reason, detail, proxy_error=proxy_error)

    def _allowed(self, phase: str) -> str:
        """For a timeout: how long it was, and the key that says so."""
        timeouts = self.handling.timeouts
        if timeouts.keys is None or phase not in ("timeout", "connect_timeout"):
            return ""
        if timeouts.total is not None and self.time_left() <= 0:
            return f" (timeout.total: {timeouts.total:g} s)"
        if phase == "connect_timeout":
            return f" ({timeouts.keys[0]}: {timeouts.connect:g} s)"
        return f" ({timeouts.keys[1]}: {timeouts.response:g} s)"

    def _note_answer(self, instance: Instance, head: ResponseHead, now: float, sent_at: float) -> None:
        """What the head of a response says about its instance."""
        instance.note_answer(self.exchange, head.status, now - sent_at)
        if head.status in host_refusal.REFUSING and self.connection is not None:
            host_refusal.look_at_next(self.connection, self.exchange, instance, self.service, head.status)
        if head.status in _MAY_ASK_FOR_BACKOFF:
            instance.backoff_until = now + seconds_asked_for(head.fields)

    def _is_notable(self, instance: Instance, status: int, content: bytes) -> bool:
        """Whether more than passing it on is to be done with a response of a status from 400 on."""
        if status in host_refusal.REFUSING:
            host_refusal.look_at(self.exchange, instance, self.service, status, content)
        return status >= _NOTABLE_STATUS

    def _note_success(self, instance: Instance) -> None:
        """Nothing was wrong with the response, as far as it came."""
        breaker = instance.breaker
        if breaker is not None and breaker.alert and self.received_status < 500:
            breaker.succeeded()

    def _is_its_fault(self, error: UpstreamError, connection: UpstreamConnection | None) -> bool:
        """Whether a failure says something about the instance: a timeout may also be due to a slow client."""
        if error.phase != "timeout":
            return True
        return self.body_done and connection is not None and not connection.paused

    # ---- 8. retries

    def _may_retry(self, phase: str) -> bool:
        """Whether another attempt is safe, configured, and within bounds.

        A request is safe to retry if it never reached a service, or if its method may be repeated; both only while
        the body received so far is kept.
        """
        retry = self.handling.retry
        unsent = phase in _UNSENT
        wanted = phase == "status" or phase.removesuffix("_timeout") in retry.phases
        if not wanted and phase in retry.elsewhere:
            wanted = any(instance not in self.tried for instance in self.service.available)
        return (
            wanted
            and self.replayable
            and (unsent or self.request.method in retry.methods)
            and self.retries < retry.attempts
            and self.time_left() > 0
            and (unsent or self.service.budget.spend(retry.budget))  # what never arrived is no load: failover
        )

    def _may_ask_another(self, now: float) -> bool:
        """Whether a response whose status is to be retried is dropped for another attempt."""
        if self.hedge is not None and self.hedge.is_under_way:
            return True
        return self.service.has_ready(now) and self._may_retry("status")

    def _choose_again(self, backs_off: bool) -> Instance | None:
        """An untried instance that, with `backs_off`, is not backing off; else one that is not; else any."""
        service, exchange = self.service, self.exchange
        choose = service.choose
        backing_off = service.backing_off(time.monotonic()) if backs_off else []
        untried = service.untried([*self.tried, *backing_off], exchange)
        return untried or choose(backing_off, exchange) or choose((), exchange)

    def _retry(self, backs_off: bool) -> None:
        if self.hedge is not None and self.hedge.is_under_way:
            return
        self.retries += 1
        rounds = self.retries - (self.service.reachable - 1)
        if rounds <= 0:
            self._try_instance(backs_off)
        else:  # every instance was tried: pause first
            pause = min(_PAUSE * 2 ** (rounds - 1), _PAUSE_LIMIT)
            self.waiting = self.loop.call_later(pause, self._try_later, backs_off)

    def _try_later(self, backs_off: bool) -> None:
        self.waiting = None
        try:
            self._try_instance(backs_off)
        except FAULTS:
            contain(self)

    def _forget_body(self) -> None:
        self.replayable = False
        self.kept = []
        self.exchange.content = b""

    # ---- hedging: a second attempt beside the first one

    def _prepare_hedge(self, hedging: Hedging) -> None:
        """Have the request sent to a second instance if the first takes too long."""
        hedging.budget.note_request(self.exchange.started)
        if self._may_be_hedged():
            self.hedge = self.new_hedge(hedging)
            self.hedge.wait()

    def new_hedge(self, hedging: Hedging) -> Hedge:
        """A second attempt, which has not begun."""
        return Hedge(self, hedging, self.loop)

    def _may_be_hedged(self) -> bool:
        is_repeatable = self.request.method in HEDGED and not self.upgrade
        return is_repeatable and self.instance is not None and not self.service.binds(self.exchange)

    @property
    def has_whole_body(self) -> bool:
        """Whether the request's body has arrived, if there is one, and is kept."""
        return self.body_done and self.replayable

    def upstream_silent(self) -> None:
        """The instance takes long: where others respond meanwhile, the request is also sent to one of them."""
        service, instance = self.service, self.instance
        failover = service.failover
        if failover is None or self.hedge is not None or instance is None:
            return
        if not self._may_be_hedged() or not self.has_whole_body:
            return
        if service.is_outdone(instance, self.sent_at):
            self.hedge = self.new_hedge(failover)
            self.hedge.begin(is_free=instance not in service.available)

    def hedge_answered(self, hedge: Hedge, head: ResponseHead) -> None:
        """The hedge was faster: it is the only attempt from here on, unless its response is to be retried."""
        assert hedge.instance is not None
        if self.over:  # a fault kept it from being dropped
            hedge.drop()
            return
        if head.status in self.handling.retry.statuses and (self.instance is not None or self.waiting is not None):
            self._note_answer(hedge.instance, head, time.monotonic(), hedge.sent_at)
            self._end_hedge()
            return
        if self.instance is not None and self.instance.latency is not None and self.connection is not None:
            now = time.monotonic()
            self.instance.latency.note(now - self.sent_at, now)  # at least that long
        if hedge.hedging is self.service.failover and self.instance is not None:
            self.instance.note_failure(self.exchange, time.monotonic() - self.sent_at)
        self.drop()
        hedge.hedging.note_won()
        self.instance, self.connection, self.sent_at = hedge.instance, hedge.connection, hedge.sent_at
        self.reused, self.hedge = False, None
        assert hedge.connection is not None
        hedge.connection.receiver = self
        self.exchange.upstream = hedge.instance.name
        self.response_started(head)

    def hedge_failed(self, error: UpstreamError) -> None:
        """The hedge failed; so may the first attempt have."""
        self.hedge = None
        if self.instance is None and self.waiting is None and not self.over:
            self._go_on(error)

    def _end_hedge(self) -> None:
        hedge, self.hedge = self.hedge, None
        if hedge is not None:
            hedge.drop()

    # ---- ends

    def broke(self) -> None:
        """A bug of ours: only this exchange fails. How much of a response has gone out is unknown."""
        if self.answered:
            self._end_hedge()
            self.break_off(Refusal("internal_error", "the gateway failed on this request"))
        else:
            self._refuse("internal_error", "the gateway failed on this request")

    def break_off(self, refusal: Answer) -> None:
        """End a response that cannot be completed: with another in its place while nothing of it was sent."""
        if self.stream.take_back():
            self.answered = False
            self.answer(refusal)
        else:
            self.exchange.reason = refusal.reason
            self.stream.abort(str(refusal.reason))

    def _refuse_for_want(self) -> None:
        """There is no instance to send the request to."""
        seconds = self.service.opens_in(time.monotonic())
        if seconds is None:
            self._refuse("no_healthy_upstream", f"no instance of {self.service.name} is healthy", (b"Retry-After: 1",))
        else:
            line = b"Retry-After: %d" % max(1, ceil(seconds))
            self._refuse("circuit_open", f"{self.service.name} failed too often and is left alone for a while", (line,))

    def _refuse(self, reason: str, detail: str, lines: tuple[bytes, ...] = (), proxy_error: str | None = None) -> None:
        self.answer(Refusal(reason, detail, lines, proxy_error=proxy_error))

    def answer(self, answer: Answer) -> None:
        """End the exchange with an answer of the gateway's own."""
        if self.hedge is not None:
            self._end_hedge()
        if not self.over:
            send_answer(self.exchange, answer)

    def _leave_service(self, limit: Limit) -> None:
        """Give the permit back, and report how long the service took, or has taken so far."""
        exchange = self.exchange
        if not self.sent_at:
            limit.leave()
        elif self.answered:
            seconds, status = exchange.upstream_seconds or 0.0, self.received_status
            limit.leave(self.sent_at, seconds, status < 500 and status != 429)
        else:
            limit.leave(self.sent_at, time.monotonic() - self.sent_at, answered=False)


_SOON: Final = (b"Retry-After: 1",)
_MAY_ASK_FOR_BACKOFF: Final = (429, 503)
_REFUSED: Final = 400
"""The lowest status of a refusal."""
_NOTABLE_STATUS: Final = 426
"""The lowest status that has to be looked at: it asks for an upgrade, or says something about its instance."""
_UNSENT: Final = ("connect", "connect_timeout")
"""Phases in which nothing of a request has reached a service."""
