"""The router's part: which route takes a request, and why no other does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from portico.config import ResolvedRoute
from portico.core.errors import Answer, MessageError, Refusal
from portico.core.exchange import Exchange, RouteMatch
from portico.core.messages import RequestHead
from portico.core.paths import segments_of
from portico.core.slices import Steps
from portico.proxy.routing.matcher import HiddenRouteError, Matcher
from portico.snapshot.explain.answers import answered
from portico.snapshot.explain.asking import Request, met
from portico.snapshot.explain.choices import version_of
from portico.snapshot.explain.explanation import Explanation, Fate, Found, Lost, Met
from portico.snapshot.explain.losing import Candidate, Losing
from portico.snapshot.explain.paths import text_of
from portico.snapshot.explain.question import shown
from portico.snapshot.explain.routed import Routed
from portico.snapshot.explain.written import Target, Written

_PREFLIGHT: Final = frozenset({b"origin", b"access-control-request-method"})
"""The fields of preflights (Fetch, section 3.2.2)."""


class Routing:
    """The routes of one listener, for one question."""

    def __init__(self, matcher: Matcher, others: Sequence[Matcher], written: Written, listener: str) -> None:
        """`others` are the matchers of all listeners."""
        self.matcher, self.others = matcher, others
        self.written, self.listener = written, listener

    def routing(self, exchange: Exchange, request: RequestHead, said: Explanation, most: int) -> Steps[Routed | None]:
        """Say of a request, in steps, which route takes it.

        The result is None where its policies are not asked, since it is answered before.
        """
        path, mark, query = request.target.partition(b"?")
        exchange.query, exchange.match = mark + query, RouteMatch.nowhere(path)
        found, preflight = self._look_up(request, path)
        losing = yield from self._losing(request, path, preflight)
        said["request"]["preflight_for"] = None if preflight is None else shown(preflight)
        if preflight is None and request.method == b"OPTIONS" and {*request.fields.names} >= _PREFLIGHT:
            said["notes"].append("a preflight takes the route of the request that it is about where that has cors")
        if isinstance(found, RouteMatch):
            exchange.match = found
            return (yield from self._taken(exchange, request, found, losing, said, most))
        said["answer"] = answered(Refusal(found.reason, found.detail) if isinstance(found, MessageError) else found)
        if losing is not None:
            said["others"], said["more"] = yield from losing.losing(None, max(most, 1))
            if isinstance(found, HiddenRouteError):
                self._hidden(losing, found, said, most)
        return None

    def _look_up(self, request: RequestHead, path: bytes) -> tuple[RouteMatch | Answer | MessageError, bytes | None]:
        """What the router says, and the method that a preflight asks about."""
        try:
            return self.matcher.find(request, path), self.matcher.preflighted(request)
        except MessageError as error:
            return error, None

    def _losing(self, request: RequestHead, path: bytes, preflight: bytes | None) -> Steps[Losing | None]:
        """All routes as they stand to it; None where its path is refused as it is, or is none."""
        try:
            segments = segments_of(path)
        except MessageError:
            return None
        if path == b"*":
            return None
        asked = Request(request, segments, text_of(segments), preflight or request.method, self.listener)
        losing = Losing(asked, self.written)
        yield from losing.gathering(self.matcher, self.others)
        return losing

    def _taken(
        self,
        exchange: Exchange,
        request: RequestHead,
        match: RouteMatch,
        losing: Losing | None,
        said: Explanation,
        most: int,
    ) -> Steps[Routed | None]:
        """What is said of the route that takes it."""
        target: Target = match.route
        winner = losing.winner(target) if losing is not None else None
        written = self.written.routes.get(target.name)
        route = said["route"] = self._found(target, winner, losing, written)
        if losing is not None and winner is not None:
            said["others"], said["more"] = yield from losing.losing(winner, most)
        handling, refusal = match.handling, None
        if match.versions is not None:
            assert written is not None
            route["version"] = version_of(written, match.versions, exchange)
            match, refusal = match.versions.of(request)
            exchange.match, handling = match, match.handling
        if handling is None:
            said["answer"] = answered(match.route.answer())
            return None
        route["service"] = None if written is not None and written.answer is not None else handling.service_name
        if written is not None and written.answer is None and refusal is None:
            service = shown(match.target + exchange.query)
            said["path"] = Fate(client=match.path, service=service, prefix=shown(match.route.prefix))
        return Routed(exchange, handling)

    def _found(
        self, target: Target, winner: Candidate | None, losing: Losing | None, written: ResolvedRoute | None
    ) -> Found:
        conditions: list[Met] = []
        if written is not None and (serving := self.written.serving(written.name)) != self.written.listeners:
            conditions.append(Met(condition="listener", wanted=" or ".join(serving), got=self.listener))
        if losing is not None and winner is not None:
            conditions += map(met, losing.met(winner))
        named = self.written.named(target)
        return Found(**named, service=None, conditions=conditions, version=None, split=None)

    def _hidden(self, losing: Losing, error: HiddenRouteError, said: Explanation, most: int) -> None:
        """A request that is refused since it is in doubt which of two routes it is for."""
        reading = text_of(error.reading)
        if error.reading == losing.asked.segments:
            first = "takes this method as it is written"
            second = "takes the method in capitals, for which some services take it"
        else:
            first = "takes the path as it was sent"
            second = f"takes the path as a service may read it: {reading}"
        hidden = [losing.named(error.found, first), losing.named(error.other, second)]
        names = [each["name"] for each in hidden]
        said["others"] = [*hidden, *(each for each in said["others"] if each["name"] not in names)][: max(most, 2)]


def nearest(said: Explanation) -> Lost | None:
    """The route that was nearest to taking a request that none takes."""
    return said["others"][0] if said["route"] is None and said["others"] else None
