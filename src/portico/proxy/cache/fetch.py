"""Fetching for the cache: a forwarding whose response is also stored, and shared with those that wait for it.

It serves its own client as every forwarding does, and goes on without it where others need the response. The cache
serves the client in its place where the service has confirmed or cannot replace what is stored.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange, Sink
from portico.core.faults import FAULTS
from portico.core.messages import UNTIL_CLOSE, ResponseHead
from portico.proxy.cache.flights import Act, Flight, FlightKey, go_on_alone, look_again
from portico.proxy.cache.freshness import Arrival
from portico.proxy.cache.lookup import MISS, REVALIDATED, Failure, Lookup
from portico.proxy.cache.ranges import whole_head
from portico.proxy.cache.recording import Recording
from portico.proxy.cache.refresh import without_client
from portico.proxy.cache.serving import may_replace_error
from portico.proxy.cache.status import forward_line
from portico.proxy.cache.stored import Stored, body_of
from portico.proxy.cache.storing import Decision, decide
from portico.proxy.cache.validation import CONDITIONS, after_head, chosen_by, refreshed, validating_lines
from portico.proxy.compose import edited_head
from portico.proxy.filtered import FilteredForwarding
from portico.proxy.forward import Forwarding
from portico.proxy.hooked import HookedForwarding
from portico.proxy.routing.route import Compose, Handling
from portico.upstreams.instance import Instance

if TYPE_CHECKING:
    from portico.proxy.cache.redis_writer import RedisWriter

logger: Final = logging.getLogger("portico.cache")

REPLACED: Final = frozenset({500, 502, 503, 504})
"""Statuses in whose place a stale response may be served (RFC 5861, section 4)."""
_ERRORS: Final = 500
_PARTIAL: Final = 206
_NOT_MODIFIED: Final = 304


class Fetching(Forwarding):
    """Mixed into the forwarding that a route has."""

    flight_key: FlightKey | None
    """What others ask for that may wait for this response; None: nobody may."""
    client_finish: Callable[[Exchange, str | None], None]
    client_lines: tuple[bytes, ...]
    """What policies add to the response."""
    purged: int
    """The last purge when it was begun."""

    # Most fetches never have another value of these: they need not be set for each.
    flight: Flight | None = None
    """Those who wait."""
    recording: Recording | None = None
    """The response, while it arrives and is to be stored or shared."""
    writer: RedisWriter | None = None
    """Where it is stored meanwhile, if that is not in memory."""
    validating: Sequence[Stored] = ()
    """What the service is asked about."""
    validated: ResponseHead | None = None
    """The 304 that came of it."""
    born = 0.0
    """When it was begun (wall clock); 0: it was not."""
    is_detached = False
    """Whether it has no client any more."""
    is_counted = False
    """Whether the outcome for its client is counted."""
    is_settled = False
    """Whether those who wait know what becomes of them."""
    is_held = False
    is_client_slow = False

    @cached_property
    def lookup(self) -> Lookup:
        """The request for which it was begun."""
        raise NotImplementedError

    def prepare(self, lookup: Lookup, flight_key: FlightKey | None, *, is_detached: bool = False) -> None:
        """Set what a forwarding does not have."""
        exchange = self.exchange
        self.lookup = lookup
        self.flight_key = flight_key
        if is_detached:
            self.is_detached = self.is_counted = True
        self.purged = lookup.cache.purges.number
        self.client_finish = exchange.finish
        self.client_lines = exchange.response_lines
        exchange.finish = self._client_finished

    def start(self) -> None:
        lookup = self.lookup
        self.born, self.purged = time.time(), lookup.cache.purges.number
        if lookup.found is not None:
            self._validate(lookup.found)
        super().start()

    def _validate(self, found: Stored) -> None:
        """Have the service asked whether what was found still holds, if that has a validator.

        Not about other variants: services that number versions use the same tags for other askers and codings.
        """
        lines = validating_lines([found])
        if lines:
            self.validating = [found]
            self._send_conditions(lines)

    def _send_conditions(self, lines: Sequence[bytes]) -> None:
        """Send these conditions in place of the client's own."""
        handling = self.lookup.handling
        self.handling = replace(handling, compose=_with_conditions(handling.compose, lines))

    # ---- the response

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:
        status = head.status
        if self.validating or self.is_detached or (status >= _ERRORS and self.lookup.found is not None):
            return False  # step by step
        decision = self._decide(head, now, len(content))
        self._mark(decision)
        self.is_settled = True  # below; not by the end of the client's exchange
        try:
            is_taken = super().response_whole(head, content, now)
        except BaseException:
            self.is_settled = False
            raise
        self.is_settled = False
        if not is_taken:
            return False
        if decision.stored is None:
            self._refuse_others(decision)
        else:
            self._share_whole(decision.stored, content)
        return True

    def forward_head(self, head: ResponseHead, now: float) -> None:
        if head.status == _NOT_MODIFIED and self.validating:
            self.validated = head  # its end frees the connection; the client is answered then
            return
        if head.status in REPLACED and self._serve_stale_for(head):
            return
        decision = self._decide(head, now, head.framing)
        if decision.stored is not None and self._is_head():
            decision = Decision(None)
        if decision.stored is None:
            self._refuse_others(decision)
            self._forward_unshared(head, decision, now)
        else:
            self._forward_shared(head, decision.stored, now)

    def _forward_unshared(self, head: ResponseHead, decision: Decision, now: float) -> None:
        """The response is its client's alone."""
        if self.is_detached:
            self.drop_connection()
            self.stream.end()
            return
        self._mark(decision)
        super().forward_head(head, now)

    def _forward_shared(self, head: ResponseHead, stored: Stored, now: float) -> None:
        """The response is stored, and whoever waits for it gets it as it comes."""
        lookup = self.lookup
        cache, flights = lookup.cache, lookup.cache.caches.flights
        self.recording = recording = Recording(stored, self, cache.caches.room, self.loop)
        self.writer = cache.writer(lookup, stored)
        if not self.is_detached:
            self._mark(Decision(stored))
            if self.handling.response_hooks is not None or self.validating:
                self._hand_over(head, recording)
            else:
                super().forward_head(head, now)
        flights.share(lookup.key)
        if self.flight_key is not None:
            flights.leading[self.flight_key] = self
            flights.give(self, partial(cache.give_arriving, self, recording))
        self.is_settled = True

    def _hand_over(self, head: ResponseHead, recording: Recording) -> None:
        """Let the cache serve the client, from what arrives here: hooks and conditions are the client's own."""
        exchange = self.exchange
        self.detach()
        self.lookup.cache.replay(self.lookup, exchange, head, recording)

    def response_body(self, data: bytes) -> None:
        recording = self.recording
        if recording is not None:
            recording.feed(data)
            if self.writer is not None:
                self._write(recording, data)
            if recording.is_whole and not self._fits(recording):
                self._spill(recording)
        if recording is None or self.is_detached:
            super().response_body(data)
        else:
            self._send_to_client(data)

    def _send_to_client(self, data: bytes) -> None:
        """Send the body to the fetch's own client, too: if that fails, it costs no other client its response."""
        stream = self.stream
        try:
            super().response_body(data)
        except FAULTS:
            logger.exception("a response failed in a way that nobody foresaw")
            stream.abort("internal_error")

    def _fits(self, recording: Recording) -> bool:
        cache = self.lookup.cache
        return recording.size <= cache.most_kept and cache.caches.room.used <= cache.caches.room.most

    def _write(self, recording: Recording, data: bytes) -> None:
        """Store it while it arrives, as long as it is not too large."""
        if self.writer is not None and recording.size <= self.lookup.cache.most_stored:
            self.writer.feed(data)
            return
        self._abort_writer()
        if not recording.is_whole:
            self._let_go(recording)

    def _spill(self, recording: Recording) -> None:
        """No more of it is kept than its readers need; nobody else can read it from its beginning."""
        self.lookup.cache.caches.flights.leave(self)
        recording.spill()
        self._let_go(recording)

    def _let_go(self, recording: Recording) -> None:
        """What neither is stored nor has readers is no more kept than any other response."""
        if self.writer is None:
            self.lookup.cache.caches.flights.unshare(self.lookup.key)
        if not recording.readers and self.writer is None:
            recording.end([])
            self.recording = None
            if self.is_detached:
                self.abandon()

    def response_sink(self) -> Sink | None:
        return None if self.recording is not None else super().response_sink()

    def response_ended(self) -> None:
        if self.validated is not None:
            head, self.validated = self.validated, None
            self.free_connection()
            self._end_validation(head)
            return
        recording = self.recording
        if recording is None:
            super().response_ended()
            return
        trailers = self.free_connection()
        recording.end(trailers)
        self.recording = None
        try:
            self._keep(recording)
        finally:
            self.stream.end(trailers)

    def _keep(self, recording: Recording) -> None:
        """Store what has come completely."""
        cache, stored = self.lookup.cache, recording.stored
        if self.writer is not None:
            writer, self.writer = self.writer, None
            cache.commit(self, writer, stored)
        elif recording.is_whole:
            cache.keep(self, stored.with_body(recording.body()))
        flights = cache.caches.flights
        flights.leave(self)
        flights.give(self, look_again)

    # ---- a response to what validates

    def _end_validation(self, head: ResponseHead) -> None:
        """The service says that what is stored still holds: it is served, with what is new about it."""
        lookup = self.lookup
        cache = lookup.cache
        chosen = chosen_by(self.validating, head)
        if chosen is None:
            self._ask_for_whole_response()
            return
        decision = refreshed(cache.rules, lookup.asking, chosen, head, self._arrival(time.monotonic()))
        stored = decision.stored
        assert stored is not None
        stored.born = self.born
        cache.refresh(self, chosen, stored, is_kept=not decision.reason)
        self._settle(go_on_alone if decision.reason else partial(cache.give, self, stored))
        if self.is_detached:
            self.stream.end()
        else:
            self.retire(_NOT_MODIFIED)
            line = forward_line(lookup.why, status=_NOT_MODIFIED, is_stored=not decision.reason)
            cache.respond(lookup, stored, line, REVALIDATED)

    def _ask_for_whole_response(self) -> None:
        """The service has confirmed something that it was not asked about: ask again, without conditions."""
        self.validating = ()
        self._send_conditions(())
        self.answered = False
        self.replayable = True
        self.tried = ()
        self._try_instance()

    def _serve_stale_for(self, head: ResponseHead) -> bool:
        """Serve what is stored in place of an error of the service, if that is allowed."""
        if not self._may_replace():
            return False
        self.drop_connection()
        failure = Failure("stale-if-error", head.status)
        self._fail_others(failure)
        if self.is_detached:
            self.stream.end()
        else:
            self.retire(head.status)
            self.lookup.cache.respond_stale(failure, self.lookup)
        return True

    def _may_replace(self) -> bool:
        found, asked = self.lookup.found, self.lookup.asking.asked
        return found is not None and may_replace_error(found, asked, time.monotonic())

    # ---- what others get

    def _share_whole(self, stored: Stored, content: bytes) -> None:
        """Store a response that came at once, and give it to those who wait."""
        cache = self.lookup.cache
        stored = stored.with_body(body_of(content))
        cache.keep(self, stored)
        self._settle(partial(cache.give, self, stored))

    def _refuse_others(self, decision: Decision) -> None:
        """The response is nobody else's: those who wait need not, and for a while nobody will."""
        if decision.is_general and self.flight_key is not None:
            self.lookup.cache.caches.flights.unshare(self.lookup.key)
        self._settle(go_on_alone)

    def _settle(self, act: Act) -> None:
        """It is known what those get who wait."""
        flights = self.lookup.cache.caches.flights
        flights.leave(self)
        flights.give(self, act)
        self.is_settled = True

    def _fail_others(self, failure: Failure | None = None) -> None:
        """There is no response that others could have, but what is stale, where that is allowed."""
        flights, lookup = self.lookup.cache.caches.flights, self.lookup
        if self.is_settled:
            flights.leave(self)
            return
        self.is_settled = True
        if failure is not None and lookup.found is not None and self.flight is not None:
            flight, self.flight = self.flight, None
            flight.release(partial(lookup.cache.give_stale, failure))
        flights.failed(self)

    def _fail_readers(self, failure: Answer) -> None:
        """The response breaks off."""
        self._abort_writer()
        recording, self.recording = self.recording, None
        if recording is not None:
            self.lookup.cache.caches.flights.leave(self)
            recording.fail(failure)

    def _abort_writer(self) -> None:
        if self.writer is not None:
            writer, self.writer = self.writer, None
            self.lookup.cache.abort(self.lookup, writer)

    # ---- the client

    def _mark(self, decision: Decision) -> None:
        """Say in the response how it came."""
        line = forward_line(self.lookup.why, is_stored=decision.stored is not None, detail=decision.reason)
        self.exchange.response_lines = (*self.client_lines, line)

    def answer(self, answer: Answer) -> None:
        failure = Failure(str(answer.reason)) if answer.status in REPLACED and self._may_replace() else None
        self._fail_others(failure)
        if self.is_detached:
            self.abandon()
        elif failure is not None and not self.over:
            if self.hedge is not None:
                self._end_hedge()
            self.exchange.reason = answer.reason
            self.retire(answer.status)
            self.lookup.cache.respond_stale(failure, self.lookup)
        else:
            self._mark(Decision(None))
            super().answer(answer)

    def break_off(self, refusal: Answer) -> None:
        self._fail_readers(refusal)
        self._fail_others()
        if not self.over:
            super().break_off(refusal)

    def abandon(self) -> None:
        """Nobody needs the response any more, or it cannot be had."""
        if not self.over:
            self.drop()
            self.stream.abort("client_closed")

    def retire(self, status: int) -> None:
        """The service has done its part, with this status: the cache serves the client."""
        exchange = self.exchange
        if self.born and not self.over:
            self.over = True
            exchange.status = status
            if self.service.limit is not None:
                self._leave_service(self.service.limit)
            exchange.status = 0
        self.is_counted = True  # the cache does that
        exchange.response_lines = self.client_lines
        exchange.stream.receiver = exchange

    def detach(self) -> None:
        """Go on without the client, whose exchange is the caller's from now on."""
        exchange = self.exchange
        made = without_client(exchange, self._client_finished)
        assert made.request is not None
        made.status = exchange.status
        self._count(exchange)
        exchange.finish = self.client_finish
        exchange.stream.receiver = exchange
        self.is_detached = True
        self.client_finish = _nobody
        self.exchange, self.stream, self.request = made, made.stream, made.request
        self.stream.receiver = self
        self._pass_trial_on(self.instance, exchange)
        if self.hedge is not None:
            self.hedge.exchange = made
            self._pass_trial_on(self.hedge.instance, exchange)

    def _pass_trial_on(self, instance: Instance | None, exchange: Exchange) -> None:
        if instance is not None and instance.breaker is not None:
            instance.breaker.passed_on(exchange, self.exchange)

    def finished(self, failure: str | None) -> None:
        if failure is None:
            super().finished(None)
            return
        exchange = self.exchange
        try:
            goes_on = not self.is_detached and self._is_wanted()
            if goes_on:
                self.detach()
        except BaseException:
            super().finished(failure)
            raise
        if goes_on:
            exchange.finished(failure)
        else:
            super().finished(failure)

    def _is_wanted(self) -> bool:
        """Whether others need the response."""
        if self.recording is not None:
            return self.recording.is_whole or self.writer is not None or bool(self.recording.readers)
        return not self.is_settled and self.flight is not None and bool(self.flight.followers)

    def _client_finished(self, exchange: Exchange, failure: str | None) -> None:
        """The client's exchange is over, or the fetch itself where there is no client any more."""
        self._count(exchange)
        finish, exchange.finish = self.client_finish, _nobody
        try:
            finish(exchange, failure)
        finally:
            self._fail_readers(_BROKEN_OFF)
            self._fail_others()

    def _count(self, exchange: Exchange) -> None:
        if not self.is_counted:
            self.is_counted = True
            self.lookup.cache.note(exchange, MISS)

    # ---- the pace

    def pause_writing(self) -> None:
        recording = self.recording
        if recording is not None and recording.is_whole:  # others need not wait for this client
            exchange = self.exchange
            self.detach()
            self.lookup.cache.replay_rest(self.lookup, exchange, recording)
        else:
            self.is_client_slow = True
            super().pause_writing()

    def resume_writing(self) -> None:
        self.is_client_slow = False
        if not self.is_held:
            super().resume_writing()

    def hold(self) -> None:
        """Bring no more: the slowest reader is far behind."""
        self.is_held = True
        if self.connection is not None:
            self.connection.pause_reading()

    def go_on(self) -> None:
        """Bring more."""
        self.is_held = False
        if not self.is_client_slow and self.connection is not None:
            self.connection.resume_reading()

    def unread(self) -> None:
        """The last reader of a response that is not kept has left."""
        if self.is_detached and self.writer is None:
            self.abandon()

    # ---- helpers

    def _is_head(self) -> bool:
        """Whether the request is HEAD, whose response may say something about what is stored, too."""
        lookup = self.lookup
        return lookup.asking.method == b"HEAD"

    def _arrival(self, now: float) -> Arrival:
        return Arrival(now, time.time(), max(0.0, now - self.sent_at))

    def _decide(self, head: ResponseHead, now: float, size: int) -> Decision:
        """What becomes of a response; `size` is that of its content, negative where it is not known."""
        lookup = self.lookup
        arrival = self._arrival(now)
        if lookup.asking.method == b"HEAD":
            if lookup.found is not None:
                made = after_head(lookup.cache.rules, lookup.asking, lookup.found, head, arrival)
                lookup.cache.refresh(self, lookup.found, made, is_kept=made is not None)
            return Decision(None)
        if head.status == _PARTIAL:
            head = whole_head(head, lookup.asking.asked) or head
        decision = decide(lookup.cache.rules, lookup.asking, head, arrival)
        if decision.stored is None:
            return decision
        if size > lookup.cache.most_stored:
            return Decision(None, "too-large", is_general=True)
        if head.framing == UNTIL_CLOSE and self.service.speaks_tls:  # anybody on the way can end it (RFC 9112, 9.8)
            return Decision(None, "until-close", is_general=True)
        decision.stored.born = self.born
        return decision


