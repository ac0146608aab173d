"""Traces: which exchanges have spans, and those spans, in the words of OpenTelemetry and W3C Trace Context.

An exchange has one server span, and a client span for each try at a service. Whether it has any is decided when it
begins, by its caller's context or by its trace's id; one that has none pays for that decision only.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import getrandbits
from typing import Any, Final, TypeAlias

from portico.core.clients import parsed
from portico.core.errors import REASONS
from portico.core.exchange import Exchange, RouteMatch
from portico.core.messages import Fields
from portico.core.questions import Question
from portico.core.trace_context import RANDOM, SAMPLED, TraceContext, trace_context
from portico.observe.families import DURATION_BOUNDS
from portico.observe.otlp import spans

logger: Final = logging.getLogger("portico.tracing")

fromhex: Final = bytes.fromhex

_ALL: Final = 1 << 56
"""Values of the part of a trace's id that is random (W3C Trace Context, level 2)."""
_MOST_TRIES: Final = 64
"""Client spans that one exchange has, at most."""
_MOST_PARTS: Final = 4096
"""Parts of spans that are remembered."""
_LONGEST_REMEMBERED: Final = 512
"""Bytes that clients chose in such a part, at most."""
_EXEMPLARS_APART: Final = 0.01
_SLOW: Final = 0.1
"""Seconds between two exchanges of a service that become exemplars; slower ones than the second value always do."""
_FAILED: Final = 400
"""The lowest status of a try that has failed."""
_LEFT: Final = 499
"""The status in the log of an exchange whose client left before there was any."""
_OWN: Final = "gateway"
"""What stands for a service where the gateway answers itself."""
_TOGETHER: Final = 64
"""Spans that are made at once."""
_USER_AGENT: Final = b"user-agent"


Over: TypeAlias = "tuple[Trace, Exchange, float, bytes, int, Fields | None]"
"""An exchange that ended at that monotonic time; the host, version and fields of its request, if there was one."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which exchanges are recorded.

    `share` is that of those without a context that decides. With `follows_parents` the sampled flag of one that is
    believed decides. Contexts of clients that are no trusted proxies are left out, or joined, and with
    `believes_clients` their flags decide, too.
    """

    share: float = 1.0
    follows_parents: bool = True
    joins_clients: bool = False
    believes_clients: bool = False

    @property
    def threshold(self) -> str:
        """The least of the last 14 digits of a trace's id that is recorded (OpenTelemetry, "Probability sampling")."""
        return f"{round((1 - self.share) * _ALL):014x}" if self.share else "g"

    @property
    def state(self) -> bytes:
        """What traces that begin here say of that in `tracestate`; nothing where all or none are recorded."""
        if self.share in (0, 1):
            return b""
        return b"ot=th:" + self.threshold.rstrip("0").encode()


@dataclass(slots=True)
class Exemplars:
    """The last exchange that was recorded, by service, method and bucket of its duration."""

    last: dict[tuple[str, str], dict[int, tuple[str, str, float, float]]] = field(default_factory=dict)

    def note(self, service: str, method: str, seconds: float, trace_id: str, span_id: str, now: float) -> None:
        """Remember one; uncommon methods share a label, as in the counters."""
        key = service, method if method in spans.METHODS else "OTHER"
        bucket = bisect_left(DURATION_BOUNDS, seconds)
        self.last.setdefault(key, {})[bucket] = trace_id, span_id, seconds, now

    def dump(self) -> list[list[Any]]:
        """As plain data: service, method, bucket, ids, seconds, and when (seconds since the epoch)."""
        return [[*key, bucket, *found] for key, buckets in self.last.items() for bucket, found in buckets.items()]


