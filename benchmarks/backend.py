"""The service behind all gateways: a short JSON document for everything, more for a few paths."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.documents import document
from benchmarks.peer import COMPRESS, WEBSOCKET
from benchmarks.request import CACHEABLE, EXPORT, GIBIBYTE, MEBIBYTE, REPORT, SEEN, STAMPED
from support import nginx
from support.cores import LOAD
from support.instance import DOCUMENT
from support.instance_process import InstanceProcess
from support.process import free_port
from support.server import Server, at
from support.site import Site

_SEEN_DOCUMENT = (
    '{"connection":"$connection","request_id":"$http_x_request_id",'
    '"forwarded_for":"$http_x_forwarded_for","user":"$http_x_consumer_username"}'
)
# What only returns does not wait for a content, and answers before it is there; what passes on does.
_HTTP = """\
    upstream reader {{ server unix:{root}/reader; keepalive 64; keepalive_requests 1000000000; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {{
        listen unix:{root}/reader;
        location / {{ return 200 '{document}'; }}
    }}
    server {{
        listen 127.0.0.1:{port};
        client_body_buffer_size 64k;
        location / {{
            if ($http_if_none_match) {{ return 304; }}
            return 200 '{document}';
            limit_except GET {{ proxy_pass http://reader; }}
        }}
        location ~ {cacheable}$ {{ add_header Cache-Control 'public, max-age=3600'; return 200 '{document}'; }}
        location ~ {stamped}$ {{ add_header Cache-Control 'public, max-age=3600'; return 200 '$request_id'; }}
        location ~ {seen}$ {{
            return 200 '{seen_document}';
        }}
        location ~ {mebibyte}$ {{ root {root}; try_files {mebibyte} =404; }}
        location ~ {gibibyte}$ {{ root {root}; try_files {gibibyte} =404; }}
        location ~ {report}$ {{ root {root}; try_files {report} =404; }}
        location ~ {export}$ {{ root {root}; try_files {export} =404; }}
    }}
"""


@contextmanager
def backend(directory: Path, stack: str) -> Iterator[Server]:
    """Serves until the end of the block: nginx where there is one, else Python, which alone speaks WebSocket here."""
    if nginx.version() and stack != WEBSOCKET:
        site = Site(free_port(), 0, directory)
        if stack == COMPRESS:
            (site.directory / REPORT[1:]).write_bytes(document(64 << 10))
            (site.directory / EXPORT[1:]).write_bytes(_export())
        service = at(site, _nginx(site), "/", LOAD)
    else:
        service = InstanceProcess(cores=LOAD)
    with service:
        yield service


def kind() -> str:
    """Which of the two it is, for the report."""
    version = nginx.version()
    return f"nginx {version}, one worker" if version else "an asyncio protocol in Python"


def _nginx(site: Site) -> list[str]:
    site.write(MEBIBYTE[1:], "x" * (1 << 20))
    with (site.directory / GIBIBYTE[1:]).open("wb") as hole:
        hole.truncate(1 << 30)  # takes no room on the disk
    http = _HTTP.format(
        port=site.port,
        document=DOCUMENT,
        cacheable=CACHEABLE,
        stamped=STAMPED,
        seen=SEEN,
        seen_document=_SEEN_DOCUMENT,
        mebibyte=MEBIBYTE,
        gibibyte=GIBIBYTE,
        report=REPORT,
        export=EXPORT,
        root=site.directory,
    )
    return nginx.command(site, nginx.NO_LOG + http)


def _export() -> bytes:
    """Made of pieces that no coding looks back as far as to, at the levels of a gateway."""
    return document(5 << 20) * 10
