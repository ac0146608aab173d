"""The service behind all gateways: a short JSON document for everything, more for a few paths."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import nginx_parts
from benchmarks.address import Address
from benchmarks.children import child, free_port
from benchmarks.cores import LOAD
from benchmarks.peer import WEBSOCKET, Site
from benchmarks.readiness import wait_until_ready
from benchmarks.request import GIBIBYTE, MEBIBYTE, SEEN

DOCUMENT = (
    '{"id":4711,"name":"Example 1","price":"1012.50","currency":"EUR",'
    '"tags":["alpha","beta"],"active":true,"updated":"2025-01-01"}'
)

_SEEN_DOCUMENT = (
    '{"connection":"$connection","request_id":"$http_x_request_id",'
    '"forwarded_for":"$http_x_forwarded_for","user":"$http_x_consumer_username"}'
)
_HTTP = """\
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 '{document}'; }}
        location ~ {seen}$ {{
            return 200 '{seen_document}';
        }}
        location ~ {mebibyte}$ {{ root {root}; try_files {mebibyte} =404; }}
        location ~ {gibibyte}$ {{ root {root}; try_files {gibibyte} =404; }}
    }}
"""


@dataclass(frozen=True)
class Backend:
    """Where the service listens, and its process."""

    port: int
    pid: int


@contextmanager
def backend(directory: Path, stack: str) -> Iterator[Backend]:
    """Serves until the end of the block: nginx where there is one, else asyncio, which alone speaks WebSocket."""
    site = Site(port=free_port(), backend=0, directory=directory)
    is_nginx = nginx_parts.version() and stack != WEBSOCKET
    with child(_nginx(site) if is_nginx else _asyncio(site), directory, LOAD) as process:
        wait_until_ready(process, Address(site.port), "/", directory)
        yield Backend(site.port, process.pid)


def kind() -> str:
    """Which of the two it is, for the report."""
    nginx = nginx_parts.version()
    return f"nginx {nginx}, one worker" if nginx else "an asyncio protocol in Python"


def _nginx(site: Site) -> list[str]:
    site.write(MEBIBYTE[1:], "x" * (1 << 20))
    with (site.directory / GIBIBYTE[1:]).open("wb") as hole:
        hole.truncate(1 << 30)  # takes no room on the disk
    http = _HTTP.format(
        port=site.port,
        document=DOCUMENT,
        seen=SEEN,
        seen_document=_SEEN_DOCUMENT,
        mebibyte=MEBIBYTE,
        gibibyte=GIBIBYTE,
        root=site.directory,
    )
    return nginx_parts.command(site, nginx_parts.NO_LOG + http)


def _asyncio(site: Site) -> list[str]:
    script = str(Path(__file__).with_name("backend_asyncio.py"))
    return [sys.executable, script, str(site.port), DOCUMENT, MEBIBYTE, GIBIBYTE, SEEN]
