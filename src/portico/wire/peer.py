"""The client at the other end of a connection, as its transport or a PROXY header reports it."""

from __future__ import annotations

import asyncio
from typing import Any

from portico.core.clients import parsed
from portico.core.exchange import Client
from portico.wire.proxy_protocol import Origin


def client_at(transport: asyncio.BaseTransport, origin: Origin | None) -> Client:
    """The client of a new connection; `origin` is its source, if a PROXY header gave one."""
    peer: Any = transport.get_extra_info("peername")
    local: Any = transport.get_extra_info("sockname")
    tls: Any = transport.get_extra_info("ssl_object")
    address = str(peer[0]) if isinstance(peer, tuple) else ""
    if address.startswith("::ffff:"):
        address = str(parsed(address) or address)
    port = int(local[1]) if isinstance(local, tuple) else 0
    if origin is not None:
        address, port = origin.address, origin.port
    return Client(address, port, tls is not None, tls.getpeercert(binary_form=True) if tls else None)
