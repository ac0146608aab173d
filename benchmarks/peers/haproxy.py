"""HAProxy that only passes on, and with policies."""

from __future__ import annotations

from benchmarks.certificate import certificate
from benchmarks.peer import BULK, DUTIES_OF_POLICIES, PLAIN, POLICIES, ROUTES, TLS, WEBSOCKET, Peer
from benchmarks.peers import haproxy_policies
from support.haproxy import command, version
from support.site import Site

_CONFIGURATION = """\
global
    nbthread {workers}
    maxconn 8000
{tuning}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 600s
    timeout http-keep-alive 60s
    http-reuse always
frontend gateway
    bind 127.0.0.1:{port}{bind}
{routing}
    default_backend service
backend service
    server one 127.0.0.1:{backend} pool-max-conn 128
"""


def _plain(site: Site) -> list[str]:
    return _command(site)


def _bulk(site: Site) -> list[str]:
    return _command(site, tuning="    tune.bufsize 65536")


def _routes(site: Site) -> list[str]:
    routes = site.write("routes.map", "".join(f"/api/bench{n}/ service\n" for n in range(site.routes)))
    return _command(site, routing=f"    use_backend %[path,map_beg({routes},service)]")


def _tls(site: Site) -> list[str]:
    return _command(site, bind=f" ssl crt {certificate(site)}")


def _command(site: Site, tuning: str = "", bind: str = "", routing: str = "") -> list[str]:
    text = _CONFIGURATION.format(
        port=site.port, backend=site.backend, workers=site.workers, tuning=tuning, bind=bind, routing=routing
    )
    return command(site, text)


_INSTALL = "apt install haproxy"
PEERS = (
    Peer(
        "haproxy",
        POLICIES,
        version,
        _INSTALL,
        haproxy_policies.configure,
        duties=DUTIES_OF_POLICIES,
        access_log="access.log",
    ),
    *(
        Peer("haproxy", stack, version, _INSTALL, configure)
        for stack, configure in ((PLAIN, _plain), (BULK, _bulk), (ROUTES, _routes), (TLS, _tls), (WEBSOCKET, _plain))
    ),
)
