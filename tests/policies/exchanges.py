"""An exchange for policies: a request without a wire."""

from __future__ import annotations

from typing import Any

from portico.core.exchange import Exchange
from portico.proxy.headers.forwarded import Peer
from portico.testing.units import exchange_of

HOST = b"gateway.example:8080"


def exchange(
    *lines: str,
    method: str = "GET",
    client_ip: str = "192.0.2.7",
    peer: Peer | None = None,
    host: bytes = HOST,
    **given: Any,
) -> Exchange:
    """An exchange of a request with these field lines; `given` are attributes to set on it."""
    made = exchange_of(method, "/", [line.encode() for line in lines], client_ip)
    made.started = 1000.0
    assert made.request is not None
    made.request.host = host
    if peer is not None:
        made.stream.client.peer = peer
    for name, value in given.items():
        setattr(made, name, value)
    return made
