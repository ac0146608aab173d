"""What has to fit together between the parts of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from portico.config.consumers import ConsumerSettings
from portico.config.found import DiscoverySettings
from portico.config.gateway import GatewaySettings
from portico.config.listen_checks import listen_findings, shared_address
from portico.config.problems import Finding
from portico.config.resolve import ResolvedRoute, scope_path
from portico.config.routes import RouteSettings
from portico.config.services import ServiceSettings
from portico.policies.auth import AuthSettings

RESERVED = ("gateway", "none")
"""Names of services that metrics use for requests that reached no service."""


def gateway_findings(gateway: GatewaySettings) -> Iterator[Finding]:
    """What one part of the section demands of another."""
    if not gateway.admin_is_local and gateway.admin_token is None:
        message = "other machines can reach this address: set ADMIN_TOKEN or write gateway.admin_token"
        yield Finding(("gateway", "admin"), message)
    for path, listener in gateway.written_listeners():
        if listener.proxy_protocol and not gateway.trusted_proxies:
            message = "needs trusted_proxies: only a peer named there may say where a connection comes from"
            yield Finding((*path, "proxy_protocol"), message)
    if "admin" in gateway.model_fields_set:
        yield from shared_address(gateway)
    yield from listen_findings(gateway)


def token_findings(gateway: GatewaySettings, routes: Sequence[ResolvedRoute], *, has_secret: bool) -> Iterator[Finding]:
    """Tokens are signed with something, and with what routes accept."""
    if gateway.tokens.algorithm is None:
        paths = (scope_path(route, route.policies["auth"][1]) for route in routes if _accepts_own(route))
        message = "the gateway has no keys of its own: write gateway.tokens.algorithm, such as Ed25519"
        yield from (Finding((*path, "auth"), message, at_key=True) for path in dict.fromkeys(paths))
    if "tokens" in gateway.model_fields_set and gateway.tokens.algorithm is None and not has_secret:
        message = "tokens need a key to be signed with: set SECRET_KEY, or write algorithm: Ed25519 here"
        yield Finding(("gateway", "tokens"), message, at_key=True)


def _accepts_own(route: ResolvedRoute) -> bool:
    settings, _ = route.policies.get("auth", (None, ""))
    jwt = settings.jwt if isinstance(settings, AuthSettings) else None
    return jwt is not None and (jwt.own or any(each.own for each in jwt.issuers))


def name_findings(services: Mapping[str, ServiceSettings], routes: Sequence[RouteSettings]) -> Iterator[Finding]:
    """Reserved names, and names given twice."""
    for name in services:
        if name in RESERVED:
            yield Finding(
                ("services", name), f'a service cannot be called "{name}": metrics use that word', at_key=True
            )
    seen: dict[str, RouteSettings] = {}
    for index, route in enumerate(routes):
        if route.name is not None and (first := seen.setdefault(route.name, route)) is not route:
            yield Finding(("routes", index, "name"), f"the route for {first.place} has this name already")


def match_findings(routes: Sequence[ResolvedRoute]) -> Iterator[Finding]:
    """Two routes that match the very same requests: the second would never get one."""
    seen: dict[object, ResolvedRoute] = {}
    for route in routes:
        if route.is_variant:
            continue
        first = seen.setdefault(route.match, route)
        if first is not route:
            message = f"the route {first.name} matches the very same requests ({route.place}) already"
            yield Finding(route.source, message, at_key=True)


def consumer_findings(consumers: Sequence[ConsumerSettings]) -> Iterator[Finding]:
    """A consumer is written once, and a key is that of one."""
    seen: set[str] = set()
    keys: set[str] = set()
    for index, consumer in enumerate(consumers):
        if consumer.name in seen:
            yield Finding(("consumers", index, "name"), "a consumer above has this name already")
        seen.add(consumer.name)
        for place, key in enumerate(consumer.keys):
            if key in keys:
                yield Finding(("consumers", index, "keys", place), "this key is written already")
            keys.add(key)


def cache_findings(gateway: GatewaySettings, routes: Sequence[ResolvedRoute]) -> Iterator[Finding]:
    """A cache in Redis needs one."""
    if gateway.redis_url is not None:
        return
    message = "needs a Redis that gateways share: set REDIS_URL or write gateway.redis_url; without one, write memory"
    caches = ((route, *route.policies["cache"]) for route in routes if "cache" in route.policies)
    for path in dict.fromkeys(scope_path(route, scope) for route, cache, scope in caches if cache.store == "redis"):
        yield Finding((*path, "cache", "store"), message)


def discovery_findings(
    gateway: GatewaySettings, services: Mapping[str, ServiceSettings], discover: DiscoverySettings | None
) -> Iterator[Finding]:
    """Discovery through Redis needs one."""
    if gateway.redis_url is not None:
        return
    message = "needs a Redis that services share: set REDIS_URL or write gateway.redis_url; without one, write admin"
    if discover is not None and discover.source == "redis":
        yield Finding(("discover",), message, at_key=True)
    for name, service in services.items():
        if service.discover is not None and service.discover.source == "redis":
            yield Finding(("services", name, "discover"), message)
