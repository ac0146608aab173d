"""The gateways that the corpus is played against, each a plain proxy in front of one service of this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portico import __version__
from support import haproxy, nginx
from support.process import free_port
from support.server import at
from support.site import Site
from support.world import Gateway

# What Debian's packages do by default, and the client's address in a field, as nearly everybody configures it: the
# service distinguishes the cases by it.
_NGINX = """\
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{backend};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
    }}
"""
_HAPROXY = """\
defaults
    mode http
    option forwardfor
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend gateway
    bind 127.0.0.1:{port}
    default_backend service
backend service
    server one 127.0.0.1:{backend}
"""


@contextmanager
def portico(
    backend: int,
    limits: Mapping[str, int] | None = None,
    policies: Mapping[str, Any] | None = None,
    gateway: Mapping[str, Any] | None = None,
) -> Iterator[int]:
    """Portico in front of the service on port `backend`; gives its own port."""
    service = {
        "url": f"http://127.0.0.1:{backend}",
        "health_check": False,
        "default_routes": False,
        "preserve_host": True,
        "retries": 0,
    }
    config = {
        "gateway": {"limits": dict(limits or {}), **(gateway or {})},
        "services": {"all": service},
        "routes": [{"service": "all", "path": "/", "policies": dict(policies or {})}],
    }
    with Gateway(config) as running:
        yield running.port


@contextmanager
def process(backend: int, configure: Callable[[Site], list[str]]) -> Iterator[int]:
    """A program that serves what `configure` writes, in front of the service; gives its port."""
    with tempfile.TemporaryDirectory(prefix="portico-conformance-") as name:
        site = Site(free_port(), backend, Path(name))
        with at(site, configure(site)):
            yield site.port


def _nginx(site: Site) -> list[str]:
    return nginx.command(site, _NGINX.format(port=site.port, backend=site.backend))


def _haproxy(site: Site) -> list[str]:
    return haproxy.command(site, _HAPROXY.format(port=site.port, backend=site.backend))


def _haproxy_version() -> str | None:
    version = haproxy.version()
    return version.partition("-")[0] if version else None


@dataclass(frozen=True)
class Contestant:
    """A gateway in the comparison; `find` gives its version, or None where it is not installed."""

    name: str
    find: Callable[[], str | None]
    start: Callable[[int], AbstractContextManager[int]]
    install: str = ""


CONTESTANTS = (
    Contestant("Portico", lambda: __version__, portico),
    Contestant("nginx", nginx.version, lambda port: process(port, _nginx), "apt install nginx-light"),
    Contestant("HAProxy", _haproxy_version, lambda port: process(port, _haproxy), "apt install haproxy"),
)
