"""Forward-auth: a service is asked about each request, as by Traefik's `forwardAuth` and nginx's `auth_request`.

It gets the request's fields without its content, and where the client wanted to go; with a 2xx the request goes on, and
any other answer is the client's. Without an answer nobody is let in.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from hashlib import blake2b
from itertools import compress
from types import MappingProxyType
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator

from portico.core.caches import ages, remembered
from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.fields import (
    FRAMING,
    OF_HANDSHAKES,
    OF_ONE_HOP,
    RESPONSE_DROP,
    is_owned,
    plain_name,
)
from portico.core.messages import RequestHead
from portico.core.questions import Question, Reply, UnansweredError
from portico.core.settings import DurationOrZero, HeaderName
from portico.policies.asking import AskedSettings, Outages
from portico.policies.consumer_fields import NameEncoding, consumer_lines, consumer_name
from portico.policies.counters.generations import Generations
from portico.policies.policy import Context, Policy

HOW: Final = "sign in"

_OF_CONTENT: Final = FRAMING | {b"content-type", b"content-encoding", b"expect"}
_CONDITIONS: Final = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range"}
)
_OWN: Final = frozenset({b"x-original-method", b"x-original-uri", b"x-original-url"})
_NOT_ASKED: Final = _OF_CONTENT | _CONDITIONS | OF_HANDSHAKES | _OWN
"""Fields of a request that the service does not get: about the content and the answer, or written here. In lower case,
with dashes."""
_CREDENTIALS: Final = frozenset({b"authorization", b"cookie"})
_NOT_ANSWERED: Final = RESPONSE_DROP | FRAMING | {b"date"}
"""Fields of a refusal that the client does not get: they end here, or the gateway writes them."""
_USUAL_PORTS: Final = {b"http": b"80", b"https": b"443"}
_SET_COOKIE: Final = b"set-cookie"
_MOST: Final = 10_000
_MOST_BYTES: Final = 4 * 1024 * 1024
"""Decisions of one generation, and their bytes."""
_NO_CLAIMS: Final[Mapping[str, Any]] = MappingProxyType({})


def _passed(name: str) -> str:
    if is_owned(name.lower().encode()):
        raise ValueError("this field is written by the gateway itself")
    return name


def _returned(name: str) -> str:
    if name.lower().encode() in _NOT_ANSWERED | OF_ONE_HOP:
        raise ValueError("this field is about one connection, or written by the gateway itself")
    return name


class ForwardSettings(AskedSettings):
    """A service that decides who may come in.

    `pass_headers` of its answer go on to the service, whose clients cannot send these themselves; `response_headers` go
    to the client. `request_headers` are all fields of the client that it is asked with; without it, it gets all.
    `consumer` is the field of its answer that names who it is, `scopes` the one that has the scopes. `cache` and
    `cache_refused` are how long a decision holds for the same question.
    """

    pass_headers: list[Annotated[HeaderName, AfterValidator(_passed)]] = []
    """Fields of its answer that go on to the service behind the gateway; clients cannot send these themselves."""
    response_headers: list[Annotated[HeaderName, AfterValidator(_returned)]] = []
    """Fields of its answer that go to the client: cookies beside the service's own, others in their place."""
    request_headers: list[HeaderName] | None = None
    """The only fields of clients that it is shown; unless written, all."""
    consumer: HeaderName | None = None
    """The field of its answer that names the consumer; unless written, the first of `pass_headers` that ends in `User`
    or `Username`.
    """
    scopes: HeaderName | None = None
    """The field of its answer that has the consumer's scopes, with spaces or commas between."""
    cache: DurationOrZero = 0.0
    """How long a 2xx holds for the same question."""
    cache_refused: DurationOrZero = 0.0
    """How long a 401 or 403 holds for the same question."""

    @property
    def consumer_field(self) -> str:
        """The field that names the consumer: unless it is written, the first that is called so; empty for none.

        Other fields that are passed on may be credentials, which are no name.
        """
        names = (name for name in self.pass_headers if name.lower().endswith(("user", "username")))
        return self.consumer or next(names, "")


class _Decision(NamedTuple):
    """What the service said of one who may come in; never its cookies, which are for the one who asked."""

    consumer: str
    scopes: tuple[str, ...]
    request_lines: tuple[bytes, ...]
    response_lines: tuple[bytes, ...]


class _Known(NamedTuple):
    """A decision, or a refusal, and until when it holds (monotonic seconds)."""

    until: float
    said: _Decision | Answer


