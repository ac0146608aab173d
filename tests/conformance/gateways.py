"""The gateways that the corpus is played against, each a plain proxy in front of one service of this machine."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.children import child, free_port, output_file
from benchmarks.nginx_parts import command
from benchmarks.nginx_parts import version as nginx_version
from benchmarks.peer import Site, output_of, program

from portico import __version__
from support.world import Gateway

_START_WITHIN = 10.0

# What Debian's packages do by default, and the client's address in a field, as nearly everybody configures it: the
# service tells the cases apart by it.
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


@asynccontextmanager
async def portico(backend: int, limits: Mapping[str, int] | None = None) -> AsyncIterator[int]:
    """Portico in front of the service on port `backend`; gives its own port."""
    service = {
        "url": f"http://127.0.0.1:{backend}",
        "health_check": False,
        "default_routes": False,
        "preserve_host": True,
        "retries": 0,
    }
    config = {
        "gateway": {"limits": dict(limits or {})},
        "services": {"all": service},
        "routes": [{"service": "all", "path": "/"}],
    }
    gateway = Gateway(config)
    try:
        await asyncio.to_thread(gateway.start)
        yield gateway.port
        await asyncio.to_thread(gateway.stop)
    finally:
        gateway.end()


@asynccontextmanager
async def _process(backend: int, configure: Callable[[Site], list[str]]) -> AsyncIterator[int]:
    with tempfile.TemporaryDirectory(prefix="portico-conformance-") as name:
        site = Site(free_port(), backend, Path(name))
        with child(configure(site), site.directory, frozenset(os.sched_getaffinity(0))) as process:
            await _listens(site.port, lambda: process.poll() is None, output_file(site.directory))
            yield site.port


async def _listens(port: int, is_alive: Callable[[], bool], output: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        if not is_alive() or time.monotonic() > deadline:
            raise RuntimeError(f"it did not start\n{output.read_text(errors='replace')}")
        await asyncio.sleep(0.05)


def _nginx(site: Site) -> list[str]:
    return command(site, _NGINX.format(port=site.port, backend=site.backend))


def _haproxy(site: Site) -> list[str]:
    path = site.write("haproxy.cfg", _HAPROXY.format(port=site.port, backend=site.backend))
    return [program("haproxy") or "haproxy", "-db", "-f", str(path)]


def _haproxy_version() -> str | None:
    haproxy = program("haproxy")
    return output_of(haproxy, "-v").split()[2].partition("-")[0] if haproxy else None


@dataclass(frozen=True)
class Contestant:
    """A gateway in the comparison; `find` gives its version, or None where it is not installed."""

    name: str
    find: Callable[[], str | None]
    start: Callable[[int], AbstractAsyncContextManager[int]]
    install: str = ""


CONTESTANTS = (
    Contestant("Portico", lambda: __version__, portico),
    Contestant("nginx", nginx_version, lambda port: _process(port, _nginx), "apt install nginx-light"),
    Contestant("HAProxy", _haproxy_version, lambda port: _process(port, _haproxy), "apt install haproxy"),
)
