"""What is put under stress: Portico, nginx beside it, and the service behind both; each a process with its files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import nginx_parts
from benchmarks.address import Address
from benchmarks.children import child, free_port
from benchmarks.commands import python
from benchmarks.cores import LOAD, for_gateway
from benchmarks.peer import Site
from benchmarks.readiness import wait_until_ready
from benchmarks.stress.wire import Wire, request
from benchmarks.stress.worker import Worker, children, server_of

# Time-outs so long that none ends what a scenario holds, and room for any body.
_PORTICO = """\
gateway:
  host: 127.0.0.1
  port: {port}
  workers: 1
  admin: 127.0.0.1:0
  limits: {{body_size: 1024GiB, header_timeout: 1h, body_timeout: 1h, idle_timeout: 1h}}
  log: {{level: WARNING, access: "off"}}
services:
  stress: {{url: "http://127.0.0.1:{service}", health_check: false, timeout: {{response: 1h, idle: 1h}}}}
"""

# Neither requests nor responses wait in files: both gateways pass on what comes while it comes.
_NGINX = """\
    client_header_timeout 1h;
    client_body_timeout 1h;
    client_max_body_size 0;
    send_timeout 1h;
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
    proxy_request_buffering off;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location /api/stress/ {{ proxy_pass http://backend/; }}
    }}
"""


@dataclass(frozen=True)
class Subject:
    """A running gateway."""

    name: str
    port: int
    worker: Worker

    @property
    def is_judged(self) -> bool:
        """Whether promises are made for it; others are there to compare with."""
        return self.name == "portico"


@contextmanager
def service() -> Iterator[int]:
    """The service; yields its port."""
    port = free_port()
    with helper("service", str(port)) as (process, directory):
        wait_until_ready(process, Address(port), "/small", directory)
        yield port


@contextmanager
def portico(service_port: int) -> Iterator[Subject]:
    """One worker of Portico before the service."""
    with TemporaryDirectory(prefix="portico-stress-") as name:
        site = Site(free_port(), service_port, Path(name))
        file = site.write("portico.yaml", _PORTICO.format(port=site.port, service=service_port))
        command = python("portico", "run", "--config", file)
        with child(command, site.directory, for_gateway(1)) as process:
            wait_until_ready(process, Address(site.port), "/readyz", site.directory)
            yield _warm("portico", site.port, process.pid)


@contextmanager
def nginx(service_port: int) -> Iterator[Subject]:
    """One worker of nginx before the service."""
    with TemporaryDirectory(prefix="portico-stress-") as name:
        site = Site(free_port(), service_port, Path(name))
        http = nginx_parts.UPSTREAM + nginx_parts.NO_LOG + _NGINX
        command = nginx_parts.command(site, http.format(backend=service_port, port=site.port))
        with child(command, site.directory, for_gateway(1)) as process:
            wait_until_ready(process, Address(site.port), "/api/stress/small", site.directory)
            yield _warm("nginx", site.port, process.pid)


def installed() -> list[Callable[[int], AbstractContextManager[Subject]]]:
    """Portico, and nginx where it is."""
    return [portico, nginx] if nginx_parts.version() else [portico]


@contextmanager
def helper(module: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A module of this package as a process of its own, away from the gateway's core; yields its directory too."""
    with TemporaryDirectory(prefix="portico-stress-") as name:
        directory = Path(name)
        with child(python(f"benchmarks.stress.{module}", *arguments), directory, LOAD) as process:
            yield process, directory


def _warm(name: str, port: int, parent: int) -> Subject:
    """A gateway that has served a little: what it allocates once is no growth."""
    with Wire(port) as wire:
        for _ in range(200):
            wire.send(request("GET", "/small"))
            wire.json()
        return Subject(name, port, server_of(wire.socket, children(parent)))
