"""All that is said of one request, in the order in which it passes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, cast

from portico.config import Config
from portico.config.problems import Finding
from portico.core.errors import MessageError, Refusal
from portico.core.exchange import Client, Exchange
from portico.core.messages import RequestHead
from portico.core.paths import segments_of
from portico.core.slices import in_slices
from portico.observe.metrics import Metrics
from portico.proxy.gateway import Gateway, Snapshot
from portico.proxy.redirect import Redirect
from portico.proxy.routing.router import host_name
from portico.snapshot.builder import SnapshotBuilder
from portico.snapshot.explain.answers import answered
from portico.snapshot.explain.ends import ClientEnd, Outcome
from portico.snapshot.explain.entrance import NO_PORTS, Entrance, entrance_of
from portico.snapshot.explain.explanation import Asked, Explanation
from portico.snapshot.explain.passing import Passed, answered_at_once, passed
from portico.snapshot.explain.question import Question, limits_of, read, sent, shown
from portico.snapshot.explain.routing import Routing, nearest
from portico.snapshot.explain.written import Written

Where: TypeAlias = Callable[[Sequence[str | int]], str | None]
"""File and line of what stands at a path of keys, if they are known."""
MOST: Final = 10
"""Routes that are named beside the one that takes the request, the nearest ones."""


async def explain(
    builder: SnapshotBuilder,
    snapshot: Snapshot,
    config: Config,
    question: Question,
    most: int = MOST,
    ports: Mapping[str, int] = NO_PORTS,
) -> Explanation:
    """What becomes of a request. `config` is what the snapshot was built from, by the `builder`, in any process.
    `ports` are those of the listeners that are open, by their names.

    At most so many other routes are named. Raises ValueError where the request could not be sent: no method, a field
    that is none, a listener that is not there.
    """
    question.check()
    entrance = entrance_of(question, config, ports)
    explanation = begun(question, entrance.listener.key, secure=entrance.secure)
    limits = limits_of(config)
    try:
        request = read(question, limits)
    except MessageError as error:
        gateway, refused = _gateway(snapshot, entrance.listener.key), error
        explanation["answer"] = answered_at_once(
            entrance.client(question), lambda end: gateway.refuse(end, refused, question.head())
        )
        return _ended(explanation)
    if entrance.redirects:
        _describe(explanation["request"], request)
        gateway, exchange = _probe(snapshot, entrance.listener.key, request, entrance.client(question), question.body)
        return _redirected(explanation, entrance, gateway, exchange, request)
    client = entrance.client(question)
    return await _Explaining(builder, snapshot, config, most).said(request, client, question.body, explanation)


async def explain_received(
    builder: SnapshotBuilder,
    snapshot: Snapshot,
    config: Config,
    request: RequestHead,
    client: Client,
    content: bytes,
    listener: str,
    most: int = MOST,
) -> Explanation:
    """The same of a request that a client has sent to a listener, with as much of its content as came with its head."""
    fields = zip(request.fields.names, request.fields.lines, strict=True)
    headers = tuple((shown(line[: len(name)]), shown(line[len(name) + 1 :].strip())) for name, line in fields)
    question = Question(request.method_name, shown(request.target), headers, content, client.address, listener)
    explanation = begun(question, listener, secure=client.secure)
    return await _Explaining(builder, snapshot, config, most).said(request, client, content, explanation)


@dataclass(frozen=True, slots=True)
class _Explaining:
    """By what a request is explained that was read."""

    builder: SnapshotBuilder
    snapshot: Snapshot
    config: Config
    most: int

    async def said(self, request: RequestHead, client: Client, content: bytes, explanation: Explanation) -> Explanation:
        config, listener = self.config, explanation["request"]["listener"]
        _describe(explanation["request"], request)
        gateway, exchange = _probe(self.snapshot, listener, request, client, content)
        explanation["request"]["client_ip"] = exchange.client_ip
        written = Written(config.all_routes, config.gateway.listeners)
        routing = Routing(gateway.snapshot.matcher, self.snapshot.all_matchers, written, listener)
        routed = await in_slices(routing.routing(exchange, request, explanation, self.most))
        if routed is None:
            now = time.monotonic()
            explanation["answer"] = answered_at_once(client, lambda end: gateway.begin(end, request, content, now))
            return _ended(explanation)
        said = await passed(replace(routed, listener=listener), self.builder, self.snapshot, config)
        return _ended(_with(explanation, said))


def _probe(
    snapshot: Snapshot, listener: str, request: RequestHead, client: Client, content: bytes
) -> tuple[Gateway, Exchange]:
    """A gateway that finds routes without noting it, and the exchange that it makes of a request."""
    gateway = _gateway(snapshot, listener)
    stream = ClientEnd(client, 0, len(content), is_done=True, outcome=Outcome())
    exchange = gateway.probe(stream, request)
    exchange.content = content
    return gateway, exchange


def _gateway(snapshot: Snapshot, listener: str) -> Gateway:
    """One of its own, which serves nobody."""
    here = snapshot.at(listener)
    return Gateway(replace(here, matcher=here.matcher.apart()), Metrics(), None, 0, cast(Any, None))


def begun(question: Question, listener: str, *, secure: bool) -> Explanation:
    """What can be said before anything is read."""
    target = shown(sent(question.target))
    path, _, query = target.partition("?")
    asked = Asked(
        method=shown(sent(question.method)),
        target=target,
        path=path,
        segments=None,
        query=query,
        host="",
        host_name="",
        headers=[[shown(sent(part)) for part in pair] for pair in question.lines()],
        body_bytes=len(question.body),
        listener=listener,
        client_ip=question.client_ip,
        secure=secure,
        preflight_for=None,
    )
    return Explanation(
        request=asked,
        outcome="refused",
        route=None,
        others=[],
        more={},
        nearest=None,
        path=None,
        policies=[],
        cache=None,
        instance=None,
        head=None,
        answer=None,
        notes=question.notes(),
    )


def _describe(asked: Asked, request: RequestHead) -> None:
    """What the parser made of it."""
    path = request.target.partition(b"?")[0]
    asked["host"], asked["host_name"] = shown(request.host), shown(host_name(request.host))
    with suppress(MessageError):
        asked["segments"] = [*map(shown, segments_of(path))]


def _redirected(
    said: Explanation, entrance: Entrance, gateway: Gateway, exchange: Exchange, request: RequestHead
) -> Explanation:
    """What the port says that sends every client to HTTPS."""
    matcher = gateway.snapshot.matcher
    redirect = Redirect(gateway, matcher.local_answers, matcher.challenges, entrance.https_port)
    try:
        said["answer"] = answered(redirect.answer(exchange, request))
    except MessageError as error:
        said["answer"] = answered(Refusal(error.reason, error.detail))
    said["notes"].append(f"port {entrance.port} has no routes: it sends clients to HTTPS at port {entrance.https_port}")
    return _ended(said)


def _with(said: Explanation, passed: Passed) -> Explanation:
    """All that is known before the policies are asked, with what comes of them."""
    if said["route"] is not None:
        said["route"]["split"] = passed["split"]
    for key in ("outcome", "policies", "cache", "instance", "head", "answer"):
        said[key] = passed[key]
    if said["route"] is not None and said["route"]["kind"] == "endpoint" and said["answer"] is None:
        said["outcome"], said["instance"], said["head"] = "answered", None, None  # by a process of the gateway's own
    else:
        said["notes"] += passed["notes"]
    if said["path"] is not None and said["head"] is not None:
        said["path"]["service"] = said["head"].split(" ", 2)[1]
    return said


def _ended(said: Explanation) -> Explanation:
    """What comes of all that."""
    answer = said["answer"]
    said["nearest"] = nearest(said)
    if answer is not None and said["outcome"] != "unknown":
        said["outcome"] = "answered" if answer["reason"] is None else "refused"
    return said


def located(said: Explanation, where: Where) -> Explanation:
    """The same with file and line of what it names, in a process that knows them."""
    for each in (said["route"], said["nearest"], *said["others"], *said["policies"]):
        if each is not None and each["source"]:
            each["where"] = where(each["source"]) or ""
    return said


def lines_in(config: Config) -> Where:
    """The lines of a configuration, in the process that has read it."""

    def where(path: Sequence[str | int]) -> str | None:
        problem = config.problem(Finding(tuple(path), "", at_key=True))
        return ":".join(str(part) for part in (problem.file, problem.line) if part is not None)

    return where
