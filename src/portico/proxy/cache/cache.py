"""The cache on the way of a request: what is stored answers it, or its service is asked for all who want the same.

It comes behind all policies for requests, and before a permit of the service's limit is taken: nothing that is stored
gets past a policy. What is stored are a service's own responses; policies for responses see them as they come out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from portico.core.errors import Answer, Refusal
from portico.core.exchange import Exchange
from portico.core.faults import FAULTS, contain
from portico.core.fields import REPORTED
from portico.core.messages import Fields, ResponseHead
from portico.policies.headers import Lines
from portico.proxy.admission import admit
from portico.proxy.answer import send_answer
from portico.proxy.cache.asked import Asked
from portico.proxy.cache.caches import Caches
from portico.proxy.cache.fetch import (
    Fetching,
    FilteredFetching,
    FilteredInvalidating,
    HookedFetching,
    HookedInvalidating,
    Invalidating,
    PlainFetching,
    PlainInvalidating,
)
from portico.proxy.cache.flights import Flight, FlightKey, Leader
from portico.proxy.cache.invalidation import SAFE, invalidated_by
from portico.proxy.cache.keys import CONTENT_LIMIT, key_part, key_start, key_without, path_key, primary_key, url_of
from portico.proxy.cache.lookup import (
    BYPASS,
    BYPASSED,
    COLLAPSED,
    HIT,
    METHOD,
    MISS,
    REQUEST,
    SERVED_STALE,
    STALE,
    VARY_MISS,
    Failure,
    Lookup,
    address_of,
    key_end_of,
)
from portico.proxy.cache.query import NoVarySearch
from portico.proxy.cache.ranges import Ranged, parts_of
from portico.proxy.cache.recording import Recording
from portico.proxy.cache.redis_writer import RedisWriter
from portico.proxy.cache.refresh import without_client
from portico.proxy.cache.replay import (
    FilteredReplay,
    HookedReplay,
    InMemory,
    PlainReplay,
    Replay,
    Source,
    in_memory,
    is_here,
    send_whole,
    source_of,
)
from portico.proxy.cache.rules import Rules
from portico.proxy.cache.serving import Use, is_hopeless, may_follow, may_replace_error, may_store, use_of
from portico.proxy.cache.status import NAME, forward_line, hit_line
from portico.proxy.cache.stored import PIECE, Resource, Stored
from portico.proxy.cache.usual import UsualFetching
from portico.proxy.cache.validation import Precondition, not_modified_head, precondition
from portico.proxy.cache.variants import Asking, asker_of
from portico.proxy.compose import HEAD_END, REQUEST_ID
from portico.proxy.filtered import FilteredForwarding
from portico.proxy.forward import Forwarding
from portico.proxy.hooked import HookedForwarding
from portico.proxy.mirroring import mirrored
from portico.proxy.routing.route import Forward, Handling
from portico.proxy.traced import traced

_NOT_MODIFIED: Final = 304
_UNSATISFIABLE: Final = 416
_MOST_WAITS: Final = 2
"""How often one request waits for others: what varies is known after the first time."""
_ONLY_IF_CACHED: Final = NAME + b"; detail=only-if-cached"


def _empty_head() -> ResponseHead:
    head = ResponseHead()
    head.fields = Fields([], [])
    return head


class _NoLimit:
    name = ""
    limit = None


class _Served:
    """What is left to do for a request that has its answer already, or waits for another one's: nothing."""

    service = _NoLimit()

    def start(self) -> None:
        """Nothing."""

    def answer(self, answer: Answer) -> None:
        """Nothing."""


SERVED: Final = _Served()


class _Ready:
    """A fresh response as it is sent until it is a second older, or was purged."""

    __slots__ = ("content", "is_for_all", "lines", "purged", "start", "status", "until")

    start: bytes
    """Its status line and fields, those about the cache among them, and last the name of that which has the request's
    id; empty while it is not known what is passed on."""
    lines: tuple[bytes, bytes]
    """The fields about the cache alone."""
    content: bytes
    status: int
    is_for_all: bool
    """Whether it answers whoever asks for its URL, and has its `start`."""
    until: float
    """The monotonic moment from which on it says another age, or is stale."""
    purged: int
    """The last purge when it was made."""


