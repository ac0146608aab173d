"""Every peer there is: adding one is a file here and a row of this table."""

from __future__ import annotations

from benchmarks.peer import Peer
from benchmarks.peers import caddy, envoy, haproxy, nginx, nginx_lua, portico, seed_sample, varnish

PEERS: tuple[Peer, ...] = (
    *nginx.PEERS,
    *nginx_lua.PEERS,
    *haproxy.PEERS,
    *varnish.PEERS,
    *envoy.PEERS,
    *caddy.PEERS,
    *seed_sample.PEERS,
    *portico.PEERS,
)
