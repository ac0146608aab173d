"""Which plugin becomes what. One that is not here may guard something: its routes are closed."""

from __future__ import annotations

from typing import Final

from portico.imports.kong.entities import Plugin
from portico.imports.kong.guards import acl, basic_auth, bot_detection, cors, ip_restriction, jwt, key_auth
from portico.imports.kong.limits import (
    proxy_cache,
    rate_limiting,
    rate_limiting_advanced,
    request_size_limiting,
    request_termination,
)
from portico.imports.kong.pieces import Convert, Piece, Reading
from portico.imports.kong.transformers import correlation_id, redirect, request_transformer, response_transformer

_CONVERT: Final[dict[str, Convert]] = {
    "acl": acl,
    "basic-auth": basic_auth,
    "bot-detection": bot_detection,
    "correlation-id": correlation_id,
    "cors": cors,
    "ip-restriction": ip_restriction,
    "jwt": jwt,
    "key-auth": key_auth,
    "proxy-cache": proxy_cache,
    "rate-limiting": rate_limiting,
    "rate-limiting-advanced": rate_limiting_advanced,
    "redirect": redirect,
    "request-size-limiting": request_size_limiting,
    "request-termination": request_termination,
    "request-transformer": request_transformer,
    "response-transformer": response_transformer,
}

_LOG: Final = "one line of JSON for each request goes to gateway.log.access, which a collector takes from there"
_NO_GUARD: Final = {
    "http-log": _LOG,
    "tcp-log": _LOG,
    "udp-log": _LOG,
    "loggly": _LOG,
    "syslog": "write gateway.log.access: syslog",
    "file-log": "write its path as gateway.log.access",
    "statsd": "/metrics has the numbers, for Prometheus",
    "datadog": "/metrics has the numbers, for Prometheus",
    "zipkin": "traces are sent by gateway.tracing",
    "opentelemetry": "traces are sent by gateway.tracing",
    "response-ratelimiting": "limits that services count by a field of their responses",
    "acme": "write gateway.tls.acme",
    "session": "sessions of browsers are no credentials here",
    "grpc-web": "gRPC is not translated",
    "grpc-gateway": "gRPC is not translated",
    "response-compression": "write policies: {compress: true}",
}
"""What protects no service, and has no counterpart or one that is no policy of a route."""


def piece_of(plugin: Plugin, reading: Reading) -> Piece:
    """What a plugin comes to."""
    convert = _CONVERT.get(plugin.name)
    if convert is not None:
        return convert(plugin, reading)
    if plugin.name == "prometheus":
        return _prometheus(plugin, reading)
    why = _NO_GUARD.get(plugin.name)
    if why is None:
        return Piece(closed="nothing here does what this plugin does")
    if (
        plugin.name == "file-log"
        and not (plugin.route or plugin.service or plugin.consumer)
        and plugin.config.has("path")
    ):
        reading.draft.gateway.data.setdefault("log", {"access": plugin.config.text_at("path")})
        return Piece()
    reading.left(plugin, "", why)
    return Piece()


def _prometheus(plugin: Plugin, reading: Reading) -> Piece:
    """`/metrics` has no counterpart of Kong's names, and is on the gateway's port."""
    reading.changed(plugin, "", "/metrics has the gateway's own names, for clients in private networks")
    networks = ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
    others = dict.fromkeys(("root", "health", "docs", "auth"), False)
    reading.draft.gateway.data["endpoints"] = {**others, "metrics": "internal", "networks": networks}
    return Piece()
