"""Which keys of a configuration become part of the Gateway API's resources, and why others do not.

What stands here as `RENDERED` is looked at by the modules beside this one, which list what of its values the API has no
words for. A key that stands nowhere here is listed as not rendered.
"""

from __future__ import annotations

from typing import Final

from portico.render.written import RENDERED

_RENDERED: Final = (
    *("include", "service.default_routes", "service.rewrite", "service.url"),
    *("service.instances.url", "service.instances.weight", "service.instances.backup"),
    *("service.preserve_host", "service.tls.verify", "service.tls.ca", "service.tls.server_name"),
    *("service.version_by", "service.upgrades", "route.upgrades"),
    *("service.timeout.total", "service.timeout.response", "route.timeout.total", "route.timeout.response"),
    *("route.name", "route.service", "route.version", "route.path", "route.fallback", "route.hosts", "route.methods"),
    *("route.headers", "route.query", "route.rewrite", "route.preserve_host"),
    *("route.respond", "route.redirect.to", "route.redirect.status"),
    *("route.split.service", "route.split.version", "route.split.weight", "route.split.headers"),
    *("route.split.cookies", "route.mirror"),
    *("listener.name", "listener.host", "listener.port", "listener.routes", "listener.tls.certificate"),
    *("listener.tls.key", "listener.tls.redirect_from", "listener.tls.redirect_to"),
    *("policies.cors.allow_origins", "policies.cors.allow_methods", "policies.cors.allow_headers"),
    *("policies.cors.expose_headers", "policies.cors.allow_credentials", "policies.cors.max_age"),
    *("policies.headers.request.set", "policies.headers.request.add", "policies.headers.request.remove"),
    *("policies.headers.response.set", "policies.headers.response.add", "policies.headers.response.remove"),
    "policies.headers.security",
    # listed where a route is closed for their sake
    *("policies.auth", "policies.authorize", "policies.deny", "policies.plugins", "policies.validate"),
    "policies.ip_filter",
    # of Portico's own processes, which a cluster has otherwise or not at all
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
    *("gateway.limits.lag", "gateway.limits.drain_delay", "gateway.limits.drain_timeout", "gateway.log"),
    *("gateway.limits.hang_timeout", "gateway.limits.forget_after", "gateway.title"),
)

_OF_IMPLEMENTATION: Final = "the Gateway API has no words for this: see what policies your implementation adds"
_LOST: Final = {
    **dict.fromkeys(
        (
            *("service.redirect_slash", "route.redirect_slash", "service.body_size", "route.body_size"),
            *("service.load_balancing", "service.sticky", "service.health_check", "service.circuit_breaker"),
            *("service.passive_health", "service.slow_start", "service.hedge", "service.queue", "service.retries"),
            *("route.retries", "service.max_requests", "service.max_connections", "service.case_insensitive"),
            *("service.idle_connection_timeout", "service.timeout.connect", "route.timeout.connect"),
            *("service.timeout.idle", "route.timeout.idle", "service.timeout.tunnel", "route.timeout.tunnel"),
            *("policies.rate_limit", "policies.cache", "policies.compress", "policies.errors", "policies.transform"),
            *("policies.rewrite_location", "policies.rewrite_cookies", "route.sticky", "route.canary"),
            *("route.encoded_slashes", "gateway.limits", "gateway.proxy_status", "gateway.trusted_proxies"),
            *("listener.proxy_protocol", "listener.tls.min_version", "listener.tls.client_certificates"),
        ),
        _OF_IMPLEMENTATION,
    ),
    "service.discover": "instances that are found are no part of the file: name their Service of Kubernetes in url",
    "discover": "services that are found are no part of the file: name their Services of Kubernetes",
    "service.maintenance.retry_after": "a Service without endpoints is answered with 503, without Retry-After",
    "route.maintenance.retry_after": "a Service without endpoints is answered with 503, without Retry-After",
    "service.openapi": "the Gateway API shows no documents",
    "service.tls.certificate": "a Gateway has one client certificate for all backends: add it in spec.tls.backend",
    "consumers": "the Gateway API knows no consumers",
    "gateway.endpoints": "the Gateway API has no endpoints of its own",
    "listener.endpoints": "the Gateway API has no endpoints of its own",
    "listener.tls.acme": "the Gateway API orders no certificates: cert-manager does, for the Secret that is named",
    "listener.tls.certificates": "the certificates of single hosts are not rendered: add listeners with their hostname",
    "gateway.redis_url": "the Gateway API counts nothing",
}
TABLE: Final = {**dict.fromkeys(_RENDERED, RENDERED), **_LOST}
"""By kinds of keys, as `shape_of` says them: `RENDERED`, or why not."""
