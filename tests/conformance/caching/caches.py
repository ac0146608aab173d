"""The caches that the cases are played to, each before one service of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from conformance.gateways import Contestant, portico, process
from portico import __version__
from support import nginx, varnish
from support.client import ask
from support.redis_servers import RedisServer
from support.site import Site
from support.waiting import until

# What a good configuration of it has: the host in the key, conditional requests, and stale-while-revalidate in the
# background.
_NGINX = """\
    access_log off;
    proxy_cache_path cache keys_zone=cache:8m;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{backend};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Connection "";
            proxy_cache cache;
            proxy_cache_key $scheme$host$request_uri;
            proxy_cache_revalidate on;
            proxy_cache_background_update on;
        }}
    }}
"""
_VARNISH = """\
vcl 4.1;
backend service {{ .host = "127.0.0.1"; .port = "{backend}"; }}
"""
# Nothing is fresh of which the service does not say so, nothing is served stale by itself, and what is stale is kept
# for conditional requests.
_VARNISH_PARAMETERS = ("default_ttl=0", "default_grace=0", "default_keep=3600")


def _nginx(site: Site) -> list[str]:
    return nginx.command(site, _NGINX.format(port=site.port, backend=site.backend))


def _varnish(site: Site) -> list[str]:
    return varnish.command(site, _VARNISH.format(backend=site.backend), *_VARNISH_PARAMETERS)


def memory(backend: int) -> AbstractContextManager[int]:
    """Portico, with what it stores in its memory."""
    return portico(backend, policies={"cache": True})


@contextmanager
def redis(backend: int) -> Iterator[int]:
    """Portico, with what it stores in Redis."""
    with RedisServer() as server:
        patient = {"redis_url": server.url, "cache": {"redis_timeout": "1s"}}  # what is asked here is no matter of time
        with portico(backend, policies={"cache": {"store": "redis"}}, gateway=patient) as port:
            until(lambda: "; hit" in (ask(port, "GET", "/").get("cache-status") or ""), "Redis serves the cache")
            yield port


CACHES = (
    Contestant("Portico", lambda: __version__, memory),
    Contestant("Portico, Redis", lambda: __version__, redis),
    Contestant("nginx", nginx.version, lambda port: process(port, _nginx), "apt install nginx-light"),
    Contestant("Varnish", varnish.version, lambda port: process(port, _varnish), "apt install varnish"),
    Contestant("no cache", lambda: __version__, portico),
)
"""The last is Portico without a cache: what is right by itself where nothing is stored."""
