"""What is put under stress: Portico, nginx beside it, and the service behind both; each a process with its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.stress.wire import StressWire, request
from support import nginx as nginx_parts
from support.cores import LOAD, for_gateway
from support.instance_process import InstanceProcess
from support.proc import children, holder
from support.process import free_port
from support.server import at
from support.site import Site
from support.worker import Worker
from support.world import Gateway

_LONG: Final = "1h"
"""Of all time-outs, so that none ends what a scenario holds; and there is room for any body."""
GATEWAY: Final[dict[str, Any]] = {
    "workers": 1,
    "limits": {"body_size": "1024GiB", "header_timeout": _LONG, "body_timeout": _LONG, "idle_timeout": _LONG},
    "log": {"level": "WARNING", "access": "off"},
}
SERVICE: Final[dict[str, Any]] = {"health_check": False, "timeout": {"response": _LONG, "idle": _LONG}}

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
def portico(service_port: int) -> Iterator[Subject]:
    """One worker of Portico before the service."""
    services = {"stress": {"url": f"http://127.0.0.1:{service_port}", **SERVICE}}
    gateway = Gateway({"gateway": GATEWAY, "services": services}, port=free_port(), cores=for_gateway(1))
    try:
        gateway.start()
        yield warm("portico", gateway.port, gateway.workers())
    finally:
        gateway.end()


@contextmanager
def nginx(service_port: int) -> Iterator[Subject]:
    """One worker of nginx before the service."""
    with TemporaryDirectory(prefix="portico-stress-") as name:
        site = Site(free_port(), service_port, Path(name))
        http = nginx_parts.UPSTREAM + nginx_parts.NO_LOG + _NGINX
        command = nginx_parts.command(site, http.format(backend=service_port, port=site.port))
        with at(site, command, "/api/stress/small", for_gateway(1)) as process:
            yield warm("nginx", site.port, children(process.pid))


def service() -> InstanceProcess:
    """The service."""
    return InstanceProcess(cores=LOAD)


def installed() -> list[Callable[[int], AbstractContextManager[Subject]]]:
    """Portico, and nginx where it is."""
    return [portico, nginx] if nginx_parts.version() else [portico]


def warm(name: str, port: int, workers: Sequence[int]) -> Subject:
    """A gateway that has answered a little, whatever it says: what it allocates once is no growth."""
    with StressWire(port) as wire:
        for _ in range(200):
            wire.send(request("GET", "/small"))
            wire.skip()
        return Subject(name, port, Worker(holder(wire.socket, workers)))
