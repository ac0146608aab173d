"""HAProxy that only passes on."""

from __future__ import annotations

from benchmarks.peer import BULK, PLAIN, Peer, Site, output_of, program

_CONFIGURATION = """\
global
    nbthread 1
    maxconn 8000
{tuning}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
    http-reuse always
frontend gateway
    bind 127.0.0.1:{port}
    default_backend service
backend service
    server one 127.0.0.1:{backend} pool-max-conn 128
"""


def _plain(site: Site) -> list[str]:
    return _command(site, tuning="")


def _bulk(site: Site) -> list[str]:
    return _command(site, tuning="    tune.bufsize 65536")


def _command(site: Site, tuning: str) -> list[str]:
    text = _CONFIGURATION.format(port=site.port, backend=site.backend, tuning=tuning)
    path = site.write("haproxy.cfg", text)
    return [program("haproxy") or "haproxy", "-db", "-f", str(path)]


def _version() -> str | None:
    haproxy = program("haproxy")
    return output_of(haproxy, "-v").split()[2] if haproxy else None


PEERS = (
    Peer("haproxy", PLAIN, _version, "apt install haproxy", _plain),
    Peer("haproxy", BULK, _version, "apt install haproxy", _bulk),
)
