"""The router's part: which route takes a request, and why no other does."""

from __future__ import annotations

from collections.abc import Sequence

from portico.config import ResolvedRoute
from portico.core.errors import Answer, MessageError, Refusal
from portico.core.exchange import Exchange, RouteMatch
from portico.core.messages import RequestHead
from portico.core.paths import segments_of
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


class Routing:
    """The routes of one listener, for one question."""

    def __init__(self, matcher: Matcher, others: Sequence[Matcher], written: Written, listener: str) -> None:
        """`others` are the matchers of all listeners."""
        self.matcher, self.others = matcher, others
        self.written, self.listener = written, listener

    def route(self, exchange: Exchange, request: RequestHead, said: Explanation, most: int) -> Routed | None:
        """Say of a request which route takes it; None where its policies are not asked, since it is answered before."""
        path, mark, query = request.target.partition(b"?")
        exchange.query, exchange.match = mark + query, RouteMatch.nowhere(path)
        try:
            found = self.matcher.find(request, path)
            preflight = self.matcher.preflighted(request) if isinstance(found, RouteMatch) else None
        except MessageError as error:
            said["answer"] = answered(Refusal(error.reason, error.detail))
            if (losing := self._losing(request, path, None)) is not None:
                self._refused(losing, error, said, most)
            return None
        said["request"]["preflight_for"] = None if preflight is None else shown(preflight)
        losing = self._losing(request, path, preflight) if path != b"*" else None
        if isinstance(found, Answer):
            said["answer"] = answered(found)
            if losing is not None:
                said["others"], said["more"] = losing.lost(None, most)
            return None
        exchange.match = found
        return self._taken(exchange, request, found, losing, said, most)

    def _losing(self, request: RequestHead, path: bytes, preflight: bytes | None) -> Losing | None:
        """All routes as they stand to it; None where its path is refused as it is."""
        try:
            segments = segments_of(path)
        except MessageError:
            return None
        asked = Request(request, segments, text_of(segments), preflight or request.method, self.listener)
        return Losing(self.matcher, self.others, asked, self.written)

    def _taken(
        self,
        exchange: Exchange,
        request: RequestHead,
        match: RouteMatch,
        losing: Losing | None,
        said: Explanation,
        most: int,
    ) -> Routed | None:
        """What is said of the route that takes it."""
        target: Target = match.route
        winner = losing.winner(target) if losing is not None else None
        written = self.written.routes.get(target.name)
        route = said["route"] = self._found(target, winner, losing, written)
        if losing is not None and winner is not None:
            said["others"], said["more"] = losing.lost(winner, most)
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
        return Routed(exchange, handling, refusal)

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

    def _refused(self, losing: Losing, error: MessageError, said: Explanation, most: int) -> None:
        """A request that is refused since it is in doubt which route it is for."""
        said["others"], said["more"] = losing.lost(None, most)
        if not isinstance(error, HiddenRouteError):
            return
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
