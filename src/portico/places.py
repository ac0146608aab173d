"""Where a request goes: its route, and the path that its service will see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from portico.errors import Answer, MessageError, Refusal
from portico.messages import RequestHead
from portico.paths import segments_of
from portico.route import LocalRoute, Route
from portico.router import Router
from portico.stores.generations import Generations

_REMEMBERED: Final = 16_384
_REMEMBERED_SIZE: Final = 256

Routes: TypeAlias = Router[Route | LocalRoute]


@dataclass(frozen=True, slots=True)
class Place:
    """What a path, a host and a method lead to.

    `path` is the path as it was sent, for logs and problem documents; `target` is what the service sees instead.
    """

    route: Route | LocalRoute
    path: str
    target: bytes


class Places:
    """Finds places by a router, and remembers those that come again: most requests ask for a path asked for before.

    What depends on more than path, host and method is looked up every time.
    """

    def __init__(self, router: Routes) -> None:
        self._router = router
        self._known: Generations[tuple[bytes, bytes, bytes], Place] = Generations(_REMEMBERED)
        self._words: dict[bytes, bytes] = {}
        """Hosts and methods, each as one object: comparing keys then touches no memory but the path's."""

    def parts(self) -> Iterator[object]:
        """Everything that they are made of."""
        return self._router.parts()

    def find(self, request: RequestHead, path: bytes) -> Place | Answer:
        """The place of a request with this `path` in its target, or the answer where there is none.

        Raises MessageError for a path that could be read in two ways.
        """
        key = (path, request.host, request.method)
        place = self._known.young.get(key) or self._known.get(key)
        if place is not None:
            return place
        if path == b"*":
            return Answer(204)
        segments = segments_of(path)
        match = self._match_preflight(request, segments) if request.method == b"OPTIONS" else None
        match = match or self._router.match(segments, request.host, request.method, request.fields)
        if match is None:
            return self._refusal(request, segments)
        route, depth = match
        if b"//" in path:
            self._refuse_hidden(request, segments, route)
        target = route.rewrite.apply(path, depth) if isinstance(route, Route) else path
        place = Place(route, path.decode(), target)
        if len(path) <= _REMEMBERED_SIZE and request.method != b"OPTIONS" and not self._router.reads_fields(segments):
            self._known.put((path, self._one(request.host), self._one(request.method)), place)
        return place

    def _one(self, word: bytes) -> bytes:
        if len(self._words) > _REMEMBERED:
            self._words.clear()
        return self._words.setdefault(word, word)

    def _match_preflight(
        self, request: RequestHead, segments: tuple[bytes, ...]
    ) -> tuple[Route | LocalRoute, int] | None:
        """The route that a preflight asks about, if it answers such questions."""
        method = request.fields.get(b"access-control-request-method")
        if method is None or b"origin" not in request.fields.names:
            return None
        match = self._router.match(segments, request.host, method, request.fields)
        return match if match and isinstance(match[0], Route) and match[0].answers_preflights else None

    def _refusal(self, request: RequestHead, segments: tuple[bytes, ...]) -> Refusal:
        allowed = self._router.allowed_methods(segments, request.host, request.fields)
        if not allowed:
            return Refusal("no_route", "no route leads from this path to a service")
        lines = (b"Allow: " + b", ".join(allowed),)
        return Refusal("method_not_allowed", f"{request.method.decode()} is not offered here", lines)

    def _refuse_hidden(self, request: RequestHead, segments: tuple[bytes, ...], found: Route | LocalRoute) -> None:
        """A service that merges slashes would read another path: refuse where that path has a route of its own."""
        merged = [segment for segment in segments if segment]
        match = self._router.match(merged, request.host, request.method, request.fields)
        if match is not None and match[0] is not found:
            raise MessageError("malformed_request", "empty segments that hide which route the path means")
