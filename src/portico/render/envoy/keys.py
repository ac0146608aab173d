"""Which keys of a configuration become part of envoy.yaml, and why others do not.

What stands here as `RENDERED` is looked at by the modules beside this one, which list what of its values Envoy cannot
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
    *("service.maintenance.retry_after", "service.timeout.connect", "service.timeout.response"),
    *("service.timeout.total", "service.retries.attempts", "service.retries.on", "service.retries.budget"),
    *("service.retries.methods", "service.retries.per_try_timeout", "service.idle_connection_timeout"),
    *("service.version_by", "service.health_check.path", "service.health_check.interval"),
    *("service.health_check.timeout", "service.health_check.healthy_after", "service.health_check.unhealthy_after"),
    *("service.health_check.expect", "service.sticky.cookie", "service.sticky.key", "service.sticky.max_age"),
    *("service.circuit_breaker.failures", "service.circuit_breaker.error_rate", "service.circuit_breaker.volume"),
    *("service.circuit_breaker.window", "service.circuit_breaker.open_for", "service.circuit_breaker.open_for_most"),
    *("service.passive_health.failures", "service.passive_health.error_rate", "service.passive_health.volume"),
    *("service.passive_health.window", "service.passive_health.open_for", "service.passive_health.open_for_most"),
    *("service.passive_health.max_ejected", "service.slow_start", "service.hedge.after", "service.max_requests"),
    *("service.max_connections", "service.dns_refresh"),
    *("route.name", "route.service", "route.version", "route.path", "route.fallback", "route.hosts", "route.methods"),
    *("route.headers", "route.query", "route.rewrite", "route.redirect_slash", "route.preserve_host"),
    *("route.body_size", "route.encoded_slashes", "route.maintenance.retry_after", "route.timeout.connect"),
    *("route.timeout.response", "route.timeout.total", "route.retries.attempts", "route.retries.on"),
    *("route.retries.budget", "route.retries.methods", "route.retries.per_try_timeout"),
    *("route.respond.status", "route.respond.body", "route.respond.file", "route.respond.headers"),
    *("route.redirect.to", "route.redirect.status"),
    *("route.split.service", "route.split.version", "route.split.weight", "route.split.headers"),
    *("route.split.cookies", "route.sticky", "route.mirror.service", "route.mirror.version", "route.mirror.share"),
    *("route.mirror.methods", "route.mirror.max_body", "route.mirror.max_in_flight", "route.mirror.timeout"),
    "route.mirror.remove_headers",
    *("listener.name", "listener.host", "listener.port", "listener.routes", "listener.endpoints"),
    *("listener.proxy_protocol", "listener.tls.certificate", "listener.tls.key", "listener.tls.min_version"),
    *("listener.tls.certificates", "listener.tls.client_certificates.ca"),
    *("listener.tls.client_certificates.required", "listener.tls.redirect_from", "listener.tls.redirect_to"),
    *("gateway.title", "gateway.log.access", "gateway.endpoints.metrics", "gateway.endpoints.docs"),
    "gateway.endpoints.networks",
    *("gateway.endpoints.root", "gateway.endpoints.health"),
    *("gateway.limits.body_size", "gateway.limits.connections", "gateway.limits.header_timeout"),
    *("gateway.limits.header_size", "gateway.limits.header_count", "gateway.limits.body_timeout"),
    *("gateway.limits.idle_timeout", "service.upgrades", "route.upgrades"),
    *("policies.cors.allow_origins", "policies.cors.allow_methods", "policies.cors.allow_headers"),
    *("policies.cors.expose_headers", "policies.cors.allow_credentials", "policies.cors.max_age"),
    *("policies.headers.request.set", "policies.headers.request.add", "policies.headers.request.remove"),
    *("policies.headers.response.set", "policies.headers.response.add", "policies.headers.response.remove"),
    *("policies.headers.security", "policies.ip_filter.allow", "policies.ip_filter.deny"),
    *("policies.rate_limit.requests_per_minute", "policies.rate_limit.burst", "policies.rate_limit.by"),
    *("policies.rate_limit.name", "policies.rate_limit.enforce", "policies.rewrite_location"),
    *("policies.compress.encodings", "policies.compress.min_size", "policies.compress.types"),
    *("policies.compress.levels", "policies.compress.cookies", "policies.rewrite_cookies"),
    # listed where a route is closed for their sake
    *("policies.auth", "policies.authorize", "policies.deny", "policies.plugins", "policies.validate"),
    "policies.rate_limit.fallback",  # what holds without a Redis, which Envoy never has here
    # of Portico's own processes, which Envoy has otherwise or not at all
    *(
        "gateway.admin",
        "gateway.admin_token",
        "gateway.admin_tokens.name",
        "gateway.admin_tokens.token",
        "gateway.admin_tokens.access",
        "gateway.allow_sample_secret_key",
        "gateway.state_dir",
    ),
    *("gateway.embedded_redis", "gateway.redis_timeout", "gateway.kubernetes", "gateway.cache", "gateway.workers"),
    *("gateway.limits.lag", "gateway.limits.drain_delay", "gateway.limits.drain_timeout", "gateway.log.level"),
    *("gateway.limits.hang_timeout", "gateway.limits.forget_after"),
)

_LOST: Final = {
    "service.discover": "Envoy finds no instances here: those that are not written are not in its file",
    "service.queue": "Envoy lets no requests wait for a permit",
    "service.openapi": "Envoy shows no documents",
    "service.timeout.idle": "Envoy has one timeout for the head and the body; this is that for the head",
    "service.timeout.tunnel": "Envoy has one timeout for the head and for WebSockets; this is that for the head",
    "service.retries.silence": "Envoy asks no second instance while the first is silent, but for hedge",
    "service.hedge.budget": "Envoy bounds no share of requests that are sent twice, but by retries.budget",
    "service.sticky.issued": "Envoy keeps no client with an instance by what the service issues",
    "route.canary": "Envoy moves no weights: they stay as they begin",
    "discover": "Envoy finds no services here: those that are not written are not in its file",
    "consumers": "Envoy knows no consumers here",
    "listener.tls.acme": "Envoy orders no certificates: have the one that was ordered where its file says",
    "gateway.endpoints.auth": "tokens are issued by Portico alone",
    "gateway.proxy_status": "Envoy's Proxy-Status is not turned on here",
    "gateway.trusted_proxies": "Envoy takes the client's address from them, but not the scheme, host, port and prefix",
    "gateway.redis_url": "Envoy counts in the memory of one process",
    "policies.cache": "a cache is not rendered: all requests go to the service",
    "policies.errors": "error pages are not rendered: errors are problem documents",
    "policies.transform": "Envoy changes no bodies here, and no fields by rules",
    "policies.compress.incremental": "Envoy compresses whatever has the type",
    "gateway.limits.connections_per_client": "Envoy counts no connections of one client",
}
TABLE: Final = {**dict.fromkeys(_RENDERED, RENDERED), **_LOST}
"""By kinds of keys, as `shape_of` says them: `RENDERED`, or why not."""
