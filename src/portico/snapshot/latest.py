"""What a route has to know of all others: those of the snapshot that was built last."""

from __future__ import annotations

from portico.proxy.routing.matcher import Routes, has_prefix_route


class LatestRoutes:
    """The routes of listeners of one kind.

    If a route referred to the routes that it is among, it would be a circle, and nothing of a snapshot that is replaced
    would ever be freed: what is built with a snapshot the garbage collector never looks at.
    """

    def __init__(self) -> None:
        self.routes: Routes | None = None

    def has_prefix(self, host: bytes, path: bytes) -> bool:
        """Whether a route to a service has `path` below its prefix."""
        return self.routes is not None and has_prefix_route(self.routes, host, path)