class PlainFetching(Fetching):
    """On a route without hooks for responses."""


class HookedFetching(Fetching, HookedForwarding):
    """On a route whose policies see responses."""


class FilteredFetching(Fetching, FilteredForwarding):
    """On a route whose policies may filter bodies."""


class Invalidating(Forwarding):
    """Passes on a request that may change what is stored; mixed into the forwarding that a route has."""

    forget: Callable[[ResponseHead], None]

    def response_whole(self, head: ResponseHead, content: bytes, now: float) -> bool:
        self.forget(head)
        return super().response_whole(head, content, now)

    def forward_head(self, head: ResponseHead, now: float) -> None:
        self.forget(head)
        super().forward_head(head, now)


class PlainInvalidating(Invalidating):
    """On a route without hooks for responses."""


class HookedInvalidating(Invalidating, HookedForwarding):
    """On a route whose policies see responses."""


class FilteredInvalidating(Invalidating, FilteredForwarding):
    """On a route whose policies may filter bodies."""


_BROKEN_OFF: Final = Refusal("upstream_reset", "the response broke off")


def _with_conditions(compose: Compose, lines: Sequence[bytes]) -> Compose:
    """The same composing, with these conditions in place of the client's own."""

    def conditional_head(exchange: Exchange, handling: Handling, instance: Instance, upgrade: bytes) -> bytes:
        return edited_head(compose(exchange, handling, instance, upgrade), CONDITIONS, lines)

    return conditional_head


def _nobody(exchange: Exchange, failure: str | None) -> None:
    """What no client waits for is not observed."""
