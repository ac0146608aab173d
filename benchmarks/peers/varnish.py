"""Varnish that does nothing but cache."""

from __future__ import annotations

from benchmarks.peer import CACHE, Duty, Peer
from support.site import Site
from support.varnish import command, version

# By itself it would pass on what has a Cookie or Authorization; the service says here who may have what.
_VCL = """\
vcl 4.1;
backend service {{ .host = "127.0.0.1"; .port = "{backend}"; }}
sub vcl_recv {{
    set req.url = regsub(req.url, "^/api/bench/", "/");
    if (req.method != "GET" && req.method != "HEAD") {{ return (pass); }}
    return (hash);
}}
"""
_PARAMETERS = ("default_ttl=0", "thread_pools=1", "thread_pool_min=40")
"""What says nothing of caching is not cached; threads for the load's connections are there from the start."""


def _configure(site: Site) -> list[str]:
    return command(site, _VCL.format(backend=site.backend), *_PARAMETERS)


PEERS = (
    Peer("varnish", CACHE, version, "apt install varnish", _configure, duties=frozenset({Duty.REUSE, Duty.CACHE})),
)
