"""nginx with limit_req and a JSON access log, and nginx that only passes on."""

from __future__ import annotations

from benchmarks.nginx_parts import FORWARDED, LIMIT, LOG, NO_LOG, UPSTREAM, command, version
from benchmarks.peer import BULK, PLAIN, POLICIES, Peer, Site

_SERVER = """\
    server {{
        listen 127.0.0.1:{port};
        location /api/bench/ {{ proxy_pass http://backend/; }}
    }}
"""
# A quarter cheaper for a mebibyte than the default buffers, an eighth dearer for a short answer.
_BIG_BUFFERS = """\
    proxy_buffer_size 64k;
    proxy_buffers 16 64k;
    proxy_busy_buffers_size 128k;
"""


def _with_policies(site: Site) -> list[str]:
    parts = (UPSTREAM + FORWARDED + LOG + LIMIT + _SERVER).format(backend=site.backend, port=site.port, user="")
    return command(site, parts)


def _plain(site: Site) -> list[str]:
    return command(site, (UPSTREAM + NO_LOG + _SERVER).format(backend=site.backend, port=site.port))


def _bulk(site: Site) -> list[str]:
    http = (UPSTREAM + NO_LOG + _BIG_BUFFERS + _SERVER).format(backend=site.backend, port=site.port)
    return command(site, http)


PEERS = (
    Peer("nginx", POLICIES, version, "apt install nginx-light", _with_policies, access_log="access.log"),
    Peer("nginx", PLAIN, version, "apt install nginx-light", _plain),
    Peer("nginx", BULK, version, "apt install nginx-light", _bulk),
)