def _only_claims_tell(exchange: Exchange) -> bool:
    """Whether a token proved who asks that is not in the request as it goes on: a policy took it out.

    Tokens of one consumer may differ in what rules tell the service.
    """
    assert exchange.request is not None
    return exchange.claims_or_token is not None and b"authorization" not in exchange.request.fields.names


class Cache:
    """The cache of one route, or of several that are configured alike.

    `changes` are the lines that the configuration adds to requests, where they depend on the request. With `mirrors`
    what goes to the service is copied for others, with `traces` exchanges may have spans.
    """

    def __init__(
        self,
        caches: Caches,
        rules: Rules,
        kind: type[Forwarding],
        changes: Lines | None = None,
        *,
        mirrors: bool = False,
        traces: bool = False,
    ) -> None:
        self.caches = caches
        self.rules = rules
        self.purges = caches.purges
        self.memory = caches.memory
        self.flights = caches.flights
        self.known = caches.known
        self.most_kept = min(rules.max_object, caches.memory.most_object)
        """Bytes of a body that is kept whole while it arrives, at most."""
        self.most_stored = self.most_kept
        """Bytes of a body that is stored, at most."""
        self.outcomes = caches.outcomes(rules.service)
        fetching, self.replaying, invalidating = _KINDS[kind]
        kinds: list[type[Any]] = [kind, UsualFetching, fetching, invalidating]
        if mirrors:
            kinds = [*map(mirrored, kinds)]
        made: list[Callable[..., Any]] = [*map(traced, kinds)] if traces else [*kinds]
        self.plain, self.usual, self.fetching, self.invalidating = made
        self.is_filtered = kind is FilteredForwarding
        self._changes = changes
        self.get: Callable[[bytes], Resource | None] = caches.memory.get
        self._main, self._small = caches.memory.tables
        is_by_url = rules.query.keeps_all and not rules.is_transformed
        self._is_plain = type(self) is Cache and kind is Forwarding and is_by_url
        """Whether what is not in memory is nowhere, responses go to clients as they are, and the target as sent is in
        their keys."""
        self._is_usual = self._is_plain and changes is None
        """Whether misses may be as `usual.py` has them."""
        self._searches = caches.searches
        self._origins = object(), object()
        """What `Asked.key_for` is, without TLS and with it."""
        self._methods = rules.methods - {b"QUERY"}
        """Those whose key has nothing of their content."""

    # ---- the request

    def forward(self, exchange: Exchange, handling: Handling, loop: asyncio.AbstractEventLoop) -> Forward:
        """Answer a request with what is stored; else what fetches the response.

        Who asks does not matter where anybody may have what is stored: that is looked at first.
        """
        request = exchange.request
        assert request is not None
        asked: Asked | None = request.fields.asked
        if (
            asked is None
            or asked.key_for is not self._origins[exchange.stream.client.secure]
            or request.method != b"GET"
            or exchange.trusted
        ):
            return self._look_closely(exchange, handling, loop)
        key = asked.key_start + request.target + asked.key_end
        entry = self._main.get(key) or self._small.get(key)
        if entry is None:
            return self._miss(exchange, handling, loop, asked, key)
        resource = entry if type(entry) is Resource else self.get(key)
        if exchange.response_drop is None and resource is not None:
            stored, now = resource.variants[0], time.monotonic()
            ready = stored.memo
            if ready is None or now >= ready.until or ready.purged != self.purges.number:
                ready = self._made_ready(stored, now)
            if ready is not None and ready.is_for_all:
                stored.hits += 1
                self._hit(exchange, ready, ready.content, now)
                return SERVED
        return self._look_closely(exchange, handling, loop)

    def _miss(
        self, exchange: Exchange, handling: Handling, loop: asyncio.AbstractEventLoop, asked: Asked, key: bytes
    ) -> Forward:
        """Nothing is stored for a plain GET: fetch it as simply as can be, unless somebody does."""
        told = exchange.request_lines
        is_plain = exchange.view is None and exchange.stream.client.certificate is None
        if not (self._is_usual and is_plain) or _only_claims_tell(exchange):
            return self._look_closely(exchange, handling, loop)
        asker, flight_key = None, key  # type: bytes | None, FlightKey
        if told or asked.authorization is not None or asked.cookie is not None or exchange.consumer is not None:
            if asked.asker_for == (self.rules, told, exchange.consumer):
                asker = asked.asker
            else:
                asker = self._asker(exchange, asked, told)
            flight_key = key if asker is None else (key, asker)
        flights = self.flights
        if not (self._searches.said or (flights.unshared and flights.is_unshared(key))):
            fetch: UsualFetching = self.usual(exchange, handling, loop)
            if fetch.lead(self, key, asker, flight_key):
                return fetch
        return self._look_closely(exchange, handling, loop)

    def _hit(self, exchange: Exchange, ready: _Ready, content: bytes, now: float) -> None:
        """The usual case, in as few steps as can be: a fresh response, all of it, as it is."""
        exchange.cache = HIT
        self.outcomes[HIT] += 1
        exchange.ended = now
        exchange.status = status = ready.status
        start = ready.start + exchange.request_id.encode()
        if exchange.response_lines:
            start = b"\r\n".join((start, *exchange.response_lines))
        exchange.stream.send_whole(status, (start, HEAD_END, content), len(content), now)

    def _made_ready(self, stored: Stored, now: float) -> _Ready | None:
        """A response for the second in which `now` is; None where it is not fresh, or has to be looked at closely."""
        age = now - stored.since
        if age >= stored.lifetime or stored.checked != self.purges.number or stored.body.size > PIECE:
            return None
        ready: _Ready | None = stored.memo
        if ready is None:
            ready = stored.memo = _Ready()
            pieces = stored.body.pieces
            ready.content, ready.status = pieces[0] if pieces else b"", stored.head.status
        second = max(0, int(age))
        ready.lines = said, line = b"Age: %d" % second, hit_line(stored.lifetime - age)
        passed = stored.head.passed
        ready.start = b"%b\r\n%b\r\n%b%b" % (passed, said, line, REQUEST_ID) if passed else b""
        ready.is_for_all = bool(passed) and stored.is_shared and stored.is_open
        ready.until = stored.since + min(second + 1, stored.lifetime)
        ready.purged = stored.checked
        return ready

    def _look_closely(self, exchange: Exchange, handling: Handling, loop: asyncio.AbstractEventLoop) -> Forward:
        """Who asks matters, or there is more to a request than its URL, or nothing is stored for it."""
        request = exchange.request
        assert request is not None
        method = request.method
        if request.framing or b"upgrade" in request.noted or method not in self._methods:
            return self._pass_on(exchange, handling, loop)
        asked = Asked.of(request)
        told = self._told(exchange)
        asker = None
        if told or asked.authorization is not None or asked.cookie is not None or exchange.consumer is not None:
            asker = self._asker(exchange, asked, told)
        scheme, host, target = address_of(exchange)
        if self._is_plain and asked.is_plain and not exchange.trusted:
            self._remember_key(exchange, asked, scheme, host)
        key = primary_key(self.rules, scheme, host, target, asked) + key_end_of(exchange, self.rules)
        resource = self.get(key)
        if resource is not None and asked.is_plain and not self.is_filtered:
            stored = resource.find(asked, asker)
            if stored is not None:
                now = time.monotonic()
                ready = self._made_ready(stored, now)
                if ready is not None:
                    self._hit_closely(exchange, handling, stored, ready, now)
                    return SERVED
        lookup = Lookup(self, exchange, handling, loop, Asking(asked, method, asker, exchange.consumer, told), key)
        return self.look(lookup)

    def _remember_key(self, exchange: Exchange, asked: Asked, scheme: bytes, host: bytes) -> None:
        """Remember with a request's fields what they add to the key of a GET, so that only the target is missing."""
        asked.key_start, asked.key_end = key_start(self.rules, scheme, host), key_part(self.rules, asked)
        asked.key_for = self._origins[exchange.stream.client.secure]

    def _hit_closely(self, exchange: Exchange, handling: Handling, stored: Stored, ready: _Ready, now: float) -> None:
        """A fresh response for some alone, without its content, or through policies."""
        content = ready.content if exchange.method != "HEAD" else b""
        if ready.start and exchange.response_drop is None and handling.response_hooks is None:
            self._hit(exchange, ready, content, now)
        else:
            self.note(exchange, HIT)
            exchange.response_lines = (*exchange.response_lines, *ready.lines)
            send_whole(exchange, handling, stored.head, content)
            ready.until = now  # by now it is known what is passed on

    def _pass_on(self, exchange: Exchange, handling: Handling, loop: asyncio.AbstractEventLoop) -> Forward:
        """Requests with content, of other methods, or for other protocols."""
        request = exchange.request
        assert request is not None
        method = request.method
        if method == b"QUERY" and method in self.rules.methods and b"upgrade" not in request.noted:
            return self._query(exchange, handling, loop)
        if method in SAFE:
            why = BYPASS if method in self.rules.methods else METHOD
            return self._pass(exchange, handling, loop, why)
        self._note_bypass(exchange, METHOD)
        invalidating: Invalidating = self.invalidating(exchange, handling, loop)
        invalidating.forget = partial(self._forget, exchange)
        return invalidating

    def _query(self, exchange: Exchange, handling: Handling, loop: asyncio.AbstractEventLoop) -> Forward:
        """QUERY, whose content belongs to its key (RFC 10008, section 2.7)."""
        request = exchange.request
        assert request is not None
        if (request.framing and not exchange.content) or len(exchange.content) > CONTENT_LIMIT:
            return self._pass(exchange, handling, loop, BYPASS)
        asked = Asked.of(request)
        told = self._told(exchange)
        asker = self._asker(exchange, asked, told)
        scheme, host, target = address_of(exchange)
        key = primary_key(self.rules, scheme, host, target, asked, b"QUERY", exchange.content) + key_end_of(
            exchange, self.rules
        )
        return self.look(
            Lookup(self, exchange, handling, loop, Asking(asked, b"QUERY", asker, exchange.consumer, told), key)
        )

    def _pass(self, exchange: Exchange, handling: Handling, loop: asyncio.AbstractEventLoop, why: str) -> Forward:
        """Neither look for a response nor store one."""
        self._note_bypass(exchange, why)
        forwarding: Forwarding = self.plain(exchange, handling, loop)
        return forwarding

    def _note_bypass(self, exchange: Exchange, why: str) -> None:
        self.note(exchange, BYPASSED)
        exchange.response_lines = (*exchange.response_lines, forward_line(why))

    def note(self, exchange: Exchange, outcome: str) -> None:
        """Count what came of a request."""
        exchange.cache = outcome
        self.outcomes[outcome] += 1

    def _told(self, exchange: Exchange) -> tuple[bytes, ...]:
        """What the service gets about this very request from the gateway, beside what is in the key."""
        told = exchange.request_lines
        view, client = exchange.view, exchange.stream.client
        if _only_claims_tell(exchange):
            told = (*told, repr(exchange.claims).encode())
        if view is not None and view.upstream is not None:
            told = (*told, *view.upstream.added, *sorted(view.upstream.dropped))
        if self._changes is not None:
            told = (*told, *self._changes.of(exchange))
        if client.certificate is not None:
            told = (*told, b"X-Forwarded-Client-Cert: " + client.certificate)
        if exchange.trusted:
            told = (*told, *_reported(exchange))
        return told

    def _asker(self, exchange: Exchange, asked: Asked, told: tuple[bytes, ...]) -> bytes | None:
        view = exchange.view
        is_authenticated = exchange.claims_or_token is not None or (view is not None and view.upstream is not None)
        return asker_of(
            self.rules, asked, told, consumer=exchange.consumer, is_authenticated=is_authenticated or bool(told)
        )

    # ---- what is stored

    def look(self, lookup: Lookup) -> Forward:
        """Use what is stored, join those who fetch the same, or fetch it."""
        self._find(lookup)
        return self.use(lookup)

    def use(self, lookup: Lookup) -> Forward:
        """The same, once it is known what is stored."""
        asked = lookup.asking.asked
        if asked.overrides_method:
            return self._pass(lookup.exchange, lookup.handling, lookup.loop, BYPASS)
        now = time.monotonic()
        found = lookup.found
        if found is not None:
            use = use_of(found, asked, now)
            if use is not Use.VALIDATE:
                if asked.is_conditional and precondition(found, asked) is Precondition.FORWARD:
                    lookup.found = None
                    lookup.why = REQUEST
                    return self._fetch(lookup, None)
                self._serve(lookup, found, use, now)
                return SERVED
            lookup.why = STALE if now - found.since >= found.lifetime else REQUEST
        elif lookup.resource is not None and lookup.resource.variants:
            lookup.why = VARY_MISS
        if is_hopeless(asked):
            self._refuse(lookup)
            return SERVED
        if not may_store(asked):
            return self._pass(lookup.exchange, lookup.handling, lookup.loop, REQUEST)
        return self._fetch_together(lookup)

    def _find(self, lookup: Lookup) -> None:
        """Set what is stored for a request, less what was purged."""
        if self.caches.searches:
            self.set_place(lookup)
        resource = lookup.resource = self.get(lookup.place)
        lookup.found = None
        while resource is not None:
            found = resource.find(lookup.asking.asked, lookup.asking.asker)
            if found is None or found.checked == self.purges.number:
                lookup.found = found
                return
            left = self.purges.passed(found, resource)
            if left is None:
                self.memory.drop(resource, found)
                resource = lookup.resource = self.get(lookup.place)
            elif left is not found:
                self.memory.put(resource, left)

    def set_place(self, lookup: Lookup) -> None:
        """Leave out of the key what does not matter, by the word of a response for the same path."""
        if lookup.asking.method == b"QUERY" or not self.rules.query.keeps_all:
            return
        said = self.caches.searches.of(path_key(self.rules, *address_of(lookup.exchange)))
        lookup.place = lookup.key if said is None else self._place_by(said, lookup)

    def _place_by(self, said: NoVarySearch, lookup: Lookup) -> bytes:
        exchange = lookup.exchange
        key = key_without(said, self.rules, *address_of(exchange), lookup.asking.asked)
        return key + key_end_of(exchange, self.rules)

    def _serve(self, lookup: Lookup, found: Stored, use: Use, now: float) -> None:
        line = hit_line(found.lifetime - (now - found.since))
        if use is Use.REFRESH:
            self._refresh_later(lookup)
        self.respond(lookup, found, line, HIT if use is Use.FRESH else SERVED_STALE)

    def _refuse(self, lookup: Lookup) -> None:
        exchange = lookup.exchange
        self.note(exchange, MISS)
        exchange.response_lines = (*exchange.response_lines, _ONLY_IF_CACHED)
        send_answer(exchange, Refusal("not_cached", "the cache has no response that may be used without asking"))

    # ---- fetching

    def _fetch_together(self, lookup: Lookup) -> Forward:
        """Join those who fetch the same, if anybody does who can be waited for; else lead."""
        flight_key = self._flight_key(lookup)
        flights = self.caches.flights
        if flight_key is None or flights.is_unshared(lookup.key):
            return self._fetch(lookup, flight_key)
        leader = self._leader(flight_key)
        if leader is not None and leader.recording is not None:
            if self._follows(lookup, leader.recording):
                self._give_arriving(lookup, leader.recording)
                return SERVED
            flight_key = _variant_of(lookup, leader.recording.stored)
            leader = self._leader(flight_key)
        if leader is None:
            fetch = self._fetch(lookup, flight_key)
            flights.leading[flight_key] = fetch
            return fetch
        if lookup.waits >= _MOST_WAITS or leader.recording is not None:
            return self._fetch(lookup, flight_key)
        flights.join(leader, lookup)
        return SERVED

    def _leader(self, flight_key: FlightKey) -> Leader | None:
        """Who fetches this, unless what it brings was purged since it began."""
        leader = self.caches.flights.leading.get(flight_key)
        if leader is None or leader.purged == self.purges.number:
            return leader
        stored = leader.recording.stored if leader.recording is not None else _UNKNOWN
        return None if self._was_purged(leader, stored, self.purges.number) else leader

    def _flight_key(self, lookup: Lookup) -> FlightKey | None:
        """What is fetched; None where nobody else can have it, or is to wait for it."""
        asking, found = lookup.asking, lookup.found
        asked = asking.asked
        if asking.method == b"HEAD" or asked.is_incremental:
            return None
        if asked.is_conditional and (found is None or not (found.etag or found.last_modified)):
            return None  # the client's own conditions are sent
        if lookup.resource is not None and lookup.resource.variants:
            return _variant_of(lookup, lookup.resource.variants[0])
        return lookup.key if asking.asker is None else (lookup.key, asking.asker)

    def _fetch(self, lookup: Lookup, flight_key: FlightKey | None) -> Fetching:
        fetch: Fetching = self.fetching(lookup.exchange, lookup.handling, lookup.loop)
        fetch.prepare(lookup, flight_key)
        return fetch

    def fetch_alone(self, lookup: Lookup) -> None:
        """Ask the service, whatever others do; what comes of it may still be stored."""
        admit(lookup.exchange, self._fetch(lookup, self._flight_key(lookup)), lookup.loop)

    def lead(self, lookup: Lookup, flight: Flight) -> None:
        """Ask the service for those who wait, in place of one that failed."""
        flight_key = self._flight_key(lookup)
        fetch = self._fetch(lookup, flight_key)
        if flight_key is not None:
            fetch.flight = flight
            self.caches.flights.leading[flight_key] = fetch
        admit(lookup.exchange, fetch, lookup.loop)

    def look_again(self, lookup: Lookup) -> None:
        """Look for what was stored or begun meanwhile."""
        admit(lookup.exchange, self.look(lookup), lookup.loop)

    def _refresh_later(self, lookup: Lookup) -> None:
        """Fetch in the background what is served stale for now, unless somebody does."""
        flights, found = self.caches.flights, lookup.found
        assert found is not None
        flight_key = _variant_of(lookup, found)
        if flight_key in flights.leading:
            return
        exchange = without_client(lookup.exchange, _unobserved, time.monotonic())
        own = Lookup(self, exchange, lookup.handling, lookup.loop, lookup.asking, lookup.key)
        own.place, own.resource, own.found, own.why = lookup.place, lookup.resource, found, STALE
        fetch: Fetching = self.fetching(exchange, lookup.handling, lookup.loop)
        fetch.prepare(own, flight_key, is_detached=True)
        flights.leading[flight_key] = fetch
        lookup.loop.call_soon(_begin, fetch)

    # ---- the response

    def respond(self, lookup: Lookup, stored: Stored, line: bytes, outcome: str) -> None:
        """Serve a stored response, all of it or what its request asks for."""
        exchange = lookup.exchange
        asked, method = lookup.asking.asked, lookup.asking.method
        self.note(exchange, outcome)
        age = max(0, int(time.monotonic() - stored.since))
        exchange.response_lines = (*exchange.response_lines, b"Age: %d" % age, line)
        head, ranged = stored.head, None
        if asked.is_conditional:
            if precondition(stored, asked) is Precondition.NOT_MODIFIED:
                self._send_bodiless(lookup, exchange, not_modified_head(stored))
                return
            ranged = parts_of(stored, asked, method)
            if ranged is not None:
                head = ranged.head
        self._send(lookup, stored, head, ranged)

    def _send(self, lookup: Lookup, stored: Stored, head: ResponseHead, ranged: Ranged | None) -> None:
        exchange, handling = lookup.exchange, lookup.handling
        if lookup.asking.method == b"HEAD" or (ranged is not None and not ranged.parts):
            self._send_bodiless(lookup, exchange, head)
        elif not self.is_filtered and head.framing <= PIECE and is_here(stored.body):
            send_whole(exchange, handling, head, b"".join(in_memory(stored.body, ranged)))
        else:
            source = source_of(stored.body, ranged)
            self._replay(lookup, exchange).begin(head, source, partial(_whole, stored))

    def _send_bodiless(self, lookup: Lookup, exchange: Exchange, head: ResponseHead) -> None:
        """Send a response without content, which says of itself what it would with content that is filtered."""
        if self.is_filtered:
            self._replay(lookup, exchange).begin(head, InMemory(iter(())))
        else:
            send_whole(exchange, lookup.handling, head, b"")

    def respond_stale(self, failure: Failure, lookup: Lookup) -> None:
        """Serve what is stale in place of an error."""
        found = lookup.found
        assert found is not None
        if failure.status is not None or lookup.exchange.attempts:  # the service was asked (RFC 9211, section 2.1)
            line = forward_line(lookup.why, status=failure.status, detail=failure.detail)
        else:
            line = hit_line(found.lifetime - (time.monotonic() - found.since), failure.detail)
        self.respond(lookup, found, line, SERVED_STALE)

    def give_stale(self, failure: Failure, lookup: Lookup) -> None:
        """The same for one that has waited, if that is allowed."""
        found = lookup.found
        if found is not None and may_replace_error(found, lookup.asking.asked, time.monotonic()):
            self.respond_stale(failure, lookup)
        else:
            self.fetch_alone(lookup)

    def give(self, fetch: Fetching, stored: Stored, lookup: Lookup) -> None:
        """Serve one that has waited, if that response is its own."""
        asking = lookup.asking
        is_own = stored.matches(asking.asked, asking.asker)
        if not is_own or self._was_purged(fetch, stored, lookup.purged):
            self.look_again(lookup)
        elif use_of(stored, asking.asked, time.monotonic()) is Use.FRESH:
            self.respond(lookup, stored, forward_line(lookup.why, is_collapsed=True), COLLAPSED)
        else:
            self.fetch_alone(lookup)

    def give_arriving(self, fetch: Fetching, recording: Recording, lookup: Lookup) -> None:
        """The same with a response that is arriving."""
        if self._follows(lookup, recording) and not self._was_purged(fetch, recording.stored, lookup.purged):
            self._give_arriving(lookup, recording)
        else:
            self.look_again(lookup)

    def _was_purged(self, fetch: Leader, stored: Stored, asked: int) -> bool:
        """Whether a response was purged after its fetch had begun, and before it was `asked` for."""
        if asked <= fetch.purged:
            return False
        resource = self.resource_of(fetch.lookup)
        return self.purges.verdict(stored, resource, fetch.purged) is not None

    def _follows(self, lookup: Lookup, recording: Recording) -> bool:
        asking = lookup.asking
        return recording.is_whole and may_follow(recording.stored, asking.asked, asking.asker, time.monotonic())

    def _give_arriving(self, lookup: Lookup, recording: Recording) -> None:
        exchange, stored = lookup.exchange, recording.stored
        self.note(exchange, COLLAPSED)
        age = max(0, int(time.monotonic() - stored.since))
        line = forward_line(lookup.why, is_collapsed=True)
        exchange.response_lines = (*exchange.response_lines, b"Age: %d" % age, line)
        self.replay(lookup, exchange, stored.head, recording)

    def replay(self, lookup: Lookup, exchange: Exchange, head: ResponseHead, recording: Recording) -> None:
        """Serve a client from what is arriving."""
        asked = lookup.asking.asked
        if asked.is_conditional and precondition(recording.stored, asked) is Precondition.NOT_MODIFIED:
            self._send_bodiless(lookup, exchange, not_modified_head(recording.stored))
            return
        self._replay(lookup, exchange).begin(head, recording)

    def replay_rest(self, lookup: Lookup, exchange: Exchange, recording: Recording) -> None:
        """Serve a client that reads slowly the rest of what is arriving."""
        self._replay(lookup, exchange).go_on(recording, recording.size)

    def _replay(self, lookup: Lookup, exchange: Exchange) -> Replay:
        replay: Replay = self.replaying(exchange, lookup.handling, lookup.loop)
        return replay

    # ---- storing

    def writer(self, lookup: Lookup, stored: Stored) -> RedisWriter | None:  # noqa: ARG002
        """What stores a response while it arrives; None: it is kept until it is complete."""
        return None

    def commit(self, fetch: Fetching, writer: RedisWriter, stored: Stored) -> None:
        """Store what has been written, unless it was purged meanwhile."""

    def abort(self, lookup: Lookup, writer: RedisWriter) -> None:
        """Forget what has been written."""

    def keep(self, fetch: Fetching, stored: Stored) -> None:
        """Store a complete response, unless it was purged while it was fetched."""
        place = self.resource_for(fetch.lookup, stored)
        resource = self.get(place.key) or place
        stored.checked = fetch.purged
        left = self.purges.passed(stored, resource)
        if left is not None:
            self.memory.put(resource, left)

    def refresh(self, fetch: Fetching, replaced: Stored, stored: Stored | None, *, is_kept: bool) -> None:
        """Put what a 304 made of a response in its place, or nothing."""
        resource = self.get(self.resource_of(fetch.lookup).key)
        if resource is not None and not is_kept:
            self.memory.drop(resource, replaced)
        elif stored is not None:
            self.keep(fetch, stored)

    def resource_of(self, lookup: Lookup) -> Resource:
        """Where the response to a request was found, or a new one."""
        return lookup.resource or Resource(lookup.place, url_of(*address_of(lookup.exchange)), self.rules.service)

    def resource_for(self, lookup: Lookup, stored: Stored) -> Resource:
        """Where a response is stored: it may say itself what of the query matters, or say so no longer."""
        said = NoVarySearch.of(stored.head.fields) if b"no-vary-search" in stored.head.fields.names else None
        if lookup.place is not lookup.key or said is not None:
            self._note_search(lookup, said)
        return self.resource_of(lookup)

    def _note_search(self, lookup: Lookup, said: NoVarySearch | None) -> None:
        if lookup.asking.method == b"QUERY" or not self.rules.query.keeps_all:
            return
        address, searches = address_of(lookup.exchange), self.caches.searches
        if said is None:
            searches.forget(path_key(self.rules, *address))
            place = lookup.key
        else:
            searches.note(path_key(self.rules, *address), said)
            place = self._place_by(said, lookup)
        if place != lookup.place:
            lookup.place, lookup.resource = place, None

    def _forget(self, exchange: Exchange, head: ResponseHead) -> None:
        """Forget what an unsafe request has changed."""
        request = exchange.request
        assert request is not None
        scheme, host, target = address_of(exchange)
        invalidated = invalidated_by(request.method, scheme, host, target, head)
        if invalidated.urls or invalidated.groups:
            self.purges.invalidate(*invalidated)


