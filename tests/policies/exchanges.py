"""A fake exchange for policies: a request without a wire."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from portico.core.exchange import Client, Exchange, Stream
from portico.core.messages import Fields, RequestHead
from portico.proxy.headers.forwarded import Peer

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
    request = RequestHead()
    request.known_by = None
    request.method = method.encode()
    names = [line.partition(":")[0].lower().encode() for line in lines]
    request.fields = Fields(names, [line.encode() for line in lines])
    request.noted = frozenset(names)
    request.version, request.framing, request.host = 11, 0, host
    client = Client(client_ip, 8080, False)
    client.peer = peer or Peer(client, [])
    made = Exchange(cast(Stream, SimpleNamespace(client=client)), request, lambda own, failure: None)
    made.method, made.client_ip, made.started = method, client_ip, 1000.0
    for name, value in given.items():
        setattr(made, name, value)
    return made
