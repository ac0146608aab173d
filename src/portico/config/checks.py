"""What has to fit together between the parts of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from portico.config.admin import admin_token_findings
from portico.config.consumers import ConsumerSettings
from portico.config.found import DiscoverySettings
from portico.config.gateway import GatewaySettings
from portico.config.listen_checks import listen_findings, shared_address
from portico.config.problems import Finding, KeyPath
from portico.config.resolve import ResolvedRoute, scope_path
from portico.config.routes import RouteSettings
from portico.config.services import HealthCheckSettings, ServiceSettings
from portico.policies.auth import AuthSettings, ClientCertificateSettings

RESERVED = ("gateway", "none")
"""Names of services that metrics use for requests that reached no service."""


def gateway_findings(gateway: GatewaySettings) -> Iterator[Finding]:
    """What one part of the section demands of another."""
    if not gateway.admin_is_local and not gateway.admin_callers:
        message = "other machines can reach this address: set ADMIN_TOKEN or write gateway.admin_token"
        yield Finding(("gateway", "admin"), message)
    yield from admin_token_findings(gateway.admin_token, gateway.admin_tokens)
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
    """A consumer is written once, and a key or a certificate's name is that of one."""
    seen: set[str] = set()
    taken: set[str] = set()
    for index, consumer in enumerate(consumers):
        if consumer.name in seen:
            yield Finding(("consumers", index, "name"), "a consumer above has this name already")
        seen.add(consumer.name)
        for part, what in (("keys", "key"), ("certificates", "name")):
            for place, own in enumerate(getattr(consumer, part)):
                if own in taken:
                    yield Finding(("consumers", index, part, place), f"this {what} is written already")
                taken.add(own)


def password_findings(consumers: Sequence[ConsumerSettings], routes: Sequence[ResolvedRoute]) -> Iterator[Finding]:
    """Passwords are asked for where somebody has one."""
    if any(consumer.password is not None for consumer in consumers):
        return
    message = "no consumer has a password: write consumers: [{name: ann, password: HASH}]; portico password makes it"
    methods = ((route, *route.policies["auth"]) for route in routes if "auth" in route.policies)
    asking = [scope_path(route, scope) for route, auth, scope in methods if auth.basic is not None]
    for path in dict.fromkeys(asking):
        yield Finding((*path, "auth", "basic"), message)


def certificate_findings(gateway: GatewaySettings, routes: Sequence[ResolvedRoute]) -> Iterator[Finding]:
    """Certificates of clients are asked for in handshakes, or come from a proxy."""
    asks = any(each.tls is not None and each.tls.client_certificates is not None for each in gateway.listeners)
    for path, settings in _certificate_methods(routes).items():
        if settings.from_proxies and not gateway.trusted_proxies:
            message = "needs gateway.trusted_proxies: only a peer named there may say what its client has shown"
            yield Finding((*path, "auth", "client_certificate", "from_proxies"), message)
        if not settings.from_proxies and not asks:
            message = "no client is asked for a certificate: write gateway.tls.client_certificates: {ca: FILE}"
            yield Finding((*path, "auth", "client_certificate"), message)


def _certificate_methods(routes: Sequence[ResolvedRoute]) -> dict[KeyPath, ClientCertificateSettings]:
    methods = ((route, *route.policies["auth"]) for route in routes if "auth" in route.policies)
    return {
        scope_path(route, scope): auth.client_certificate for route, auth, scope in methods if auth.client_certificate
    }


def cache_findings(gateway: GatewaySettings, routes: Sequence[ResolvedRoute]) -> Iterator[Finding]:
    """A cache in Redis needs one."""
    if gateway.redis_url is not None:
        return
    message = "needs a Redis that gateways share: set REDIS_URL or write gateway.redis_url; without one, write memory"
    caches = ((route, *route.policies["cache"]) for route in routes if "cache" in route.policies)
    for path in dict.fromkeys(scope_path(route, scope) for route, cache, scope in caches if cache.store == "redis"):
        yield Finding((*path, "cache", "store"), message)


def health_check_findings(gateway: GatewaySettings, services: Mapping[str, ServiceSettings]) -> Iterator[Finding]:
    """Checks that are shared need Redis."""
    if gateway.redis_url is not None:
        return
    message = "needs a Redis that gateways share: set REDIS_URL or write gateway.redis_url"
    for name, service in services.items():
        checks: dict[KeyPath, HealthCheckSettings | None] = {(): service.health_check}
        checks |= {("versions", key): version.health_check for key, version in service.versions.items()}
        for path, check in checks.items():
            if check is not None and check.shared:
                yield Finding(("services", name, *path, "health_check", "shared"), message)


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