_UNKNOWN: Final = Stored(head=_empty_head(), since=0.0, lifetime=0.0)
"""A response that has not begun: by its URL it may be purged."""


def _whole(stored: Stored) -> tuple[ResponseHead, Source]:
    return stored.head, source_of(stored.body, None)


def _variant_of(lookup: Lookup, sample: Stored) -> FlightKey:
    """What is fetched where the variants of a key are known to differ as one of them does."""
    asking = lookup.asking
    values = tuple([asking.asked.value(name) for name, _ in sample.vary])
    codings = asking.asked.codings if sample.codings is not None else None
    if not values and codings is None and asking.asker is None:
        return lookup.key
    return lookup.key, asking.asker, values, codings


def _reported(exchange: Exchange) -> list[bytes]:
    """What a trusted proxy reports of the user or its certificate."""
    request = exchange.request
    assert request is not None
    fields = request.fields
    pairs = zip(fields.names, fields.lines, strict=True)
    return [line for name, line in pairs if REPORTED(name) or name == b"x-forwarded-client-cert"]


def _begin(fetch: Fetching) -> None:
    """Begin to fetch in the background, if the service has a permit at once: clients come first."""
    try:
        limit = fetch.service.limit
        if limit is None or limit.enter():
            fetch.start()
        else:
            fetch.abandon()
    except FAULTS:
        contain(fetch)


def _unobserved(exchange: Exchange, failure: str | None) -> None:
    """What no client waits for is not observed."""


_KINDS: Final[dict[type[Forwarding], tuple[type[Fetching], type[Replay], type[Invalidating]]]] = {
    Forwarding: (PlainFetching, PlainReplay, PlainInvalidating),
    HookedForwarding: (HookedFetching, HookedReplay, HookedInvalidating),
    FilteredForwarding: (FilteredFetching, FilteredReplay, FilteredInvalidating),
}