class _Decisions(Generations[bytes, _Known]):
    """What was decided, by a digest of what was asked."""

    __slots__ = ("__weakref__",)

    def __init__(self) -> None:
        super().__init__(_MOST, _MOST_BYTES, _size_of)
        ages(self)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Drop those that have not come lately."""
        self.rotate()


def _size_of(known: _Known) -> int:
    said = known.said
    if isinstance(said, Answer):
        return 400 + len(said.body) + sum(map(len, said.lines))
    return 400 + 60 * len(said.scopes) + sum(map(len, (*said.request_lines, *said.response_lines)))


def build_forward(settings: ForwardSettings, encoding: NameEncoding, context: Context) -> Policy:
    """The method: it decides on every request, whatever that shows."""
    asker = context.state.asker(settings)
    key = ("forward", context.scope, settings.model_dump_json(), encoding)
    decisions: _Decisions = context.state.keep(key, _Decisions)
    outages: Outages = context.state.keep(("forward outages", settings.url), lambda: Outages(settings.url))
    reading, target = _Reading(settings, encoding), settings.target
    asks_with = _asking_with(settings)
    remembers = bool(settings.cache or settings.cache_refused)

    def forward(exchange: Exchange) -> Answer | Awaitable[Answer | None] | None:
        lines = _question_lines(exchange, asks_with)
        digest = blake2b(b"\n".join(lines), digest_size=20).digest()
        if remembers:
            known = decisions.get(digest)
            if known is not None and known.until > time.monotonic():
                return follow(exchange, digest, known.said)
        lines.append(b"X-Request-ID: " + exchange.request_id.encode())
        return ask(exchange, Question(b"GET", target, lines, exchange=exchange), digest)

    async def ask(exchange: Exchange, question: Question, digest: bytes) -> Answer | None:
        try:
            reply = await asker(question)
            said = reading.of(reply)
        except UnansweredError as error:
            return outages.refusal(error, exchange.request_id)
        if remembers and (span := _span(settings, reply)):
            decisions.put(digest, _Known(time.monotonic() + span, said))
        return follow(exchange, digest, said, reading.cookies(reply))

    def follow(
        exchange: Exchange, digest: bytes, decision: _Decision | Answer, cookies: tuple[bytes, ...] = ()
    ) -> Answer | None:
        if isinstance(decision, Answer):
            return _without(decision, exchange.response_drop)
        exchange.consumer, exchange.scopes = decision.consumer, decision.scopes
        exchange.claims_or_token = _NO_CLAIMS if decision.consumer else _asker_of(digest)
        exchange.request_lines += decision.request_lines
        if reading.replaced:
            exchange.response_drop = (exchange.response_drop or frozenset()) | reading.replaced
        elif cookies and exchange.response_drop is None:
            exchange.response_drop = frozenset()
        exchange.response_lines += (*decision.response_lines, *cookies)
        return None

    return forward


def _asker_of(digest: bytes) -> Mapping[str, Any]:
    """What tells one without a name apart from others: a cache must not take two of these for the same."""
    return MappingProxyType({"asked": digest.hex()})


# ---- what is asked


def _question_lines(exchange: Exchange, asks_with: Callable[[bytes], bool]) -> list[bytes]:
    """The field lines by which the service decides: those of the client, and where it wanted to go."""
    request = exchange.request
    assert request is not None
    client = exchange.stream.client
    outer = client.peer.asked_at(request)
    port = (outer.port or _USUAL_PORTS[outer.scheme]) if exchange.trusted else b"%d" % client.local_port
    uri = outer.prefix + request.target.partition(b"?")[0] + exchange.query
    client_ip = exchange.client_ip.encode()
    return [
        *_of_client(request, asks_with),
        b"X-Forwarded-Method: " + request.method,
        b"X-Forwarded-Proto: " + outer.scheme,
        b"X-Forwarded-Host: " + outer.host,
        b"X-Forwarded-Port: " + port,
        b"X-Forwarded-Uri: " + uri,
        b"X-Forwarded-For: " + client_ip,
        b"X-Real-IP: " + client_ip,
        b"X-Original-Method: " + request.method,
        b"X-Original-URI: " + uri,
        b"X-Original-URL: %b://%b%b" % (outer.scheme, outer.host, uri),
    ]


def _of_client(request: RequestHead, asks_with: Callable[[bytes], bool]) -> list[bytes]:
    """Those lines of the client's that go on, without what is about its content."""
    fields, hop_by_hop = request.fields, request.hop_by_hop
    assert fields.shape is not None
    pairs = compress(zip(fields.names, fields.lines, strict=True), fields.shape.unnoted)
    return [line for name, line in pairs if asks_with(name) and name not in hop_by_hop]


