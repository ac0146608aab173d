"""Which keys of a configuration become part of haproxy.cfg, and why others do not.

What stands here as `RENDERED` is looked at by the modules beside this one, which list what of its values HAProxy cannot
do. A key that stands nowhere here is listed as not rendered.
"""

from __future__ import annotations

from typing import Final

from portico.render.written import RENDERED

_RENDERED: Final = (
    *("include", "service.default_routes", "service.rewrite", "service.url"),
    *("service.instances.url", "service.instances.weight", "service.instances.backup"),
    *("service.redirect_slash", "service.preserve_host", "service.body_size", "service.load_balancing"),
    *("service.tls.verify", "service.tls.ca", "service.tls.server_name", "service.tls.certificate", "service.tls.key"),
    *("service.health_check", "service.slow_start", "service.max_connections", "service.sticky.cookie"),
    *("service.sticky.max_age", "service.sticky.issued", "service.sticky.ttl", "service.sticky.key"),
    *("service.maintenance.retry_after", "service.timeout.connect", "service.timeout.response"),
    *("service.timeout.tunnel", "route.timeout.tunnel", "service.dns_refresh"),
    *("service.retries.attempts", "service.retries.on", "service.retries.methods", "service.version_by"),
    *("route.retries.attempts", "route.retries.on", "route.retries.methods"),
    *("route.name", "route.service", "route.version", "route.path", "route.fallback", "route.hosts", "route.methods"),
    *("route.headers", "route.query", "route.rewrite", "route.redirect_slash", "route.preserve_host"),
    *("route.body_size", "route.encoded_slashes", "route.maintenance.retry_after"),
    *("route.timeout.connect", "route.timeout.response", "route.respond.status", "route.respond.body"),
    *("route.respond.file", "route.respond.headers", "route.redirect.to", "route.redirect.status"),
    *("route.split.service", "route.split.version", "route.split.weight", "route.split.headers"),
    *("route.split.cookies", "route.sticky", "service.upgrades", "route.upgrades"),
    *("listener.name", "listener.host", "listener.port", "listener.routes", "listener.endpoints"),
    *("listener.proxy_protocol", "listener.tls.certificate", "listener.tls.key", "listener.tls.min_version"),
    *("listener.tls.client_certificates.ca", "listener.tls.client_certificates.required"),
    *("listener.tls.redirect_from", "listener.tls.redirect_to"),
    *("gateway.title", "gateway.workers", "gateway.log.access", "gateway.endpoints.metrics", "gateway.endpoints.docs"),
    "gateway.endpoints.networks",
    *("gateway.endpoints.root", "gateway.endpoints.health", "gateway.limits.header_timeout"),
    *("gateway.limits.body_size", "gateway.limits.connections", "gateway.limits.url_length"),
    *("gateway.limits.body_timeout", "gateway.limits.idle_timeout", "gateway.limits.header_count"),
    *("policies.cors.allow_origins", "policies.cors.allow_methods", "policies.cors.allow_headers"),
    *("policies.cors.expose_headers", "policies.cors.allow_credentials", "policies.cors.max_age"),
    *("policies.headers.request.set", "policies.headers.request.add", "policies.headers.request.remove"),
    *("policies.headers.response.set", "policies.headers.response.add", "policies.headers.response.remove"),
    *("policies.headers.security", "policies.ip_filter.allow", "policies.ip_filter.deny"),
    *("policies.rate_limit.requests_per_minute", "policies.rate_limit.burst", "policies.rate_limit.by"),
    *("policies.rate_limit.requests_per_hour", "policies.rate_limit.requests_per_day"),
    *("policies.rate_limit.requests_per_month",),
    *("policies.rate_limit.name", "policies.rate_limit.enforce", "policies.rewrite_location"),
    *("policies.rewrite_cookies", "policies.cache.ttl", "policies.cache.max_object", "policies.cache.targets"),
    *("policies.cache.key.headers", "policies.cache.methods", "policies.cache.statuses"),
    *("consumers.name", "consumers.keys", "consumers.scopes"),
    # listed where a route is closed for their sake
    *("policies.auth", "policies.authorize", "policies.deny", "policies.plugins", "policies.validate"),
    "policies.rate_limit.fallback",  # what holds without a Redis, which HAProxy never has
    # of Portico's own processes, which HAProxy has otherwise or not at all
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
    "service.discover": "HAProxy finds no instances: those that are not written are not in its file",
    "service.circuit_breaker": "no instance is ejected for the requests that it fails",
    "service.passive_health": "no instance is ejected for the requests that it fails",
    "service.hedge": "HAProxy asks no second instance beside the first",
    "service.queue": "requests beyond max_connections wait for 30 s",
    "service.openapi": "HAProxy shows no documents",
    "service.max_requests": "HAProxy counts requests under way at each instance alone (max_connections)",
    "service.timeout.total": "HAProxy has no timeout for a whole request",
    "service.timeout.idle": "HAProxy has one timeout for the head and the body; this is that for the head",
    "service.idle_connection_timeout": "HAProxy keeps idle connections for 5 s",
    "service.retries.budget": "HAProxy bounds the retries of each request alone",
    "service.retries.per_try_timeout": "an attempt has the timeouts of the route",
    "service.retries.silence": "HAProxy asks no second instance beside the first",
    "route.retries.budget": "HAProxy bounds the retries of each request alone",
    "route.retries.per_try_timeout": "an attempt has the timeouts of the route",
    "route.retries.silence": "HAProxy asks no second instance beside the first",
    "route.timeout.total": "HAProxy has no timeout for a whole request",
    "route.timeout.idle": "HAProxy has one timeout for the head and the body; this is that for the head",
    "route.mirror": "HAProxy sends no copies of requests",
    "route.canary": "HAProxy moves no weights: they stay as they begin",
    "discover": "HAProxy finds no services: those that are not written are not in its file",
    "consumers.rate_limit": "HAProxy has the same numbers for all consumers",
    "consumers.password": "HAProxy knows no argon2",
    "consumers.certificates": "HAProxy knows no consumers by their certificates",
    "listener.tls.acme": "HAProxy orders no certificates: have the one that was ordered in certificate.pem",
    "listener.tls.certificates": "HAProxy has the default certificate for all hosts here",
    "gateway.endpoints.auth": "tokens are issued by Portico alone",
    "gateway.proxy_status": "HAProxy has no Proxy-Status",
    "gateway.trusted_proxies": "HAProxy takes the client's address from them, and not scheme, host, port and prefix",
    "gateway.redis_url": "HAProxy counts in its own memory",
    **dict.fromkeys(
        (
            *("policies.cache.stale_while_revalidate", "policies.cache.stale_if_error", "policies.cache.store"),
            *("policies.cache.purge", "policies.cache.key.query", "policies.cache.key.cookies"),
            "policies.cache.key.consumer",
        ),
        "HAProxy's cache does not have this",
    ),
    "policies.compress": "nothing is compressed",
    "policies.errors": "HAProxy's errors do not depend on what a client accepts; they are all JSON",
    "policies.transform": "HAProxy changes no bodies, and no fields by rules",
    "gateway.limits.connections_per_client": "HAProxy bounds the connections of all clients together",
}
TABLE: Final = {**dict.fromkeys(_RENDERED, RENDERED), **_LOST}
"""By kinds of keys, as `shape_of` says them: `RENDERED`, or why not."""
