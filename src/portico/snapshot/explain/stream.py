"""The client's side of a request that nobody has sent: it has come as a whole, and takes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from portico.core.exchange import Client, Receiver


class Unsent:
    """A `Stream` on which nothing can be sent; what asks it to is an error of whoever explains."""

    receiver: Receiver
    bytes_out = 0
    request_done = True
    response_started = writing_paused = False
    trailers: Sequence[bytes] = ()

    def __init__(self, client: Client, body_size: int, body_limit: int) -> None:
        self.client = client
        self.bytes_in = body_size
        self.body_limit = body_limit
        self.server = SimpleNamespace(in_flight=0, tunnels=0)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"nothing is sent for an explanation: {name}")