class Tracer:
    """Begins traces, and hands spans to `export` as bytes. It lasts as long as its process, through all reloads.

    Spans are made of many exchanges at once, when the processor has what that takes in its caches: one by one it would
    cost twice as much. `later` calls something soon on the event loop.
    """

    def __init__(self, later: Callable[[Callable[[], None]], object]) -> None:
        self.export: Callable[[bytes], None] = _nowhere
        self.routes: Mapping[str, str] = {}
        """The paths of the routes of the configuration, by their names, as it has them."""
        self.exemplars = Exemplars()
        self._later = later
        self._over: list[Over | Try] = []
        """What has ended, and is no span yet."""
        self._is_planned = False
        self._exemplar_at: dict[str, float] = {}
        """When the next exchange of a service becomes an exemplar, at the earliest."""
        self._server_parts: dict[tuple[Any, ...], bytes] = {}
        self._client_parts: dict[tuple[Any, ...], bytes] = {}
        self._ends: dict[tuple[Any, ...], bytes] = {}
        self.sample(Sampling())

    def sample(self, sampling: Sampling) -> None:
        """Decide in this way from now on."""
        self.flush()
        self._server_parts.clear()  # routes may have changed
        self._exemplar_at.clear()
        self.sampling = sampling
        self.threshold = sampling.threshold
        self.joins_clients = sampling.joins_clients or sampling.believes_clients
        self.state_line = (b"\r\ntracestate: " + sampling.state) if sampling.state else b""
        """What follows `traceparent` where a trace begins here."""

    def begin(self, exchange: Exchange) -> Trace | None:
        """The trace of an exchange whose ids are known; None where nothing is recorded, nor has to be said of it."""
        request, context = exchange.request, None
        if request is not None and (exchange.trusted or self.joins_clients):
            context = trace_context(request.fields)
        if context is None:
            return Trace(self, exchange.trace_id, None) if exchange.trace_id[18:] >= self.threshold else None
        exchange.trace_id = context.trace_id
        sampling = self.sampling
        if sampling.follows_parents and (exchange.trusted or sampling.believes_clients):
            is_recorded = bool(context.flags & SAMPLED)
        else:  # a client may choose ids that would be recorded
            is_recorded = f"{getrandbits(56):014x}" >= self.threshold
        if not is_recorded and exchange.trusted and not context.flags & SAMPLED:
            return None  # its context passes as it came
        return Trace(self, exchange.trace_id, context, is_recorded=is_recorded)

    # ---- what has ended

    def finish(self, trace: Trace, exchange: Exchange) -> None:
        """An exchange is over. What its connection uses again for the next one is read now."""
        request = exchange.request
        now = time.monotonic()
        ended = exchange.ended or now
        if request is None:
            self.note((trace, exchange, ended, b"", 0, None))
        else:
            self.note((trace, exchange, ended, request.host, request.version, request.fields))
        service = _service_of(exchange.match)
        if now >= self._exemplar_at.get(service, 0.0) or now - exchange.started > _SLOW:
            self._exemplar_at[service] = now + _EXEMPLARS_APART
            self._note_exemplar(trace, exchange, service, ended - exchange.started)

    def _note_exemplar(self, trace: Trace, exchange: Exchange, service: str, seconds: float) -> None:
        self.exemplars.note(service, exchange.method, seconds, trace.trace_id, trace.span_id, time.time())

    def note(self, over: Over | Try) -> None:
        """Something has ended."""
        self._over.append(over)
        if len(self._over) >= _TOGETHER:
            self.flush()
        elif not self._is_planned:
            self._is_planned = True
            self._later(self._flush_planned)

    def _flush_planned(self) -> None:
        self._is_planned = False
        self.flush()

    def flush(self) -> None:
        """Make spans of all that has ended."""
        ended, self._over = self._over, []
        then = time.time_ns() - int(time.monotonic() * 1e9)
        for over in ended:
            try:
                span = self._server_span(over, then) if isinstance(over, tuple) else self._client_span(over, then)
            except Exception:  # no span may keep those behind it from being made
                logger.exception("a span could not be made")
                continue
            if span:
                self.export(span)

    def _server_span(self, over: Over, then: int) -> bytes:
        """The span of an exchange; `then` is when the monotonic time began, in nanoseconds since the epoch."""
        trace, exchange, ended, host, version, fields = over
        match, client, context = exchange.match, exchange.stream.client, trace.context
        handling, route = match.handling, None if match.route is None else match.route.name
        service = _service_of(match)
        if service == _OWN and context is None and route not in self.routes:
            return b""  # monitors ask for the gateway's own paths all the time
        secure, trace_id = client.secure, trace.trace_id
        key = (
            *(exchange.method, route, service, exchange.status, exchange.reason, exchange.cache),
            *(version, secure, None if handling is None else handling.version),
        )
        pieces = [
            spans.ids(
                fromhex(trace_id),
                fromhex(trace.span_id),
                b"" if context is None else fromhex(context.parent),
                then + int(exchange.started * 1e9),
                then + int(ended * 1e9),
                trace.flags,
                is_remote=context is not None,
            ),
            self._server_parts.get(key) or self._server_part(key),
            spans.url_path(match.path),
        ]
        if context is not None and context.states:
            pieces.append(spans.trace_state(context.states))
        if exchange.request_id != trace_id:
            pieces.append(spans.request_id(exchange.request_id))
        agent = b""
        if fields is not None:
            if len(exchange.query) > 1:
                pieces.append(spans.url_query(trace.plain_query(exchange.query)))
            names = fields.names
            if _USER_AGENT in names:
                agent = fields.lines[names.index(_USER_AGENT)]
        who = exchange.client_ip, client.address, host, client.local_port, secure, agent
        pieces.append(self._ends.get(who) or self.ends_part(*who))
        return spans.whole(pieces)

    def ends_part(self, *who: Any) -> bytes:
        """What a span says of who asked whom (`spans.ends_part`), remembered unless clients made it long."""
        *_, host, _, _, agent = who
        made = spans.ends_part(*who)
        return _remember(self._ends, who, made) if len(host) + len(agent) <= _LONGEST_REMEMBERED else made

    def _server_part(self, key: tuple[Any, ...]) -> bytes:
        """What server spans have in common of exchanges that went alike."""
        method, route, service, status, reason, cache, version, secure, of_service = key
        status = 0 if status == _LEFT and reason is not None else status  # a service may answer so, too
        is_failed = status >= 500 or (reason is not None and REASONS.get(reason, 0) >= 500)
        made = spans.server_part(
            method,
            self.routes.get(route),
            route,
            service,
            status,
            reason,
            is_failed,
            f"1.{version - 10}" if version else "",
            "https" if secure else "http",
            cache,
            of_service,
        )
        return _remember(self._server_parts, key, made)

    def _client_span(self, over: Try, then: int) -> bytes:
        """The span of a try."""
        trace, exchange, instance = over.trace, over.exchange, over.instance
        address, question = instance.address, over.question
        if question is None:
            method, target, query = exchange.method, over.match.target, exchange.query
        else:
            method, target, query = question.method.decode(), question.target, b""
        is_cancelled = over.is_given_up and over.error is None and over.status < _FAILED
        key = (
            *(method, instance.name, over.peer, over.service, over.status),
            *(spans.CANCELLED if is_cancelled else over.error, over.resend),
            over.role,
        )
        pieces = [
            spans.ids(
                fromhex(trace.trace_id),
                fromhex(over.id),
                fromhex(trace.span_id),
                then + int(over.began * 1e9),
                then + int(over.ended * 1e9),
                trace.flags,
            ),
            self._client_parts.get(key) or self._client_part(key, address),
            spans.url_full(
                spans.origin_of(address.authority, address.tls is not None),
                target,
                trace.plain_query(query) if len(query) > 1 else b"",
            ),
        ]
        return spans.whole(pieces)

    def _client_part(self, key: tuple[Any, ...], address: Any) -> bytes:
        """What client spans have in common of tries that went alike."""
        method, _, peer, service, status, error, resend, role = key
        error = error or (None if status else spans.CANCELLED)
        host, port = address.host or address.path, address.port
        peer = peer or (host if parsed(host) is not None and status else "")
        made = spans.client_part(method, host, port, peer, service, status, error, resend, role)
        return _remember(self._client_parts, key, made)