def _asking_with(settings: ForwardSettings) -> Callable[[bytes], bool]:
    """Which fields of clients a service is asked with, by lower-cased name.

    Without a list, all but those in which it says itself who somebody is: it might take them for its own. Credentials
    are no such word.
    """
    if settings.request_headers is not None:
        shown = frozenset(name.lower().encode() for name in settings.request_headers)
        return remembered(4096)(lambda name: name in shown and plain_name(name) not in _NOT_ASKED)
    said = (*settings.pass_headers, settings.consumer or "", settings.scopes or "")
    withheld = _NOT_ASKED | {plain_name(name.lower().encode()) for name in said} - _CREDENTIALS
    return remembered(4096)(lambda name: plain_name(name) not in withheld)


# ---- what is answered


class _Reading:
    """Reads answers."""

    def __init__(self, settings: ForwardSettings, encoding: NameEncoding) -> None:
        self._encoding = encoding
        self._passed = _lowered(settings.pass_headers)
        returned = _lowered(settings.response_headers)
        self._returns_cookies = _SET_COOKIE in returned
        self.replaced = returned - {_SET_COOKIE}
        """Fields of responses that are the service's word, not the one of what is behind the gateway."""
        self._consumer = settings.consumer_field.lower().encode()
        self._scopes = (settings.scopes or "").lower().encode()

    def of(self, reply: Reply) -> _Decision | Answer:
        """What a service has decided. Raises UnansweredError where it has not."""
        if 200 <= reply.status < 300:
            return self._decision(reply)
        if 300 <= reply.status < 500 and reply.status != 304:
            return _refusal(reply)
        raise UnansweredError(f"it answers {reply.status}")

    def cookies(self, reply: Reply) -> tuple[bytes, ...]:
        """The cookies that the client gets."""
        return _lines(reply, {_SET_COOKIE}) if self._returns_cookies else ()

    def _decision(self, reply: Reply) -> _Decision:
        try:
            consumer = consumer_name(self._text(reply, self._consumer))
            scopes = tuple(map(consumer_name, self._text(reply, self._scopes).replace(",", " ").split()))
        except ValueError as error:
            raise UnansweredError(f"it names nobody: {error}") from None
        lines = consumer_lines(consumer, scopes, self._encoding)
        passed = (*lines, *_lines(reply, self._passed))
        return _Decision(consumer, scopes, passed, _lines(reply, self.replaced))

    @staticmethod
    def _text(reply: Reply, name: bytes) -> str:
        """The value of a field, empty where it is not there. Raises ValueError where it is not text."""
        values = reply.fields.all(name) if name else []
        if len(values) > 1:
            raise ValueError(f"{name.decode()} is there {len(values)} times")
        return values[0].decode() if values else ""


def _refusal(reply: Reply) -> Answer:
    """The answer as the client gets it."""
    lines = reply.fields.without(_NOT_ANSWERED | reply.hop_by_hop)
    if b"cache-control" not in reply.fields.names:
        lines.append(b"Cache-Control: no-store")
    return Answer(reply.status, lines, reply.content, "access_denied")


def _without(answer: Answer, names: Collection[bytes] | None) -> Answer:
    """The same without the fields that policies drop, which may have others of the same names to add."""
    if not names:
        return answer
    lines = [line for line in answer.lines if line.partition(b":")[0].lower() not in names]
    return Answer(answer.status, lines, answer.body, answer.reason)


def _span(settings: ForwardSettings, reply: Reply) -> float:
    """How long what was decided holds for the same question: only refusals that say nothing of a client's own do."""
    names = reply.fields.names
    if b"no-store" in reply.fields.tokens(b"cache-control"):
        return 0.0
    if reply.status < 300:
        return settings.cache
    return settings.cache_refused if reply.status in (401, 403) and _SET_COOKIE not in names else 0.0


def _lines(reply: Reply, names: Collection[bytes]) -> tuple[bytes, ...]:
    fields = reply.fields
    return tuple(line for name, line in zip(fields.names, fields.lines, strict=True) if name in names)


def _lowered(names: Collection[str]) -> frozenset[bytes]:
    return frozenset(name.lower().encode() for name in names)
