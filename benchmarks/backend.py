"""The service behind all gateways: a short JSON document for everything, more for two paths."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import nginx_parts
from benchmarks.children import child, free_port
from benchmarks.cores import LOAD
from benchmarks.peer import Site
from benchmarks.readiness import wait_until_ready
from benchmarks.request import MEBIBYTE, SEEN

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
    }}
"""


@contextmanager
def backend(directory: Path) -> Iterator[int]:
    """Serves on the port that it yields until the end of the block; nginx where there is one, else asyncio."""
    site = Site(port=free_port(), backend=0, directory=directory)
    with child(_nginx(site) if nginx_parts.version() else _asyncio(site), directory, LOAD) as process:
        wait_until_ready(process, site.port, "/", directory)
        yield site.port


def kind() -> str:
    """Which of the two it is, for the report."""
    nginx = nginx_parts.version()
    return f"nginx {nginx}, one worker" if nginx else "an asyncio protocol in Python"


def _nginx(site: Site) -> list[str]:
    site.write(MEBIBYTE[1:], "x" * (1 << 20))
    http = _HTTP.format(
        port=site.port,
        document=DOCUMENT,
        seen=SEEN,
        seen_document=_SEEN_DOCUMENT,
        mebibyte=MEBIBYTE,
        root=site.directory,
    )
    return nginx_parts.command(site, nginx_parts.NO_LOG + http)


def _asyncio(site: Site) -> list[str]:
    return [
        sys.executable,
        str(Path(__file__).with_name("backend_asyncio.py")),
        str(site.port),
        DOCUMENT,
        MEBIBYTE,
        SEEN,
    ]
