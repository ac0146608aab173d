"""Portico with JWT, rate limit, metrics and JSON access log, and Portico that only passes on."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

from benchmarks.peer import BULK, PLAIN, POLICIES, Peer, Site
from benchmarks.request import SECRET

# The admin interface takes a free port: others may have a gateway on this machine.
# INFO, because WARNING would leave answers below 400 out of the access log, which the peers write.
_CONFIGURATION = """\
gateway:
  host: 127.0.0.1
  port: {port}
  workers: 1
  admin: 127.0.0.1:0
  log: {{level: INFO, format: json, access: {access}}}
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


def _plain(site: Site) -> list[str]:
    return _command(site, policies="{}", access='"off"')  # quoted, or YAML reads a boolean


def _command(site: Site, policies: str, access: str) -> list[str]:
    text = _CONFIGURATION.format(port=site.port, backend=site.backend, policies=policies, access=access)
    return [sys.executable, "-m", "portico", "run", "--config", str(site.write("portico.yaml", text))]


def _version() -> str | None:
    try:
        return version("portico-gateway")
    except PackageNotFoundError:
        return None


_INSTALL = "pip install -e ."
PEERS = (
    Peer(
        "portico",
        POLICIES,
        _version,
        _INSTALL,
        _with_policies,
        ready="/readyz",
        checks_tokens=True,
        access_log="access.log",
    ),
    Peer("portico", PLAIN, _version, _INSTALL, _plain, ready="/readyz"),
    Peer("portico", BULK, _version, _INSTALL, _plain, ready="/readyz"),
)
