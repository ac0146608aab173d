"""The gateway's own endpoints, as routes: to the control process, or with an answer that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from portico.config import Config
from portico.config.endpoints import PAGE_FILES, PATHS, TOKEN_PATHS
from portico.config.listen import ListenerSettings
from portico.core.errors import Answer
from portico.core.proxy_status import ProxyStatus
from portico.policies.internal import build_internal
from portico.proxy.routing.answers import responding
from portico.proxy.routing.route import Handling, LocalRoute, Rewrite, Route
from portico.proxy.routing.router import Rule
from portico.upstreams.instance import Instance
from portico.upstreams.limit import Limit
from portico.upstreams.service import Retry, Service, Timeouts
from portico.wire.deadlines import Deadlines

UNLIMITED_PATHS: Final = frozenset({"/metrics"})
"""Those of them that are exempt from rate limits: a monitor must see a gateway that refuses others."""

_OWN_REQUESTS: Final = 64
"""Requests for each of them that a worker may have in flight: the control process alone answers them all."""
_OWN_WAITING: Final = 448
_OWN_TIMEOUT: Final = 5.0
"""How many more may wait for that, and for how many seconds.

Waiting costs next to nothing. Clients that are refused retry at once, and each retry costs as much as an answer.
"""

OF_LISTENER: Final = frozenset({"/", "/docs", "/openapi.json"})
"""The endpoints that name routes: a listener that serves some of them has its own."""
_READS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""The methods of endpoints that are read."""


def own_services(control: Instance, deadlines: Deadlines) -> dict[str, Service]:
    """What answers each path: always the control process, but callers of one do not use up the limit of another."""
    services = {path: _own_service(control, deadlines) for path in (*PATHS, *TOKEN_PATHS)}
    return services | dict.fromkeys(PAGE_FILES, services["/docs"])


def _own_service(control: Instance, deadlines: Deadlines) -> Service:
    service = Service("gateway", [(control, 1)], Timeouts(response=15.0, silence=15.0), Retry(attempts=3), deadlines)
    service.limit = Limit(_OWN_REQUESTS, _OWN_WAITING, _OWN_TIMEOUT)
    return service


@dataclass(frozen=True, slots=True)
class OwnEndpoints:
    """Those of a configuration. `parts_of` compiles policies, `local_answers` are what the worker answers itself;
    `answering` stands for the service of what is answered without one.
    """

    config: Config
    parts_of: Callable[[Mapping[str, tuple[Any, str]]], dict[str, Any]]
    services: Mapping[str, Service]
    local_answers: Mapping[str, Callable[[], Answer]]
    answering: Service
    proxy_status: ProxyStatus | None

    def rules(self, listener: ListenerSettings) -> list[Rule[Route | LocalRoute]]:
        """Those of a listener; they come after configured routes for just these paths."""
        config = self.config
        rules: list[Rule[Route | LocalRoute]] = [
            Rule(path, LocalRoute(path, answer), methods=_READS, exact=True, fallback=True)
            for path, answer in self.local_answers.items()
        ]
        endpoints = config.gateway.endpoints_of(listener)
        internal = build_internal(endpoints.networks)
        for path in (*endpoints.served(config.token_paths), *endpoints.page_files):
            own = {
                key: settings
                for key, settings in config.own_policies.items()
                if key != "rate_limit" or path not in UNLIMITED_PATHS
            }
            if path == "/auth/me":
                own["auth"] = config.own_auth, "gateway"
            parts = self.parts_of(own)
            if endpoints.access(path) == "internal":
                parts["policies"] = (*parts["policies"], internal)
            handling = self._handling(self.services[path], parts)
            asked = path
            if listener.routes is not None and path in OF_LISTENER:
                asked = f"/listeners/{listener.key}{path.rstrip('/')}"
            route = Route(path, handling, Rewrite(asked.encode(), b"", keeps_path=False), prefix=b"", forwarded=b"")
            methods = _methods(TOKEN_PATHS[path]) if path in TOKEN_PATHS else _READS
            rules.append(Rule(path, route, methods=methods, exact=True, fallback=True))
        return [*rules, *self._metadata(listener)]

    def _handling(self, service: Service, parts: dict[str, Any]) -> Handling:
        return Handling(
            service=service,
            service_name=service.name,
            **parts,
            timeouts=service.timeouts,
            retry=service.retry,
            preserve_host=True,
            answers_preflights="cors" in self.config.own_policies,
            upgrades=frozenset(),
            trailers=frozenset(),
            proxy_status=self.proxy_status,
        )

    def _metadata(self, listener: ListenerSettings) -> Iterator[Rule[Route | LocalRoute]]:
        """What is said to clients without a token of the routes that a listener serves (RFC 9728)."""
        parts = self.parts_of(self.config.own_policies)
        for path, document in self.config.resources_of(listener).items():
            lines = (b"Content-Type: application/json", b"Cache-Control: max-age=300")
            policies = (*parts["policies"], responding(200, lines, document))
            handling = self._handling(self.answering, {**parts, "policies": policies})
            route = Route(path, handling, Rewrite(path.encode(), b"", keeps_path=False), prefix=b"", forwarded=b"")
            yield Rule(path, route, methods=_READS, exact=True, fallback=True)


def _methods(names: Sequence[str]) -> frozenset[bytes]:
    return frozenset({b"OPTIONS", *(name.encode() for name in names)})