def _remember(parts: dict[tuple[Any, ...], bytes], key: tuple[Any, ...], made: bytes) -> bytes:
    if len(parts) >= _MOST_PARTS:
        parts.clear()
    parts[key] = made
    return made


def _service_of(match: RouteMatch) -> str:
    """As the counters have it."""
    if match.handling is not None:
        name: str = match.handling.service_name
        return name
    return _OWN if match.route is not None else "none"


def _nowhere(span: bytes) -> None:
    """Before there is an exporter."""


def trace_of(exchange: Exchange) -> Trace | None:
    """What was decided about an exchange; None also for one that began before traces were wanted."""
    return getattr(exchange, "trace", None)


class Trace:
    """What an exchange has to do with its trace; it may outlive the exchange, for what goes on without its client.

    In a trace that begins here the halves of its id, which is random, are the ids of the exchange's span and of its
    first try's: nothing else in the trace can have them.
    """

    # fmt: off
    __slots__ = ("_query", "context", "flags", "is_recorded", "span_id", "trace_id", "tracer", "tries", "trying")
    # fmt: on

    def __init__(
        self, tracer: Tracer, trace_id: str, context: TraceContext | None, *, is_recorded: bool = True
    ) -> None:
        self.tracer = tracer
        self.trace_id = trace_id
        self.context = context
        self.is_recorded = is_recorded
        if context is None:
            self.span_id = trace_id[:16]
            self.flags = RANDOM | SAMPLED
        else:
            self.span_id = f"{getrandbits(64):016x}"
            self.flags = context.flags & RANDOM | (SAMPLED if is_recorded else 0)
        self.tries = 0
        self.trying: dict[Any, Try] = {}
        """The tries that are under way, by instance."""
        self._query: bytes | None = None

    def plain_query(self, query: bytes) -> bytes:
        """That of the exchange without what is secret, made once for all spans."""
        if self._query is None:
            self._query = spans.plain_query(query)
        return self._query

    def begin_try(self, exchange: Exchange, instance: Any, service: str) -> Try:
        """The span of a try at an instance: the one that has begun there, or a new one."""
        found = self.trying.get(instance)
        if found is None:
            found = self.trying[instance] = Try(self, exchange, instance, service)
            self.tries += 1
        return found

    def first_try(self, exchange: Exchange, instance: Any, service: str) -> None:
        """The same for an instance at which none is under way."""
        self.trying[instance] = Try(self, exchange, instance, service)
        self.tries += 1

    def end_try(self, instance: Any, ended: float = 0.0) -> None:
        """A try is over, at that monotonic time or now."""
        found = self.trying.pop(instance, None)
        if found is not None and self.tries <= _MOST_TRIES:
            found.ended = ended or time.monotonic()
            self.tracer.note(found)

    def begin_question(self, question: Question, instance: Any) -> Try:
        """The span of what a policy asks before the exchange goes on; that has ended with `Try.is_over`."""
        assert question.exchange is not None
        asked = Try(self, question.exchange, instance, "auth.forward")
        asked.question, asked.role, asked.resend = question, "auth", 0
        asked.id = f"{getrandbits(64):016x}"
        return asked

    def lines(self, exchange: Exchange, instance: Any, service: str) -> bytes:
        """`traceparent` for an instance, and `tracestate` where that is missing; without the last line end."""
        context = self.context
        if self.is_recorded:
            parent = self.begin_try(exchange, instance, service).id
        else:
            parent = context.parent if context is not None else self.span_id
        line = f"traceparent: 00-{self.trace_id}-{parent}-{self.flags:02x}".encode()
        if context is None:
            return line + self.tracer.state_line
        if exchange.trusted:  # its tracestate passes as it came
            return line
        return line + b"".join([b"\r\ntracestate: " + state for state in context.states])


