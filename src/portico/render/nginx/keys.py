"""Which keys of a configuration become part of nginx.conf, and why others do not.

What stands here as `RENDERED` is looked at by the modules beside this one, which list what of its values nginx cannot
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
    *("service.retries.attempts", "service.retries.on", "service.idle_connection_timeout", "service.version_by"),
    *("route.name", "route.service", "route.version", "route.path", "route.fallback", "route.hosts", "route.methods"),
    *("route.headers", "route.query", "route.rewrite", "route.redirect_slash", "route.preserve_host"),
    *("route.body_size", "route.encoded_slashes", "route.maintenance.retry_after"),
    *("route.timeout.connect", "route.timeout.response", "route.retries.attempts", "route.retries.on"),
    *("route.respond.status", "route.respond.body", "route.respond.file", "route.respond.headers"),
    *("route.redirect.to", "route.redirect.status"),
    *("route.split.service", "route.split.version", "route.split.weight", "route.split.headers"),
    *("route.split.cookies", "route.sticky"),
    *("listener.name", "listener.host", "listener.port", "listener.routes", "listener.endpoints"),
    *("listener.proxy_protocol", "listener.tls.certificate", "listener.tls.key", "listener.tls.min_version"),
    *("listener.tls.certificates.certificate", "listener.tls.certificates.key"),
    *("listener.tls.client_certificates.ca", "listener.tls.client_certificates.required"),
    *("listener.tls.redirect_from", "listener.tls.redirect_to"),
    *("gateway.title", "gateway.workers", "gateway.log.access", "gateway.endpoints.metrics", "gateway.endpoints.docs"),
    "gateway.endpoints.networks",
    *("gateway.endpoints.root", "gateway.endpoints.health"),
    *("gateway.limits.body_size", "gateway.limits.connections", "gateway.limits.header_timeout"),
    *("gateway.limits.body_timeout", "gateway.limits.idle_timeout", "service.upgrades", "route.upgrades"),
    *("policies.cors.allow_origins", "policies.cors.allow_methods", "policies.cors.allow_headers"),
    *("policies.cors.expose_headers", "policies.cors.allow_credentials", "policies.cors.max_age"),
    *("policies.headers.request.set", "policies.headers.request.add", "policies.headers.request.remove"),
    *("policies.headers.response.set", "policies.headers.response.add", "policies.headers.response.remove"),
    *("policies.headers.security", "policies.ip_filter.allow", "policies.ip_filter.deny"),
    *("policies.rate_limit.requests_per_minute", "policies.rate_limit.burst", "policies.rate_limit.by"),
    *("policies.rate_limit.name", "policies.rate_limit.enforce", "policies.rewrite_location"),
    *("policies.rewrite_cookies", "service.sticky.cookie", "service.sticky.max_age"),
    *("route.mirror.service", "route.mirror.version", "route.mirror.share", "route.mirror.methods"),
    *("route.mirror.max_body", "route.mirror.max_in_flight", "route.mirror.timeout", "route.mirror.remove_headers"),
    *("policies.cache.ttl", "policies.cache.methods", "policies.cache.statuses", "policies.cache.key.query"),
    *("policies.cache.key.headers", "policies.cache.key.cookies", "policies.cache.key.consumer"),
    *("policies.cache.max_object", "policies.cache.stale_while_revalidate", "policies.cache.stale_if_error"),
    *("policies.cache.targets", "policies.compress.encodings", "policies.compress.min_size"),
    *("policies.compress.types", "policies.compress.levels.gzip", "policies.compress.cookies"),
    # listed where a route is closed for their sake
    *("policies.auth", "policies.authorize", "policies.deny", "policies.plugins", "policies.validate"),
    "policies.errors",
    "policies.rate_limit.fallback",  # what holds without a Redis, which nginx never has
    # of Portico's own processes, which nginx has otherwise or not at all
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
    "service.sticky.key": "nginx signs no cookies",
    "service.sticky.issued": "nginx learns nothing of what services issue",
    "policies.cache.purge": "nginx purges nothing: empty its directory",
    "policies.cache.store": "nginx stores in files",
    "policies.compress.levels.zstd": "nginx's packages have gzip alone",
    "policies.compress.levels.br": "nginx's packages have gzip alone",
    "policies.compress.incremental": "nginx does not look at Incremental",
    "service.health_check": "nginx checks no instances; one that fails a request is passed over for that request",
    "service.discover": "nginx finds no instances: those that are not written are not in its file",
    "service.circuit_breaker": "nginx ejects no instances here",
    "service.passive_health": "nginx ejects no instances here",
    "service.slow_start": "nginx has no slow start",
    "service.hedge": "nginx asks no second instance beside the first",
    "service.queue": "nginx lets no requests wait for a permit",
    "service.openapi": "nginx shows no documents",
    "service.max_requests": "nginx counts no requests under way at a service",
    "service.max_connections": "nginx bounds connections for each worker, and refuses none beyond",
    "service.timeout.total": "nginx has no timeout for a whole request",
    "service.timeout.idle": "nginx has one timeout for the head and the body; this is that for the head",
    "route.timeout.idle": "nginx has one timeout for the head and the body; this is that for the head",
    "service.timeout.tunnel": "nginx has one timeout for the head and for WebSockets; this is that for the head",
    "route.canary": "nginx moves no weights: they stay as they begin",
    "discover": "nginx finds no services: those that are not written are not in its file",
    "consumers": "nginx knows no consumers",
    "listener.tls.acme": "nginx orders no certificates: have the one that was ordered where its file says",
    "gateway.endpoints.auth": "tokens are issued by Portico alone",
    "gateway.proxy_status": "nginx has no Proxy-Status",
    "gateway.trusted_proxies": "nginx takes no ids from them, and nothing from Forwarded",
    "gateway.redis_url": "nginx counts in one machine's memory",
    "policies.transform": "nginx changes no bodies, and no fields by rules",
    "gateway.limits.connections_per_client": "nginx counts requests under way here, not connections",
}
TABLE: Final = {**dict.fromkeys(_RENDERED, RENDERED), **_LOST}
"""By kinds of keys, as `shape_of` says them: `RENDERED`, or why not."""

_OF_CONSUMERS: Final = {
    **dict.fromkeys(
        (
            *("consumers.name", "consumers.keys", "consumers.scopes", "consumers.rate_limit.requests_per_minute"),
            *("consumers.rate_limit.burst", "consumers.rate_limit.requests_per_hour"),
            *("consumers.rate_limit.requests_per_day", "consumers.rate_limit.requests_per_month"),
            *("policies.rate_limit.requests_per_hour", "policies.rate_limit.requests_per_day"),
            "policies.rate_limit.requests_per_month",
        ),
        RENDERED,
    ),
    "consumers.password": "nginx reads no argon2",
    "consumers.certificates": "nginx knows no consumer by a certificate",
}
WITH_LUA: Final = {**{key: why for key, why in TABLE.items() if key != "consumers"}, **_OF_CONSUMERS}
"""The same where a program in Lua checks what nginx cannot."""
