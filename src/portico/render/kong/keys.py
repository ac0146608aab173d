"""Which keys of a configuration become part of Kong's file, and why others do not.

What stands here as `RENDERED` is looked at by the modules beside this one, which list what of its values Kong cannot
do. A key that stands nowhere here is listed as not rendered.
"""

from __future__ import annotations

from typing import Final

from portico.render.written import RENDERED

_RENDERED: Final = (
    *("include", "service.default_routes", "service.rewrite", "service.url"),
    *("service.instances.url", "service.instances.weight", "service.instances.backup"),
    *("service.preserve_host", "service.body_size", "service.load_balancing", "service.sticky"),
    *("service.tls.verify", "service.tls.ca", "service.tls.server_name", "service.tls.certificate", "service.tls.key"),
    *("service.maintenance.retry_after", "service.timeout.connect", "service.timeout.response"),
    *("service.retries.attempts", "service.retries.on", "service.version_by", "service.upgrades"),
    *("service.health_check.path", "service.health_check.interval", "service.health_check.timeout"),
    *("service.health_check.healthy_after", "service.health_check.unhealthy_after", "service.health_check.expect"),
    *("route.name", "route.service", "route.version", "route.path", "route.fallback", "route.hosts", "route.methods"),
    *("route.headers", "route.query", "route.rewrite", "route.preserve_host", "route.upgrades"),
    *("route.body_size", "route.maintenance.retry_after"),
    *("route.timeout.connect", "route.timeout.response", "route.retries.attempts", "route.retries.on"),
    *("route.respond.status", "route.respond.body", "route.respond.file", "route.respond.headers"),
    *("route.redirect.to", "route.redirect.status"),
    *("route.split.service", "route.split.version", "route.split.weight", "route.split.headers"),
    *("route.split.cookies", "route.sticky"),
    *("listener.name", "listener.host", "listener.port", "listener.routes", "listener.endpoints"),
    *("listener.proxy_protocol", "listener.tls.certificate", "listener.tls.key", "listener.tls.min_version"),
    *("listener.tls.redirect_from", "listener.tls.redirect_to"),
    *("gateway.title", "gateway.workers", "gateway.log.access", "gateway.endpoints.metrics", "gateway.endpoints.docs"),
    "gateway.endpoints.networks",
    *("gateway.endpoints.root", "gateway.endpoints.health", "gateway.trusted_proxies", "gateway.limits.body_size"),
    *("policies.cors.allow_origins", "policies.cors.allow_methods", "policies.cors.allow_headers"),
    *("policies.cors.expose_headers", "policies.cors.allow_credentials", "policies.cors.max_age"),
    *("policies.headers.request.set", "policies.headers.request.add", "policies.headers.request.remove"),
    *("policies.headers.response.set", "policies.headers.response.add", "policies.headers.response.remove"),
    *("policies.headers.security", "policies.ip_filter.allow", "policies.ip_filter.deny"),
    *("policies.rate_limit.requests_per_minute", "policies.rate_limit.requests_per_hour"),
    *("policies.rate_limit.requests_per_day", "policies.rate_limit.requests_per_month"),
    *("policies.rate_limit.by", "policies.rate_limit.name", "policies.rate_limit.enforce"),
    *("policies.cache.ttl", "policies.cache.methods", "policies.cache.key", "policies.cache.statuses"),
    *("consumers.name", "consumers.scopes", "consumers.password", "consumers.keys"),
    # listed where they are looked at, with what becomes of the route
    *("policies.auth", "policies.authorize", "policies.deny", "policies.plugins", "policies.validate"),
    "policies.rate_limit.fallback",  # what holds without a Redis, which is not used there
    # of Portico's own processes, which Kong has otherwise or not at all
    *(
        "gateway.admin",
        "gateway.admin_token",
        "gateway.admin_tokens.name",
        "gateway.admin_tokens.token",
        "gateway.admin_tokens.access",
        "gateway.allow_sample_secret_key",
        "gateway.state_dir",
    ),
    *("gateway.embedded_redis", "gateway.redis_timeout", "gateway.kubernetes", "gateway.cache"),
    *("gateway.limits.lag", "gateway.limits.drain_delay", "gateway.limits.drain_timeout", "gateway.log.level"),
    *("gateway.limits.hang_timeout", "gateway.limits.forget_after"),
)

_LOST: Final = {
    "service.redirect_slash": "Kong redirects no browser from a prefix to its slash",
    "route.redirect_slash": "Kong redirects no browser from a prefix to its slash",
    "route.encoded_slashes": "Kong decodes no slash, and has no say in it",
    "service.case_insensitive": "Kong compares paths with case",
    "service.discover": "Kong finds no instances by this: those that are not written are not in its file",
    "service.circuit_breaker": "Kong ejects no instances here",
    "service.passive_health": "Kong ejects no instances here",
    "service.slow_start": "Kong has no slow start",
    "service.hedge": "Kong asks no second instance beside the first",
    "service.queue": "Kong lets no requests wait for a permit",
    "service.openapi": "Kong shows no documents",
    "service.max_requests": "Kong counts no requests under way at a service",
    "service.max_connections": "Kong bounds no connections to a service",
    "service.idle_connection_timeout": "Kong has one such time for all services, in its environment",
    "service.timeout.total": "Kong has no timeout for a whole request",
    "service.timeout.idle": "Kong has one timeout for the head and the body; this is that for the head",
    "service.timeout.tunnel": "Kong has one timeout for the head and for WebSockets; this is that for the head",
    "route.timeout.total": "Kong has no timeout for a whole request",
    "route.timeout.idle": "Kong has one timeout for the head and the body; this is that for the head",
    "route.timeout.tunnel": "Kong has one timeout for the head and for WebSockets; this is that for the head",
    "route.mirror": "Kong sends no copies of requests",
    "route.canary": "Kong moves no weights: they stay as they begin",
    "discover": "Kong finds no services: those that are not written are not in its file",
    "consumers.certificates": "Kong checks no certificates of clients without its enterprise edition",
    "consumers.rate_limit": "the limits of single consumers are not rendered",
    "listener.tls.acme": "Kong has a plugin of its own for this: see its acme plugin",
    "listener.tls.certificates": "Kong has certificates of single hosts in its file, keys included: add them there",
    "listener.tls.client_certificates": "Kong checks no certificates of clients without its enterprise edition",
    "gateway.endpoints.auth": "tokens are issued by Portico alone",
    "gateway.proxy_status": "Kong has no Proxy-Status",
    "gateway.redis_url": "Kong counts in the memory of one node here: write policy: redis in its plugins",
    "policies.compress": "Kong compresses nothing by a plugin",
    "policies.errors": "Kong's errors have one form, in its environment",
    "policies.transform": "Kong's transformers do other things: bodies and fields are not changed by rules",
    "policies.rewrite_location": "Kong rewrites no addresses in responses",
    "policies.rewrite_cookies": "Kong rewrites no cookies",
    "policies.rate_limit.burst": "Kong counts in windows that begin with each minute: all may come at once",
    "gateway.limits.connections": "Kong has this in its environment",
    "gateway.limits.header_timeout": "Kong has this in its environment",
    "gateway.limits.body_timeout": "Kong has this in its environment",
    "gateway.limits.idle_timeout": "Kong has this in its environment",
}
TABLE: Final = {**dict.fromkeys(_RENDERED, RENDERED), **_LOST}
"""By kinds of keys, as `shape_of` says them: `RENDERED`, or why not."""