class Try:
    """One client span, from the choice of an instance until that is left."""

    role = ""
    """What else it is than the one try at a time: a hedge, a copy for a mirror, or a question of a policy."""
    question: Question | None = None
    is_usual = False
    """Whether a composed head says what is right about it, but for the flags."""
    peer = ""
    """The address to which its connection is, where that is known."""
    status = 0
    error: str | None = None
    ended = 0.0
    is_given_up = False
    """Whether it was left before its end: another was faster, or the client has gone."""

    def __init__(self, trace: Trace, exchange: Exchange, instance: Any, service: str) -> None:
        self.trace = trace
        self.exchange, self.match = exchange, exchange.match  # another service may be asked later
        self.instance = instance
        self.service = service
        self.began = time.monotonic()
        self.resend = resend = trace.tries
        if not resend and trace.context is None:
            self.id = trace.trace_id[16:]
            self.is_usual = not trace.tracer.state_line
        else:
            self.id = f"{getrandbits(64):016x}"

    @property
    def line(self) -> bytes:
        """`traceparent` for whom it asks."""
        return f"traceparent: 00-{self.trace.trace_id}-{self.id}-{self.trace.flags:02x}".encode()

    def is_over(self) -> None:
        """It is, now."""
        self.ended = time.monotonic()
        self.trace.tracer.note(self)

    def is_copy(self) -> None:
        """It is for a mirror: nothing is sent again."""
        self.role, self.resend = "mirror", 0
        self.trace.tries -= 1
