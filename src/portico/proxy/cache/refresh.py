"""Fetching without a client: for one that has left, one that has its response already, or one that reads slowly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from portico.core.exchange import Client, Exchange, Receiver, Sink
from portico.core.messages import RequestHead
from portico.observe.tracing import trace_of


class _NoLoad:
    """A worker's load says nothing about what no client waits for."""

    in_flight = tunnels = 0


class NoClient:
    """The `Stream` of an exchange without a client: takes everything, and ends as one that has read it all."""

    bytes_in = bytes_out = body_limit = 0
    writing_paused = False
    request_done = True
    response_started = False
    body_limit = 0
    server: Final = _NoLoad()
    trailers: Sequence[bytes] = ()
    receiver: Receiver

    def __init__(self, client: Client) -> None:
        self.client = client
        self._is_over = False

    def send_interim(self, status: int, phrase: bytes, lines: list[bytes]) -> None:
        """Nobody reads it."""

    def send_head(self, status: int, phrase: bytes, lines: list[bytes], framing: int) -> None:
        """The same."""

    def send_body(self, data: bytes) -> None:
        """The same."""

    def sink(self) -> Sink | None:
        """There is no socket."""
        return None

    def end(self, trailers: Sequence[bytes] = ()) -> None:  # noqa: ARG002
        """It is over."""
        self._finish(None)

    def send_whole(self, status: int, pieces: Sequence[bytes], framing: int, now: float) -> None:  # noqa: ARG002
        """The same."""
        self._finish(None)

    def take_back(self) -> bool:
        """Nothing was written."""
        return False

    def abort(self, reason: str) -> None:
        """It is over, and incomplete."""
        self._finish(reason)

    def read_body(self) -> None:
        """There is none."""

    def pause_reading(self) -> None:
        """The same."""

    def resume_reading(self) -> None:
        """The same."""

    def _finish(self, failure: str | None) -> None:
        if not self._is_over:
            self._is_over = True
            self.receiver.finished(failure)


def without_client(
    exchange: Exchange, finish: Callable[[Exchange, str | None], None], started: float = 0.0
) -> Exchange:
    """An exchange that goes on as `exchange` would, but for nobody; `finish` is called at its end.

    What the connection of the client reuses for its next request is copied. `started` is since when it may last, if
    that is not when the other one was.
    """
    assert exchange.request is not None
    stream, request = NoClient(exchange.stream.client), _copy_of(exchange.request)
    made = Exchange(stream, request, finish, exchange.content, started or exchange.started)
    stream.receiver = made
    made.method, made.match, made.query = exchange.method, exchange.match, exchange.query
    made.request_id, made.id, made.trace_id = exchange.request_id, exchange.request_id.encode(), exchange.trace_id
    made.trace = trace_of(exchange)
    made.client_ip, made.trusted = exchange.client_ip, exchange.trusted
    made.consumer, made.scopes = exchange.consumer, exchange.scopes
    made.claims_or_token = exchange.claims_or_token
    made.request_lines, made.view = exchange.request_lines, exchange.view
    made.attempts, made.upstream = exchange.attempts, exchange.upstream
    made.upstream_seconds = exchange.upstream_seconds
    return made


def _copy_of(request: RequestHead) -> RequestHead:
    copy = RequestHead()
    for name in RequestHead.__slots__:
        if hasattr(request, name):
            setattr(copy, name, getattr(request, name))
    return copy
