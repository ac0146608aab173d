"""Routes as they are written: what a target of the router is called in the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from portico.config import ListenerSettings, ResolvedRoute
from portico.proxy.routing.challenges import PREFIX as CHALLENGES
from portico.proxy.routing.route import LocalRoute, Route
from portico.snapshot.explain.explanation import Named

Target: TypeAlias = Route | LocalRoute


class Written:
    """The routes of a configuration by their names, in its order, and which listeners serve them."""

    def __init__(self, routes: Iterable[ResolvedRoute], listeners: Sequence[ListenerSettings]) -> None:
        self.routes = {route.name: route for route in routes if not route.is_variant}
        self.listeners = [listener.key for listener in listeners]
        self._listeners = listeners
        self.order = {name: index for index, name in enumerate(self.routes)}

    def serving(self, name: str) -> list[str]:
        """The listeners that serve a route."""
        return [listener.key for listener in self._listeners if listener.serves(name)]

    def named(self, target: Target) -> Named:
        """What is said of a target of the router, whatever rule leads to it."""
        written = self.routes.get(target.name)
        if written is None:
            kind: Any = "challenge" if target.name.encode() == CHALLENGES else "endpoint"
            return Named(name=target.name, kind=kind, source=[], where="", path=f"= {target.name}")
        kind = "default" if written.is_default else "route"
        return Named(name=written.name, kind=kind, source=list(written.source), where="", path=written.place)
