"""Frontends: what becomes of a request before it has a route, and the gateway's own endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from portico.config import Config, ListenerSettings, ResolvedRoute
from portico.config.endpoints import PATHS
from portico.render.haproxy.answers import always, field_lines
from portico.render.haproxy.cors import asked, cors_fields, cors_lines
from portico.render.haproxy.fields import dropped, response_lines, told
from portico.render.haproxy.listeners import bind, to_https
from portico.render.haproxy.names import Names, of_policy
from portico.render.haproxy.requests import proxy_lines, request_lines
from portico.render.haproxy.routing import NOWHERE, Routing
from portico.render.haproxy.text import comment, section, word


class Frontends:
    """The frontends of a configuration, and the sections that they send requests to."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.own: dict[str, list[str]] = {}
        """The lines of the gateway's own sections, by their names."""
        self._routing = Routing(names, self._refusing)

    @property
    def targets(self) -> dict[str, ResolvedRoute]:
        """The routes that are in use, by the names of their sections."""
        return self._routing.targets

    def sections(self) -> Iterator[list[str]]:
        """All frontends, those of each listener together."""
        config = self._names.config
        groups: dict[object, list[ListenerSettings]] = {}
        for listener in config.gateway.listeners:
            same = (listener.kind, listener.tls.model_dump_json() if listener.tls else "", listener.proxy_protocol)
            groups.setdefault(same, []).append(listener)
        for listeners in groups.values():
            name = self._names.free(listeners[0].name or "gateway")
            yield section(f"frontend {name}", self._frontend(name, listeners))
            for listener in listeners:
                yield from to_https(self._names, listener)

    def _frontend(self, name: str, listeners: Sequence[ListenerSettings]) -> Iterator[str]:
        config = self._names.config
        yield from (bind(self._names, listener) for listener in listeners)
        yield "http-after-response set-header X-Request-ID %[unique-id]"
        yield from field_lines()
        yield "http-after-response add-header Vary Accept if { var(txn.bare) -m found }"
        if any("cors" in route.policies for route in config.all_routes) or "cors" in config.own_policies:
            yield from cors_fields()
        yield from proxy_lines(config)
        yield ""
        yield comment("Path and query as they were sent; to compare, no letter of the path is percent-encoded.")
        yield from request_lines(config)
        yield from asked()
        yield ""
        yield from self._routing.lines(name, config.served_by(listeners[0]), self._own(listeners[0]))
        yield ""
        yield comment("What services are told, and what nobody else may tell them.")
        yield from dropped()
        yield from told()
        yield ""
        yield "use_backend %[var(txn.route)] if { var(txn.route) -m found }"
        yield f"default_backend {NOWHERE}"
        if NOWHERE not in self.own:
            self.own[NOWHERE] = [*self._marks(), *always(404, "no_route")]

    def _refusing(self, methods: Sequence[str]) -> str:
        """The section of requests with another method than these."""
        name = "own:only_" + "_".join("".join(x if x.isalnum() else "-" for x in method) for method in methods)
        if name not in self.own:
            self.own[name] = [*self._marks(), *always(405, "method_not_allowed", allow=", ".join(methods))]
        return name

    def _marks(self) -> list[str]:
        """What is said of responses that are no route's."""
        policies = self._names.config.own_policies
        cors = of_policy(policies, "cors")
        lines = [*response_lines(self._names, policies, None)]
        return lines if cors is None else [*lines, *cors_lines(cors)]  # type: ignore[arg-type]

    def _own(self, listener: ListenerSettings) -> dict[str, str]:
        """The sections of the gateway's own endpoints, by their paths: there are no metrics and no documents."""
        config: Config = self._names.config
        found = {"/livez": "own:status", "/readyz": "own:status"}
        endpoints = config.gateway.endpoints_of(listener)
        for path in endpoints.served():
            if endpoints.access(path) == "internal":
                why = "HAProxy does not show this to some networks only"
                self._names.losses.add(("gateway", "endpoints", PATHS[path]), why)
            found[path] = {"/health": "own:status", "/": "own:root"}.get(path, NOWHERE)
        texts = {"own:status": {"status": "ok"}, "own:root": {"message": config.gateway.title}}
        for name in found.values():
            if name in texts and name not in self.own:
                said = f"content-type application/json string {word(json.dumps(texts[name]))}"
                self.own[name] = [*self._marks(), f"http-request return status 200 {said}"]
        return found
