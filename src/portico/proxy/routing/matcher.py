"""Where a request goes: its route, and the path that its service will see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Final, TypeAlias

from portico.core.caches import ages
from portico.core.errors import Answer, MessageError, Refusal
from portico.core.exchange import RouteMatch
from portico.core.messages import Fields, RequestHead
from portico.core.paths import decoded_segments, folded, readings, segments_of
from portico.proxy.routing.challenges import PREFIX, Challenges
from portico.proxy.routing.route import LocalRoute, Route
from portico.proxy.routing.router import Router
from portico.proxy.routing.versions import VersionMatches

_ENTRIES: Final = 16_384
_ENTRY_SIZE: Final = 256
_MAX_BYTES: Final = 6 * 1024 * 1024
"""Bytes of one generation of entries, about."""
_MATCH: Final = 350
"""Bytes of an entry without the path, of which there are three."""

Routes: TypeAlias = Router[Route | LocalRoute]
_Entries: TypeAlias = "dict[tuple[bytes, bytes], dict[bytes, RouteMatch]]"
NO_ROUTE: Final = "no route leads from this path to a service"
_NO_FIELDS: Final = Fields([], [])
_NOTHING: Final[dict[bytes, RouteMatch]] = {}


class HiddenRouteError(MessageError):
    """A request that would take the route `found`, and that its service may read as one of `other`, by a `reading`."""

    def __init__(
        self, detail: str, found: Route | LocalRoute, other: Route | LocalRoute, reading: tuple[bytes, ...]
    ) -> None:
        super().__init__("malformed_request", detail)
        self.found, self.other, self.reading = found, other, reading


class Matcher:
    """Finds matches with a router, and caches them: most requests are for a path requested before.

    What depends on more than path, host and method (on fields, on the query) is looked up every time. `folded` is the
    same router with the paths of its rules folded, if there are services that fold paths. `no_route` is what clients
    are told where nothing matches. `challenges` come before all routes, where there may be some.
    """

    def __init__(
        self,
        router: Routes,
        folded: Routes | None = None,
        no_route: str = NO_ROUTE,
        challenges: Challenges | None = None,
    ) -> None:
        self._challenges = challenges
        self._router = router
        self._no_route = no_route
        self._decoded = router.decoded()
        self._folded = folded
        self._young: _Entries = {}
        self._old: _Entries = {}
        self._count = self._size = 0
        self._targets: dict[bytes, bytes] = {}
        ages(self)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Drop the entries not used since the last time."""
        self._rotate()
        self._targets.clear()

    def parts(self) -> Iterator[object]:
        """All objects that the matches are made of."""
        for router in (self._router, self._decoded, self._folded):
            yield from router.parts() if router is not None else ()

    def apart(self) -> Matcher:
        """The same with caches of its own, for who only asks what it would find."""
        twin = copy(self)
        twin._young, twin._old, twin._targets = {}, {}, {}
        twin._count = twin._size = 0
        return twin

    @property
    def router(self) -> Routes:
        """What it finds routes with."""
        return self._router

    @property
    def challenges(self) -> Challenges:
        """What comes before all routes."""
        return self._challenges or Challenges()

    @property
    def local_answers(self) -> dict[str, Callable[[], Answer]]:
        """What the worker answers itself, by path."""
        targets = (rule.target for rule in self._router.rules())
        return {target.name: target.answer for target in targets if isinstance(target, LocalRoute)}

    def preflighted(self, request: RequestHead) -> bytes | None:
        """The method of the request that a preflight asks about, where it takes the route of that; else None.

        Raises MessageError as `find` does.
        """
        segments = segments_of(request.target.partition(b"?")[0])
        if request.method != b"OPTIONS" or self._preflighted(request, segments, self._router) is None:
            return None
        return request.fields.get(b"access-control-request-method")

    def find(self, request: RequestHead, path: bytes) -> RouteMatch | Answer:
        """The match of a request with this `path` in its target, or the answer where there is none.

        Raises MessageError for an ambiguous path.
        """
        known = request.known
        if known.by is not self._young:
            self._recall(request)
        found: RouteMatch | None = known.matches.get(path)
        if found is not None:
            return found
        found = self._old.get((request.host, request.method), _NOTHING).get(path)
        if found is not None:
            self._remember(request, path, found)
            return found
        if path == b"*":
            return Answer(204)
        is_lasting = True
        if self._challenges is not None and path.startswith(PREFIX):
            is_lasting = False  # the token may be known soon
            challenge = self._challenges.find(request.method, path)
            if challenge is not None:
                return RouteMatch(challenge, None, path.decode(), path)
        segments = segments_of(path)
        match = self._match(request, segments)
        if match is None:
            return self._refusal(request, segments)
        route, depth = match
        reads_fields = self._router.reads_fields(segments)
        if not request.method.isupper():
            reads_fields = True
            self._refuse_method(request, segments, route)
        if isinstance(route, Route):
            is_plain = b"%" not in path and b"//" not in path and b";" not in path and b"\\" not in path
            if not is_plain or route.case_insensitive or self._decoded is not None:
                reads_fields = self._refuse_hidden(request, segments, route, depth) or reads_fields
            found = self._found(route, path, depth, is_bare=depth == len(segments))
        else:
            found = RouteMatch(route, None, path.decode(), path)
        is_short = len(path) <= _ENTRY_SIZE and len(request.host) <= _ENTRY_SIZE
        if is_lasting and is_short and request.method != b"OPTIONS" and not reads_fields:
            self._remember(request, path, found)
        return found

    def _found(self, route: Route, path: bytes, depth: int, *, is_bare: bool) -> RouteMatch:
        target = self._one(route.rewrite.apply(path, depth))
        if route.versions is None:
            handling = route.at_prefix if is_bare and route.at_prefix is not None else route.handling
            sides = tuple([self._found(own, path, depth, is_bare=False) for own in route.sides]) if route.sides else ()
            return RouteMatch(route, handling, path.decode(), target, route.forwarded, sides=sides)
        each = route.versions
        matches = {name: self._found(own, path, depth, is_bare=is_bare) for name, own in each.routes.items()}
        refused = RouteMatch(route, each.refused, path.decode(), target)
        return RouteMatch(route, None, path.decode(), target, versions=VersionMatches(each.chooser, matches, refused))

    def _one(self, target: bytes) -> bytes:
        """The same target as one object: many services have the same paths, and one is in the processor's caches."""
        if len(target) > _ENTRY_SIZE:
            return target
        if len(self._targets) >= _ENTRIES:
            self._targets.clear()
        return self._targets.setdefault(target, target)

    def _recall(self, request: RequestHead) -> None:
        """Give a request, and those that repeat its fields, the cached matches of its host and method."""
        key = (request.host, request.method)
        known = self._young.get(key)
        if known is None:
            known = {}
            if len(request.host) <= _ENTRY_SIZE:
                self._rotate_if_full(_MATCH + len(request.host))
                self._young[key] = known
        request.known.matches, request.known.by = known, self._young

    def _remember(self, request: RequestHead, path: bytes, found: RouteMatch) -> None:
        matches = 1 + len(found.sides) if found.versions is None else 2 + len(found.versions.matches)
        self._rotate_if_full(matches * (_MATCH + 3 * len(path)))
        if request.known.by is not self._young:
            self._recall(request)
        request.known.matches[path] = found

    def _rotate_if_full(self, size: int) -> None:
        """Count one more entry; at a limit, drop the entries not used since a limit was last reached."""
        if self._count >= _ENTRIES or self._size + size > _MAX_BYTES:
            self._rotate()
        self._count += 1
        self._size += size

    def _rotate(self) -> None:
        for matches in self._old.values():
            matches.clear()  # heads that are remembered refer to them
        self._old.clear()
        self._old, self._young = self._young, {}
        self._count = self._size = 0

    def _match(
        self, request: RequestHead, segments: tuple[bytes, ...], router: Routes | None = None
    ) -> tuple[Route | LocalRoute, int] | None:
        """The route of a request; for a preflight that of the request it asks about, if it answers preflights."""
        router = router or self._router
        if request.method == b"OPTIONS" and (match := self._preflighted(request, segments, router)) is not None:
            return match
        return router.match(segments, request.host, request.method, request.fields, request.target.partition(b"?")[2])

    def _preflighted(
        self, request: RequestHead, segments: tuple[bytes, ...], router: Routes
    ) -> tuple[Route | LocalRoute, int] | None:
        """The route of the request that a preflight asks about, if it answers preflights."""
        asked = request.fields.get(b"access-control-request-method")
        if asked is None or b"origin" not in request.fields.names:
            return None
        query = request.target.partition(b"?")[2]
        match = router.match(segments, request.host, asked, request.fields, query)
        if match and isinstance(match[0], Route) and match[0].handling.answers_preflights:
            return match
        return None

    def _refusal(self, request: RequestHead, segments: tuple[bytes, ...]) -> Refusal:
        query = request.target.partition(b"?")[2]
        allowed = self._router.allowed_methods(segments, request.host, request.fields, query)
        if not allowed:
            return Refusal("no_route", self._no_route)
        lines = (b"Allow: " + b", ".join(allowed),)
        return Refusal("method_not_allowed", f"{request.method.decode()} is not offered here", lines)

    def _refuse_hidden(self, request: RequestHead, segments: tuple[bytes, ...], found: Route, depth: int) -> bool:
        """Refuse a path that its service may read as one of another route; whether that depends on header fields.

        A service that decodes the path, or merges its slashes, would give a client what that route's policies guard.
        """
        if not found.rewrite.keeps_path:
            return False  # its service sees one path only
        reads_fields = False
        for router, paths in self._readings(segments, found):
            for reading in paths:
                reads_fields = reads_fields or router.reads_fields(reading)
                match = self._match(request, reading, router)
                if match is None or match[0] is found:
                    continue
                if found.by_pattern and self._says_so_encoded(request, reading, router, found):
                    continue  # that is what the pattern says, once it is decoded
                other, taken = match
                is_above = reading[:taken] == segments[:taken] or router is not self._router
                if taken <= depth and is_above and not found.by_pattern:
                    continue  # the found route was written as an exception from this one
                if (found.by_pattern or reading[:depth] == segments[:depth]) and _is_alike(
                    reading, found, depth, other, taken
                ):
                    continue
                raise HiddenRouteError(
                    "encoded characters, parameters or empty segments that hide which route the path means; "
                    "send it without them",
                    found,
                    other,
                    reading,
                )
        return reads_fields

    def _says_so_encoded(self, request: RequestHead, reading: tuple[bytes, ...], router: Routes, found: Route) -> bool:
        """Whether a reading takes a route whose pattern is written encoded."""
        if router is self._folded:
            reading = folded(decoded_segments(b"/" + b"/".join(reading)))
        elif self._decoded is None:
            return False
        else:
            router = self._decoded
        match = self._match(request, reading, router)
        return match is not None and match[0] is found

    def _refuse_method(self, request: RequestHead, segments: tuple[bytes, ...], found: Route | LocalRoute) -> None:
        """Refuse a method in small letters whose capitals have another route.

        Methods are case-sensitive (RFC 9110, section 9.1), but hypercorn and Flask take `post` for POST.
        """
        method = request.method.upper()
        paths = [(self._router, {segments})]
        if isinstance(found, Route):
            paths += self._readings(segments, found)
        for router, readings_of_it in paths:
            for reading in readings_of_it:
                match = router.match(reading, request.host, method, request.fields, request.target.partition(b"?")[2])
                if match is not None and isinstance(match[0], Route) and match[0] is not found:
                    shown = f"{request.method.decode()} is not {method.decode()}, which has another route"
                    raise HiddenRouteError(f"{shown}; send methods in capitals", found, match[0], reading)

    def _readings(self, segments: tuple[bytes, ...], found: Route) -> Iterator[tuple[Routes, set[tuple[bytes, ...]]]]:
        """What a service may take the path for, and the routers that know routes for that."""
        others = readings(segments, found.encoded_slashes)
        yield self._router, others
        if self._decoded is not None:
            yield self._decoded, {segments, *others}
        if found.case_insensitive and self._folded is not None:
            yield self._folded, {folded(reading) for reading in (segments, *others)}


def has_prefix_route(router: Routes, host: bytes, path: bytes) -> bool:
    """Whether a route to a service has `path` below its prefix; own endpoints and routes for `/` do not count.

    The front page itself is of the latter, for which there may be an exact rule as well.
    """
    if path == b"/":
        return False
    try:
        match = router.match(segments_of(path), host, b"GET", _NO_FIELDS)
    except MessageError:
        return False
    if match is None or not match[1]:
        return False
    return isinstance(match[0], Route) and match[0].handling.rewriting is not None


def _is_alike(segments: tuple[bytes, ...], one: Route, depth: int, other: Route | LocalRoute, taken: int) -> bool:
    """Whether it makes no difference, to policies and to the service, which of two routes the segments take."""
    if not isinstance(other, Route) or other.handling is not one.handling or other.versions is not one.versions:
        return False
    path = b"/" + b"/".join(segments)
    return one.rewrite.apply(path, depth) == other.rewrite.apply(path, taken)
