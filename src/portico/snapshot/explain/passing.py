"""A request on its way past the policies to its service: all of it as ever, but between two ends that send nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final, TypedDict

import msgspec

from portico.config import Config, ResolvedRoute
from portico.config.listen import ListenerSettings
from portico.config.resolve import scope_path
from portico.core.errors import REASONS, Answer, MessageError, Refusal
from portico.core.exchange import Client, Exchange
from portico.core.messages import CHUNKED
from portico.observe.metrics import Metrics
from portico.observe.tracing import Tracer
from portico.proxy.gateway import Snapshot
from portico.snapshot.builder import SnapshotBuilder
from portico.snapshot.compiled import sampling_of
from portico.snapshot.explain.choices import split_of
from portico.snapshot.explain.ends import ClientEnd, InstanceEnd, Noted
from portico.snapshot.explain.ends import Outcome as Ends
from portico.snapshot.explain.explanation import Answered, Outcome, Split, Verdict
from portico.snapshot.explain.instances import described
from portico.snapshot.explain.question import shown
from portico.snapshot.explain.rebuilding import Rebuilding
from portico.snapshot.explain.routed import Routed
from portico.snapshot.explain.trail import Trail, WatchedGateway
from portico.snapshot.explain.verdicts import verdicts

_LONGEST: Final = 2.0
"""Seconds that an explanation may take: Redis and checks of passwords are waited for."""
_NO_LOG: Final = 1000
_WANTS_QUIET: Final[ContextVar[bool]] = ContextVar("explains", default=False)


class Passed(TypedDict):
    """What is said of a request behind its route; see `Explanation`."""

    outcome: Outcome
    policies: list[Verdict]
    cache: dict[str, Any] | None
    instance: dict[str, Any] | None
    head: str | None
    answer: Answered | None
    notes: list[str]
    split: Split | None


async def passed(routed: Routed, builder: SnapshotBuilder, snapshot: Snapshot, config: Config) -> Passed:
    """What becomes of a request behind its route. Nothing is sent, counted, stored or logged for it."""
    token = _WANTS_QUIET.set(True)
    try:
        with _quiet():
            return await _Passing(routed, builder, snapshot, config).passed()
    finally:
        _WANTS_QUIET.reset(token)


def answered_at_once(client: Client, begin: Callable[[ClientEnd], None]) -> Answered:
    """What a client is answered that gets to no policy; `begin` has the gateway begin its request on a stream."""
    ends = Ends()
    stream = ClientEnd(client, 0, 0, is_done=True, outcome=ends)
    begin(stream)
    assert ends.answer is not None
    exchange = stream.receiver
    return _answered(ends.answer, exchange if isinstance(exchange, Exchange) else None)


class _Passing:
    """One request that passes."""

    def __init__(self, routed: Routed, builder: SnapshotBuilder, snapshot: Snapshot, config: Config) -> None:
        self.routed, self.builder, self.snapshot, self.config = routed, builder, snapshot, config
        self.ends = Ends()
        self.listener = _listener(config, routed.listener)
        self.building = Rebuilding.of(
            builder, config, lambda instance: InstanceEnd(instance, self.ends), self._asked, self._ran
        )
        self.trail = Trail(self.building.labels)

    def _asked(self, address: str, passes: bool) -> None:
        self.trail.asked(address.partition("?")[0], passes)

    def _ran(self, use: str) -> None:
        self.trail.asked(use)

    async def passed(self) -> Passed:
        exchange = self.routed.exchange
        route = exchange.match.route
        matcher, written = self.building.matcher(route.name, self.config, self.listener)
        snapshot = replace(self.snapshot, matcher=matcher, matchers={})
        loop = asyncio.get_running_loop()
        gateway = WatchedGateway(snapshot, Metrics(), None, _NO_LOG, loop)
        gateway.trail = self.trail
        if (tracing := self.config.gateway.tracing) is not None:
            tracer = Tracer(lambda flush: None)  # noqa: ARG005 - nothing is exported
            tracer.sample(sampling_of(tracing))
            gateway.trace(tracer)
        stream = self._begin(gateway, exchange)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST):
                await self.ends.is_there.wait()
        said = self._said(written)
        stream.receiver.finished("client_closed")
        return said

    def _begin(self, gateway: WatchedGateway, asked: Exchange) -> ClientEnd:
        """As the wire begins it."""
        request, content = asked.request, asked.content
        assert request is not None
        limit, size = self.config.gateway.limits.body_size, request.framing
        is_done = size == 0 or (bool(content) and size != CHUNKED)
        is_too_large = size > limit and size > (limit := gateway.body_limit(request) or limit)
        stream = ClientEnd(asked.stream.client, limit, len(content), is_done=is_done, outcome=self.ends)
        now = time.monotonic()
        if is_too_large:
            error = MessageError("body_too_large", f"the body is larger than {limit} bytes")
            gateway.begin_refused(stream, request, error, now)
        else:
            gateway.begin(stream, request, content, now)
        return stream

    def _said(self, written: ResolvedRoute | None) -> Passed:
        ends, trail = self.ends, self.trail
        exchange = trail.exchange
        answer = None if ends.answer is None else _answered(ends.answer, exchange)
        policies = self.config.own_policies if written is None else written.policies
        if answer is not None:
            trail.ended(_given(answer))
        said: Passed = {
            "outcome": self._outcome(answer),
            "policies": verdicts(trail, policies, self._source(written)),
            "cache": self._cache(written, exchange),
            "instance": None,
            "head": None if ends.head is None else ends.head.decode("latin-1"),
            "answer": answer,
            "notes": [*self._notes(written)],
            "split": self._split(written, exchange),
        }
        if exchange is not None and (ends.head is not None or _wants_instance(answer)):
            service = exchange.match.handling.service
            said["instance"] = described(service, ends.instance, exchange)
        return said

    def _outcome(self, answer: Answered | None) -> Outcome:
        if self.trail.is_open:
            return "unknown"
        if answer is not None:
            return "refused" if answer["reason"] is not None else "answered"
        return "forwarded" if self.ends.head is not None else "unknown"

    def _split(self, written: ResolvedRoute | None, exchange: Exchange | None) -> Split | None:
        """Which side it takes; one that is refused before has not been given any."""
        if written is None or written.split is None or exchange is None or exchange.match.handling is None:
            return None
        weights = self.builder.live.weights(written.name, written.split.weights, {})
        side = exchange.match.handling.side
        by_side = dict(zip(weights.written, weights.weights, strict=True))
        return split_of(written, exchange, by_side, None if side is None else side.service)

    def _source(self, written: ResolvedRoute | None) -> Any:
        def source(key: str, scope: str) -> list[str | int]:
            if written is None:
                return ["policies", key] if scope else []
            if not scope:
                return [*written.source, key] if key in ("body_size", "split", "redirect_slash") else []
            return [*scope_path(written, scope), key]

        return source

    def _cache(self, written: ResolvedRoute | None, exchange: Exchange | None) -> dict[str, Any] | None:
        if written is None or "cache" not in written.policies or written.service is None:
            return None
        memory: Any = self.building.caches.memory
        settings, _ = written.policies["cache"]
        keys = [shown(key) for key in dict.fromkeys(memory.wanted)]
        status = (
            next((_value(line) for line in exchange.response_lines if line.startswith(b"Cache-Status:")), None)
            if exchange is not None
            else None
        )
        return {
            "store": settings.store,
            "key": keys[-1] if keys else None,
            "state": (exchange.cache if exchange is not None else None) or ("miss" if keys else None),
            "status": status,
        }

    def _notes(self, written: ResolvedRoute | None) -> Iterator[str]:
        if self.ends.waits_for_body and self.ends.head is None and self.ends.answer is None:
            yield "what comes of it depends on the body, which is not known"
        if self.ends.head is not None:
            yield "X-Request-ID and traceparent are made for each request, as are the times and ids of signatures"
        shared = self.building.shared_limits
        if shared is not None and shared.fallbacks:
            yield "Redis does not answer, so that limits go by their fallback"
        for mirror in () if written is None else written.mirrors:
            yield f"{100 * mirror.share:g} % of the requests are copied for {mirror.service}"
        for failover, _ in () if written is None else written.failovers:
            yield f"{failover.service} is asked in its place on {', '.join(map(str, failover.on))}"


def _listener(config: Config, key: str) -> ListenerSettings:
    return next(each for each in config.gateway.listeners if each.key == key or not key)


def _answered(noted: Noted, exchange: Exchange | None) -> Answered:
    headers = [[name, value] for name, value in map(_pair, noted.lines)]
    reason = None if exchange is None else exchange.reason
    return {
        "status": noted.status,
        "reason": reason,
        "detail": _detail(noted),
        "headers": headers,
        "body": shown(noted.body),
    }


def _given(answer: Answered) -> Answer:
    """The same as whoever gave it has it."""
    reason = answer["reason"]
    if reason is None or reason not in REASONS:
        return Answer(answer["status"], reason=reason)
    return Refusal(reason, answer["detail"])


def _detail(noted: Noted) -> str:
    """What a problem document says."""
    try:
        return str(msgspec.json.decode(noted.body)["detail"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""


def _pair(line: bytes) -> tuple[str, str]:
    name, _, value = line.partition(b":")
    return shown(name), shown(value.strip())


def _value(line: bytes) -> str:
    return _pair(line)[1]


def _wants_instance(answer: Answered | None) -> bool:
    return answer is not None and answer["reason"] in ("no_healthy_upstream", "circuit_open", "overloaded")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is logged by what runs in this context: no operator is to take it for what a client did."""
    loggers = [
        each
        for name, each in list(logging.root.manager.loggerDict.items())
        if isinstance(each, logging.Logger) and name.startswith("portico.")
    ]
    for each in loggers:
        if _is_wanted not in each.filters:
            each.addFilter(_is_wanted)
    yield


def _is_wanted(record: logging.LogRecord) -> bool:  # noqa: ARG001
    return not _WANTS_QUIET.get()
