"""nginx with limit_req and a JSON access log, nginx that only passes on, and nginx that describes clients."""

from __future__ import annotations

from benchmarks.certificate import certificate
from benchmarks.nginx_parts import CACHE as CACHING
from benchmarks.nginx_parts import FORWARDED, LIMIT, LOG
from benchmarks.peer import BULK, CACHE, COMPRESS, PARTS, PATTERNS, PLAIN, POLICIES, ROUTES, TLS, WEBSOCKET, Duty, Peer
from benchmarks.request import GZIP_LEVEL, TENANT
from support.nginx import NO_LOG, UPSTREAM, command, version
from support.site import Site

_SERVER = """\
    server {{
        listen 127.0.0.1:{port}{listen};
{locations}
    }}
"""
_LOCATION = "        location /api/bench/ { proxy_pass http://backend/; }"
# A quarter cheaper for a mebibyte than the default buffers, an eighth dearer for a short answer.
_BIG_BUFFERS = """\
    proxy_buffer_size 64k;
    proxy_buffers 16 64k;
    proxy_busy_buffers_size 128k;
"""
_GZIP = """\
    gzip on;
    gzip_comp_level {level};
    gzip_min_length 1024;
    gzip_types application/json;
    gzip_vary on;
"""
_TLS = """\
    ssl_certificate {path};
    ssl_certificate_key {path};
"""
# https://nginx.org/en/docs/http/websocket.html; an empty Connection keeps the connection to the service.
_UPGRADE = """\
    map $http_upgrade $connection_field { default upgrade; "" ""; }
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_field;
"""


def _with_policies(site: Site) -> list[str]:
    parts = (UPSTREAM + FORWARDED + LOG + LIMIT).format(backend=site.backend, user="", cache="null")
    # Without reuseport one of two workers takes nearly all connections.
    return command(site, parts + _server(site, listen=" reuseport" * (site.workers > 1)))


def _plain(site: Site) -> list[str]:
    return command(site, _passing_on(site) + _server(site))


def _describing(site: Site) -> list[str]:
    return command(site, _passing_on(site) + FORWARDED + _server(site))


def _marking(site: Site) -> list[str]:
    return command(site, _passing_on(site) + f"    proxy_set_header X-Tenant {TENANT};\n" + _server(site))


def _cached(site: Site) -> list[str]:
    return command(site, _passing_on(site) + CACHING.format(directory=site.directory) + _server(site))


def _bulk(site: Site) -> list[str]:
    return command(site, _passing_on(site) + _BIG_BUFFERS + _server(site))


def _routes(site: Site) -> list[str]:
    locations = (f"        location /api/bench{n}/ {{ proxy_pass http://backend/; }}" for n in range(site.routes))
    return command(site, _passing_on(site) + _server(site, "\n".join([_LOCATION, *locations])))


def _patterns(site: Site) -> list[str]:
    location = "        location ~ ^/api/bench{n}/([a-z]+)/([0-9]+)$ {{ proxy_pass http://backend/$2/$1; }}"
    locations = (location.format(n=n) for n in range(site.routes))
    return command(site, _passing_on(site) + _server(site, "\n".join([_LOCATION, *locations])))


def _tls(site: Site) -> list[str]:
    return command(site, _passing_on(site) + _TLS.format(path=certificate(site)) + _server(site, listen=" ssl"))


def _compressing(site: Site) -> list[str]:
    return command(site, _passing_on(site) + _BIG_BUFFERS + _GZIP.format(level=GZIP_LEVEL) + _server(site))


def _websocket(site: Site) -> list[str]:
    upstream = _passing_on(site).replace('    proxy_set_header Connection "";\n', _UPGRADE)
    return command(site, upstream + _server(site))


def _passing_on(site: Site) -> str:
    return (UPSTREAM + NO_LOG).format(backend=site.backend)


def _server(site: Site, locations: str = _LOCATION, listen: str = "") -> str:
    return _SERVER.format(port=site.port, listen=listen, locations=locations)


_INSTALL = "apt install nginx-light"
PEERS = (
    Peer(
        "nginx",
        POLICIES,
        version,
        _INSTALL,
        _with_policies,
        duties=frozenset({Duty.REUSE, Duty.DESCRIBE}),
        access_log="access.log",
    ),
    Peer("nginx", CACHE, version, _INSTALL, _cached, duties=frozenset({Duty.REUSE, Duty.CACHE})),
    Peer(
        "nginx, fields sent",
        PLAIN,
        version,
        _INSTALL,
        _describing,
        duties=frozenset({Duty.REUSE, Duty.DESCRIBE}),
    ),
    Peer("nginx, header rule", PARTS, version, _INSTALL, _marking, duties=frozenset({Duty.REUSE, Duty.MARK})),
    Peer("nginx", COMPRESS, version, _INSTALL, _compressing, duties=frozenset({Duty.REUSE, Duty.COMPRESS})),
    *(
        Peer("nginx", stack, version, _INSTALL, configure)
        for stack, configure in (
            (PLAIN, _plain),
            (PARTS, _plain),
            (BULK, _bulk),
            (ROUTES, _routes),
            (PATTERNS, _patterns),
            (TLS, _tls),
            (WEBSOCKET, _websocket),
        )
    ),
)
