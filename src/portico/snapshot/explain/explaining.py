"""All that is said of one request, in the order in which it passes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, cast

from portico.config import Config
from portico.config.problems import Finding
from portico.core.errors import MessageError, Refusal
from portico.core.exchange import Exchange
from portico.core.messages import RequestHead
from portico.core.paths import segments_of
from portico.observe.metrics import Metrics
from portico.proxy.gateway import Gateway, Snapshot
from portico.proxy.redirect import Redirect
from portico.proxy.routing.router import host_name
from portico.snapshot.builder import SnapshotBuilder
from portico.snapshot.explain.answers import answered
from portico.snapshot.explain.entrance import Entrance, entrance_of
from portico.snapshot.explain.explanation import Asked, Explanation
from portico.snapshot.explain.passing import Passed, passed
from portico.snapshot.explain.question import Question, limits_of, read, shown
from portico.snapshot.explain.routing import Routing, nearest
from portico.snapshot.explain.stream import Unsent
from portico.snapshot.explain.written import Written

MOST: Final = 10
"""Routes that are named beside the one that takes the request, the nearest ones."""


async def explain(
    builder: SnapshotBuilder, snapshot: Snapshot, config: Config, question: Question, most: int = MOST
) -> Explanation:
    """What becomes of a request. `config` is what the snapshot was built from, by the `builder`, in any process.

    At most so many other routes are named. Raises ValueError where the request could not be sent: no method, a field
    that is none, a listener that is not there.
    """
    question.check()
    entrance = entrance_of(question, config)
    explanation = begun(question, entrance.listener.key, secure=entrance.secure)
    limits = limits_of(config)
    try:
        request = read(question, limits)
    except MessageError as error:
        explanation["answer"] = answered(Refusal(error.reason, error.detail))
        return _ended(explanation)
    _describe(explanation["request"], request)
    here = snapshot.at(entrance.listener.key)
    gateway = Gateway(replace(here, matcher=here.matcher.apart()), Metrics(), None, 0, cast(Any, None))
    stream = Unsent(entrance.client(question), len(question.body), limits.body_size)
    exchange = gateway.probe(cast(Any, stream), request)
    exchange.content = question.body
    explanation["request"]["client_ip"] = exchange.client_ip
    if entrance.redirects:
        return _redirected(explanation, entrance, gateway, exchange, request)
    written = Written(config.all_routes, config.gateway.listeners)
    routing = Routing(gateway.snapshot.matcher, snapshot.all_matchers, written, entrance.listener.key)
    routed = routing.route(exchange, request, explanation, most)
    if routed is None:
        return _ended(explanation)
    said = await passed(replace(routed, listener=entrance.listener.key), builder, snapshot, config)
    return _ended(_with(explanation, said))


def begun(question: Question, listener: str, *, secure: bool) -> Explanation:
    """What can be said before anything is read."""
    path, _, query = question.target.partition("?")
    asked = Asked(
        method=question.method,
        target=question.target,
        path=path,
        segments=None,
        query=query,
        host="",
        host_name="",
        headers=[[*pair] for pair in question.lines()],
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
    if said["path"] is not None and said["head"] is not None:
        said["path"]["service"] = said["head"].split(" ", 2)[1]
    said["notes"] += passed["notes"]
    return said


def _ended(said: Explanation) -> Explanation:
    """What comes of all that."""
    answer = said["answer"]
    said["nearest"] = nearest(said)
    if answer is not None and said["outcome"] != "unknown":
        said["outcome"] = "answered" if answer["reason"] is None else "refused"
    return said


def located(said: Explanation, config: Config) -> Explanation:
    """The same with file and line of what it names, in the process that read the configuration."""
    for each in (said["route"], said["nearest"], *said["others"], *said["policies"]):
        if each is not None and each["source"]:
            problem = config.problem(Finding(tuple(each["source"]), "", at_key=True))
            each["where"] = ":".join(str(part) for part in (problem.file, problem.line) if part is not None)
    return said
