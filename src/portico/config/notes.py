"""What a configuration means where that may surprise, without being wrong: what `portico check` and `routes` say."""

from __future__ import annotations

from collections.abc import Iterator

from portico.config.endpoints import PATHS
from portico.config.gateway import GatewaySettings
from portico.config.model import Config
from portico.config.resolve import ResolvedRoute
from portico.config.services import preserved
from portico.core.hosts import host_and_port

CLIENTS = "client's"
SERVICES = "service's"


def hosts_in_words(config: Config, route: ResolvedRoute) -> str:
    """Whose Host its service gets: `client's`, `service's`, or `auto` where it depends on the instance."""
    if route.service is None:
        return ""
    if route.preserve_host != "auto":
        return CLIENTS if route.preserve_host else SERVICES
    upstream = config.services[route.service].upstream(route.version)
    found = {CLIENTS if preserved("auto", instance) else SERVICES for instance in upstream.instances}
    return found.pop() if len(found) == 1 and not upstream.may_change else "auto"


def notes_for(config: Config) -> Iterator[str]:
    """Endpoints that everybody reaches unsaid, the port that authorities ask, and services that `preserve_host: auto`
    keeps the client's Host from.
    """
    yield from _public_endpoints(config.gateway)
    yield from _forwarded_challenges(config.gateway)
    own: dict[str, None] = {}
    for route in config.all_routes:
        if route.service is not None and route.preserve_host == "auto":
            upstream = config.services[route.service].upstream(route.version)
            own |= dict.fromkeys(
                f"{route.service}: {each.host} gets its own name as Host; preserve_host: true sends it the client's"
                for each in upstream.instances
                if not preserved("auto", each)
            )
    yield from own


def _forwarded_challenges(gateway: GatewaySettings) -> Iterator[str]:
    """Authorities ask at port 80, whatever port something maps it to."""
    ports = sorted({port for listener in gateway.listeners for port in listener.plain_ports})
    names = [name for acme in gateway.ordered_certificates.values() for name in acme.domains]
    if names and ports and 80 not in ports:
        listed = " or ".join(map(str, ports))
        yield f"{', '.join(names)}: the authority asks at port 80, which has to lead to port {listed} here"


def _public_endpoints(gateway: GatewaySettings) -> Iterator[str]:
    endpoints = gateway.endpoints
    public = [path for path, key in PATHS.items() if key not in endpoints.model_fields_set]
    where = " and ".join(
        host_and_port(listener.host, listener.port)
        for listener in gateway.listeners
        if not (listener.is_local or listener.endpoints == "off")
    )
    if not where or not public:
        return
    listed = " and ".join(filter(None, (", ".join(public[:-1]), public[-1])))
    advice = "gateway.endpoints: {NAME: internal | admin | off} says who may"
    if "/health" in public:
        advice += ", and health: {detail: states} leaves out addresses and errors"
    yield f"everybody who reaches {where} may read {listed}: {advice}"
