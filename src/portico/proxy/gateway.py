"""The request pipeline: identify, route, apply policies, forward, observe. The numbers are docs/life-of-a-request's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from os import urandom
from random import getrandbits
from time import time as wall_clock
from typing import Final

from portico.core.errors import REASONS, Answer, MessageError, Refusal
from portico.core.exchange import Exchange, Handler, RouteMatch, Stream
from portico.core.messages import RequestHead
from portico.observe.access_log import AccessRecord, Log, Timestamps
from portico.observe.log_fields import Detail
from portico.observe.metrics import Metrics
from portico.observe.tracing import Tracer
from portico.policies import Pending, Policy, awaited
from portico.policies.error_pages import ErrorPages
from portico.policies.policy import WholeBody
from portico.proxy.admission import SOON, admit, fail, queue
from portico.proxy.answer import send_answer
from portico.proxy.aside import Aside, Explains
from portico.proxy.headers.forwarded import Network, Peer, believed_request_id, believed_trace_id, client_behind
from portico.proxy.overload import Overload
from portico.proxy.routing.matcher import Matcher
from portico.proxy.routing.route import Handling
from portico.proxy.waiting import SMALL, WaitingForBody, WaitingForContent, WaitingForVerdict

_NO_SERVICE: Final = "none"
_OWN_SERVICE: Final = "gateway"
_IDS_AT_ONCE: Final = 256
LONGEST_HOST: Final = 255
"""Bytes of a Host field that are logged: names of hosts are no longer (RFC 1035, section 2.3.4)."""


def _refuse_overload(exchange: Exchange) -> Refusal:  # noqa: ARG001
    """The last policy of a request that is one too many."""
    return Refusal("overloaded", "the gateway has too much to do; try again soon", SOON)


def _may_be_behind(exchange: Exchange) -> bool:
    """Whether a small body is still to come."""
    return 0 < exchange.request.framing <= SMALL and not exchange.content  # type: ignore[union-attr]


def _some_ids() -> list[str]:
    """Names for requests, 32 random hexadecimal digits each: made one by one they would cost more than a policy.

    Raises nothing: the iterator over them would be exhausted for good.
    """
    try:
        digits = urandom(16 * _IDS_AT_ONCE).hex()
        return [digits[start : start + 32] for start in range(0, len(digits), 32)]
    except Exception:
        return [f"{getrandbits(128):032x}"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that configuration decides, compiled; a request sees one from its start to its end."""

    generation: int
    matcher: Matcher
    trusted_proxies: Sequence[Network]
    reads_forwarded: bool
    """Whether these report clients by `Forwarded` rather than by `X-Forwarded-*`."""
    pages: ErrorPages | None = None
    """What is answered with where no route is found."""
    matchers: Mapping[str, Matcher] = field(default_factory=dict)
    """Those of listeners, by their names, where there are several; `matcher` is that of the first."""

    @property
    def all_matchers(self) -> list[Matcher]:
        """The distinct ones, in the order of their listeners."""
        return list(dict.fromkeys([self.matcher, *self.matchers.values()]))

    def at(self, listener: str) -> Snapshot:
        """The same for the requests of one listener. Raises KeyError where there are others."""
        return replace(self, matcher=self.matchers[listener])


