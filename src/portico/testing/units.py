"""What a hook is called with, made by hand: the pure form of a test, without a socket or an event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any, Final, TypeAlias, TypeVar, cast

from portico.core.errors import MessageError
from portico.core.exchange import Client, Exchange, RouteMatch, Stream
from portico.core.fields import PASSES, REQUEST_DROP
from portico.core.header_map import checked_line
from portico.core.messages import RequestHead
from portico.policies.consumer_fields import consumer_lines
from portico.policies.head import ResponseEdit
from portico.policies.plugins.base import Policy
from portico.policies.plugins.context import PluginContext
from portico.policies.plugins.view import ExchangeView, view_of
from portico.policies.policy import BodyFilter
from portico.proxy.headers.forwarded import Peer
from portico.testing.contexts import make_context
from portico.wire.http1.grammar import name_of, parse_request_head

HeaderPairs: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]
"""Fields by name or, where a name comes more than once, as pairs."""

AnyPolicy = TypeVar("AnyPolicy", bound=Policy)

_HOST: Final = "gateway.example"
_NO_LIMIT: Final = 1 << 20
_numbers = count(1)


def make_exchange(
    method: str = "GET",
    target: str = "/",
    *,
    headers: HeaderPairs = (),
    client_ip: str = "192.0.2.1",
    consumer: str | None = None,
    claims: Mapping[str, Any] | None = None,
    scopes: Sequence[str] = (),
    route: str = "route",
    service: str = "service",
    status: int = 0,
    reason: str | None = None,
) -> ExchangeView:
    """An exchange as hooks see it: that of a request for `target` (`/x?a=1`), read as one from a client is.

    `status` and `reason` are the outcome, for `finished`. Raises ValueError where no client could send such a request.
    """
    lines = field_lines(headers)
    exchange = exchange_of(method, target, lines, client_ip)
    exchange.match = RouteMatch(
        SimpleNamespace(name=route),
        SimpleNamespace(service_name=service, response_hooks=None),
        target.partition("?")[0],
        target.partition("?")[0].encode(),
    )
    exchange.consumer, exchange.claims_or_token, exchange.scopes = consumer, claims, tuple(scopes)
    if consumer is not None:
        exchange.request_lines = consumer_lines(consumer, exchange.scopes, "percent")
    exchange.status, exchange.reason = status, reason
    return view_of(exchange)


def make_policy(kind: type[AnyPolicy], /, *, context: PluginContext | None = None, **settings: Any) -> AnyPolicy:
    """A policy of this class as a gateway makes it, with what would stand under `with`.

    Without a `context` it has one of its own, with an empty state; see `make_context`. Raises pydantic.ValidationError
    for settings that a configuration could not have either.
    """
    policy = kind()
    policy.settings = kind.Settings(**settings)
    policy.context = context or make_context(kind.__name__)
    return policy


def make_response(status: int = 200, headers: HeaderPairs = ()) -> ResponseEdit:
    """The head of a service's response, for `response` and `body`; edits of it are seen in its `headers`."""
    return _Made(status, field_lines(headers))


class _Made(ResponseEdit):
    def __init__(self, status: int, lines: list[bytes]) -> None:
        super().__init__(status)
        self._made = lines

    def _unedited_lines(self) -> list[bytes]:
        return self._made


def run_body(body_filter: BodyFilter | None, *pieces: bytes) -> bytes:
    """What becomes of a body that comes in these pieces; without a filter (None) they stay as they are."""
    if body_filter is None:
        return b"".join(pieces)
    return b"".join([*map(body_filter.feed, pieces), body_filter.end()])


def field_lines(headers: HeaderPairs) -> list[bytes]:
    """Fields as lines without their ends. Raises ValueError where they cannot be any."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [checked_line(name, value) for name, value in pairs]
    for line in lines:
        name_of(line)
    return lines


def exchange_of(method: str, target: str, lines: Sequence[bytes], client_ip: str) -> Exchange:
    """The exchange of a request that was read just now, before it was routed; nothing can be sent to its client."""
    client = Client(client_ip, 80, False)
    client.peer = Peer(client, [])
    stream = SimpleNamespace(client=client, bytes_in=0, bytes_out=0, response_started=False)
    exchange = Exchange(cast(Stream, stream), _head(method, target, lines), lambda *_: None)
    exchange.method = method
    exchange.query = b"".join(target.encode().partition(b"?")[1:])
    exchange.client_ip, exchange.trusted = client_ip, False
    exchange.request_id = exchange.trace_id = f"{next(_numbers):032x}"
    exchange.id = exchange.request_id.encode()
    return exchange


def _head(method: str, target: str, lines: Sequence[bytes]) -> RequestHead:
    if not any(line.lower().startswith(b"host:") for line in lines):
        lines = [b"Host: " + _HOST.encode(), *lines]
    first, block = f"{method} {target} HTTP/1.1".encode(), b"\r\n".join(lines)
    try:
        return parse_request_head(first, block, _NO_LIMIT, _NO_LIMIT, REQUEST_DROP, passes=PASSES)
    except MessageError as error:
        raise ValueError(f"no client can send this request: {error.detail}") from None
