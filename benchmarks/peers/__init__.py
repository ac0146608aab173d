"""Every peer there is: adding one is a file here and a row of this table."""

from __future__ import annotations

from benchmarks.peer import Peer
from benchmarks.peers import haproxy, nginx, nginx_lua, portico

PEERS: tuple[Peer, ...] = (
    *nginx.PEERS,
    *nginx_lua.PEERS,
    *haproxy.PEERS,
    *portico.PEERS,
)