class Gateway:
    """The `Handler` behind every connection of a worker."""

    listener = ""
    """Its name, where there are several."""
    explains: Explains | None = None
    """What explains requests to clients that ask for it; None: nobody is told."""

    def __init__(
        self,
        snapshot: Snapshot,
        metrics: Metrics,
        log: Log | None,
        log_from: int,
        loop: asyncio.AbstractEventLoop,
        overload: Overload | None = None,
        details: Sequence[Detail] = (),
    ) -> None:
        """`details` add to the records of the `log`."""
        self.snapshot = snapshot
        self.metrics = metrics
        self.overload = overload or Overload()
        self._count = metrics.observe
        self._details = details
        self._ending: Exchange | None = None
        """The exchange whose record comes next, where there is something to add to it."""
        self._spanned: tuple[Callable[[AccessRecord], None], str]
        """What takes the record that comes next, and the id of its span."""
        self.log_to(log, log_from)
        self._loop = loop
        self._tracer: Tracer | None = None
        self.trace(None)
        self.watch(())
        self._timestamp_at = Timestamps().at
        self._ids = chain.from_iterable(iter(_some_ids, None))

    # ---- the wire's calls: Handler

    def begin_refused(self, stream: Stream, request: RequestHead, error: MessageError, now: float) -> None:
        """Run the pipeline up to the end of the policies, and refuse there."""
        self.begin(stream, request, b"", now, lambda _: Refusal(error.reason, error.detail))

    def body_limit(self, request: RequestHead) -> int | None:
        """That of the request's route."""
        try:
            match = self.snapshot.matcher.find(request, request.target.partition(b"?")[0])
        except MessageError:
            return None
        if isinstance(match, Answer):
            return None
        if match.versions is not None:
            match, _ = match.versions.of(request)
        limit: int | None = None if match.handling is None else match.handling.body_limit
        return limit

    def begin(
        self, stream: Stream, request: RequestHead, content: bytes, now: float, refusal: Policy | None = None
    ) -> None:
        """Run the request pipeline, as far as that goes without waiting.

        `refusal` is what the last policy says, where the request cannot be forwarded anyway.
        """
        exchange = Exchange(stream, request, self.on_end, content, now)
        stream.receiver = exchange
        exchange.method = request.method_name
        try:
            self.identify(exchange, stream, request)
            path, mark, query = request.target.partition(b"?")  # 4. Route.
            exchange.query = mark + query
            match = self.snapshot.matcher.find(request, path)
            if isinstance(match, Answer):
                exchange.match = RouteMatch.nowhere(path, self.snapshot.pages)
                exchange.finish = partial(self._finish_nowhere, exchange.finish)
                send_answer(exchange, match)
                return
            exchange.match = match
            handling = match.handling
            if handling is None and match.versions is not None:
                match, unknown = match.versions.of(request)
                exchange.match, handling, refusal = match, match.handling, unknown or refusal
            if handling is None:
                send_answer(exchange, match.route.answer())
            elif stream.server.in_flight > self.overload.threshold and self._is_too_much(stream, handling, exchange):
                self._pass_policies(exchange, handling, (*handling.marks, _refuse_overload))  # a page may read it
            elif refusal is None:
                self._pass_policies(exchange, handling, handling.policies)
            else:
                self._pass_policies(exchange, handling, (*handling.policies, refusal))
        except MessageError as error:
            exchange.match = RouteMatch.nowhere(request.target.partition(b"?")[0], self.snapshot.pages)
            send_answer(exchange, Refusal(error.reason, error.detail))
        except Exception:
            fail(exchange)

    def refuse(self, stream: Stream, error: MessageError, seen: bytes) -> None:
        """Answer bytes that are no request."""
        exchange = Exchange(stream, None, self.on_end)
        stream.receiver = exchange
        exchange.trace_id = exchange.request_id = next(self._ids)
        exchange.client_ip = stream.client.address
        if self._tracer is not None:
            self._begin_trace(exchange, self._tracer)
        words = seen[: seen.find(b"\r\n")].split(b" ", 3) if b"\r\n" in seen else []
        exchange.method = "-"
        if len(words) == 3:
            exchange.method = words[0].decode("ascii", "backslashreplace")[:32]
            exchange.match = RouteMatch.nowhere(words[1].partition(b"?")[0][:512], self.snapshot.pages)
        lines = SOON if error.reason == "overloaded" else ()
        send_answer(exchange, Refusal(error.reason, error.detail, lines))

    # ---- the steps

    def _identify(self, exchange: Exchange, stream: Stream, request: RequestHead) -> None:
        """3. Find the client, and the ids of the request."""
        exchange.trace_id = exchange.request_id = next(self._ids)
        networks = self.snapshot.trusted_proxies
        client = stream.client
        peer = client.peer
        if peer is None or peer.networks is not networks:
            peer = client.peer = Peer(client, networks, self.snapshot.reads_forwarded)
        exchange.trusted = peer.trusted
        exchange.client_ip = peer.client_ip
        if peer.trusted:
            exchange.client_ip = client_behind(request.fields, peer, networks)
            exchange.request_id = believed_request_id(request.fields) or exchange.request_id
            exchange.trace_id = believed_trace_id(request.fields) or exchange.trace_id

    def _pass_policies(self, exchange: Exchange, handling: Handling, policies: Iterable[Policy]) -> None:
        """5. Apply the policies in order; only one that has to wait costs a task. 6. Forward, within the limit."""
        following = iter(policies)
        for policy in following:
            verdict = policy(exchange)
            if verdict is None:
                continue
            if isinstance(verdict, Answer):
                send_answer(exchange, verdict)
                return
            if not isinstance(verdict, Pending):
                verdict = self._await(exchange, verdict)
            for hold in handling.holds:
                hold(exchange)
            go_on = partial(self._pass_policies, exchange, handling, following)
            if isinstance(verdict, WholeBody):
                WaitingForBody(exchange, verdict, go_on, fail)
            else:
                WaitingForVerdict(exchange, verdict, go_on, fail)
            return
        if exchange.request.framing and _may_be_behind(exchange):  # type: ignore[union-attr]
            WaitingForContent(exchange, partial(self._forward, exchange, handling), fail, self._loop)
            return
        forwarding = handling.forward(exchange, handling, self._loop)
        limit = forwarding.service.limit
        if limit is None or limit.enter():
            forwarding.start()
        else:
            queue(exchange, forwarding, limit, self._loop)

    def _forward(self, exchange: Exchange, handling: Handling) -> None:
        """6. The same, after a wait for a small body."""
        admit(exchange, handling.forward(exchange, handling, self._loop), self._loop)

    def finish(self, exchange: Exchange, failure: str | None) -> None:
        """9. Observe the exchange, once, whatever happened."""
        exchange.content = b""  # a connection remembers its last exchange
        exchange.view = None  # the two refer to each other: only the collector would free them
        seconds = (exchange.ended or time.monotonic()) - exchange.started
        if failure is not None:
            exchange.reason = exchange.reason or failure
            exchange.status = exchange.status or REASONS.get(failure, 499)
        status = exchange.status
        match = exchange.match
        handling = match.handling
        upstream_seconds = exchange.upstream_seconds
        if handling is None:
            service, version = _OWN_SERVICE if match.route else _NO_SERVICE, None
        else:
            service, version = handling.service_name, handling.version
            if version is not None:
                self.metrics.observe_version(service, version)
            if handling.side is not None:
                handling.side.observe(exchange, status, seconds, upstream_seconds)
        if status != 101:
            self._count(service, exchange.method, status, seconds, upstream_seconds)
        else:  # the duration of a tunnel is no latency
            self._count(service, exchange.method, status, upstream_seconds or seconds, upstream_seconds)
            self.metrics.observe_tunnel(service, exchange.stream.bytes_in, exchange.stream.bytes_out)
        if exchange.attempts > 1:
            self.metrics.retries[service] = self.metrics.retries.get(service, 0) + exchange.attempts - 1
        if exchange.reason is not None:
            self.metrics.observe_error(service, exchange.reason)
        if self._add_record is not None and status >= self._log_from:
            route = match.route
            self._add_record(
                AccessRecord(
                    self._timestamp_at(wall_clock()),
                    exchange.method,
                    match.path,
                    exchange.client_ip,
                    status,
                    seconds * 1e6 // 1 / 1000,
                    exchange.request_id,
                    exchange.trace_id,
                    service,
                    route.name if route is not None else None,
                    exchange.upstream,
                    None if upstream_seconds is None else upstream_seconds * 1e6 // 1 / 1000,
                    exchange.attempts,
                    exchange.stream.bytes_in,
                    exchange.stream.bytes_out,
                    exchange.consumer,
                    exchange.cache,
                    exchange.reason,
                    exchange.shadow,
                    version,
                    exchange.upstream_error,
                    cost=getattr(exchange, "costs", None),
                )
            )

    # ---- off the main path

    def beside(self, lines: Sequence[bytes]) -> Handler:
        """What gets a request whose client has said these lines to the gateway itself."""
        return Aside(self, lines)

    def probe(self, stream: Stream, request: RequestHead) -> Exchange:
        """An exchange that nobody observes, about which policies may be asked."""
        exchange = Exchange(stream, request, lambda *_: None)
        exchange.method = request.method_name
        exchange.query = b"".join(request.target.partition(b"?")[1:])
        self._identify(exchange, stream, request)
        return exchange

    def log_to(self, log: Log | None, log_from: int) -> None:
        """Have this log take the records of exchanges that end from now on, with this status or above."""
        self._log, self._log_from = log, log_from
        self._add_record = None if log is None else self._add_detailed if self._details else log.add

    def watch(self, watchers: Sequence[Callable[[Exchange], None]]) -> None:
        """Have these called with every exchange that has been observed; without any, they cost nothing."""
        self._watchers = watchers
        self.on_end: Callable[[Exchange, str | None], None] = (
            self._finish_watched if watchers or self._details else self.finish
        )

    def trace(self, tracer: Tracer | None) -> None:
        """Have exchanges that begin from now on recorded by a tracer; without one, that costs nothing."""
        self._tracer = tracer
        self.identify: Callable[[Exchange, Stream, RequestHead], None] = (
            self._identify if tracer is None else self._identifying(tracer)
        )

    def _identifying(self, tracer: Tracer) -> Callable[[Exchange, Stream, RequestHead], None]:
        """3. The same, and whether it is recorded."""
        identify, begin, threshold, joins = self._identify, self._begin_trace, tracer.threshold, tracer.joins_clients

        def identify_traced(exchange: Exchange, stream: Stream, request: RequestHead) -> None:
            identify(exchange, stream, request)
            exchange.trace = None
            if exchange.trace_id[18:] >= threshold or joins or exchange.trusted:
                begin(exchange, tracer)

        return identify_traced

    def _begin_trace(self, exchange: Exchange, tracer: Tracer) -> None:
        trace = exchange.trace = tracer.begin(exchange)
        if trace is not None and trace.is_recorded:
            exchange.finish = self._finish_traced

    def _finish_traced(self, exchange: Exchange, failure: str | None) -> None:
        """9. Observe the exchange; its record in the log names its span."""
        trace, add = exchange.trace, self._add_record
        if add is None:
            self.on_end(exchange, failure)
        else:
            self._spanned = add, trace.span_id
            self._add_record = self._add_spanned
            try:
                self.on_end(exchange, failure)
            finally:
                self._add_record = add
        trace.tracer.finish(trace, exchange)

    def _add_spanned(self, record: AccessRecord) -> None:
        add, record.span_id = self._spanned
        add(record)

    def _finish_nowhere(
        self, finish: Callable[[Exchange, str | None], None], exchange: Exchange, failure: str | None
    ) -> None:
        """9. Observe an exchange that has no route; its record in the log says for which host it was."""
        add = self._add_record
        if add is not None:
            self._add_record = partial(self._add_with_host, add, exchange)
        try:
            finish(exchange, failure)
        finally:
            self._add_record = add

    def _add_with_host(self, add: Callable[[AccessRecord], None], exchange: Exchange, record: AccessRecord) -> None:
        if exchange.request is not None and exchange.request.host:
            record.host = exchange.request.host[:LONGEST_HOST].decode("latin-1")
        add(record)

    def _finish_watched(self, exchange: Exchange, failure: str | None) -> None:
        self._ending = exchange
        try:
            self.finish(exchange, failure)
        finally:
            self._ending = None
        for watch in self._watchers:
            watch(exchange)

    def _add_detailed(self, record: AccessRecord) -> None:
        assert self._log is not None
        if self._ending is not None:
            for add in self._details:
                add(record, self._ending)
        self._log.add(record)

    def _is_too_much(self, stream: Stream, handling: Handling, exchange: Exchange) -> bool:
        """Whether a request exceeds the limits; tunnels do not count, the gateway's own paths are never refused."""
        load = stream.server
        if handling.service_name == _OWN_SERVICE or not self.overload.refuses(load.in_flight - load.tunnels):
            return False
        return handling.first_contact is None or not handling.first_contact(exchange)

    def _await(self, exchange: Exchange, verdict: Awaitable[Answer | None]) -> Pending:
        """Wait for a policy's verdict in a task."""
        return awaited.Awaited(verdict, self._loop, awaited.TIMEOUT, partial(awaited.refuse_failed, exchange))
