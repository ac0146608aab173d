"""One request with its response: the boundary between the wire and the gateway, and the facts that are observed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from portico.core.claims import claims_of
from portico.core.errors import MessageError
from portico.core.messages import RequestHead


class Receiver(Protocol):
    """The wire's callbacks for one exchange. Nothing is called after `finished`, which is called exactly once."""

    def body_received(self, data: bytes) -> None:
        """A piece of the request's content, without its transfer coding; never empty."""

    def body_ended(self) -> None:
        """The request is complete."""

    def body_failed(self, error: MessageError) -> None:
        """The rest of the request will not arrive; a response that has not begun should say why."""

    def pause_writing(self) -> None:
        """The client reads more slowly than the response comes: produce no more until `resume_writing`."""

    def resume_writing(self) -> None:
        """The client has caught up."""

    def going_away(self) -> None:
        """The server is about to stop: end what would otherwise never end."""

    def finished(self, failure: str | None) -> None:
        """The response was handed over completely (None), or the exchange was aborted for this reason."""


class Load(Protocol):
    """What a worker has in progress."""

    in_flight: int
    """Exchanges, tunnels among them."""
    tunnels: int


class Sink(Protocol):
    """A socket with no earlier writes left to send."""

    descriptor: int
    transport: asyncio.Transport

    def body_moved(self, size: int, rest: bytes) -> None:
        """The kernel spliced `size` bytes of content into this socket, except for the `rest`."""


class Stream(Protocol):
    """What the gateway can do to the client's side of one exchange; HTTP/1.1 implements it, HTTP/2 can beside it."""

    receiver: Receiver
    client: Client
    body_limit: int
    """Bytes of content that it may have; more ends it with 413. It may be set while content is still to come."""

    @property
    def bytes_in(self) -> int:
        """Content received so far."""

    @property
    def bytes_out(self) -> int:
        """Content sent so far."""

    @property
    def request_done(self) -> bool:
        """Whether all content of the request is here."""

    @property
    def response_started(self) -> bool:
        """Whether something of a final response was sent."""

    @property
    def writing_paused(self) -> bool:
        """Whether the client reads more slowly than the response comes."""

    @property
    def server(self) -> Load:
        """The load that runs beside this exchange."""

    @property
    def trailers(self) -> Sequence[bytes]:
        """The trailer field lines of the request, once its content is complete."""

    def send_interim(self, status: int, phrase: bytes, lines: list[bytes]) -> None:
        """An informational response (1xx) before the final one."""

    def send_head(self, status: int, phrase: bytes, lines: list[bytes], framing: int) -> None:
        """The response's head: end-to-end field `lines` without CRLF, and how its body will be delimited.

        With a framing of `TUNNEL` there is no body: `body_received` and `send_body` carry the bytes of another
        protocol from now on, until `end` or until the client is gone.
        """

    def send_body(self, data: bytes) -> None:
        """A piece of the response's content."""

    def sink(self) -> Sink | None:
        """Where the kernel may send content directly; None where content is framed, encrypted, or has to wait."""

    def end(self, trailers: Sequence[bytes] = ()) -> None:
        """The response is complete; the wire decides whether the connection is kept open.

        `trailers` are field lines that follow content of unknown length.
        """

    def send_whole(self, status: int, pieces: Sequence[bytes], framing: int, now: float) -> None:
        """A complete response: `send_head`, `send_body` and `end` in one; `now` is the monotonic time.

        The last of its pieces is its content, the one before it the `CRLF CRLF` that ends its head, and those before
        that are its status line in HTTP/1.1 and field lines.
        """

    def take_back(self) -> bool:
        """Forget the response that has begun, if no byte of it was written yet; another may then be sent."""

    def abort(self, reason: str) -> None:
        """Abort a response that cannot be completed, so that the client sees that it is truncated."""

    def read_body(self) -> None:
        """The request's content is needed now: a client that waits for `100 Continue` gets it."""

    def pause_reading(self) -> None:
        """Take no more of the request's content for now."""

    def resume_reading(self) -> None:
        """Take the request's content again."""


class Client:
    """Where a connection comes from, as the transport reports it; `certificate` is the client's, verified, in DER."""

    __slots__ = ("address", "certificate", "local_port", "peer", "secure")

    def __init__(self, address: str, local_port: int, secure: bool, certificate: bytes | None = None) -> None:
        self.address = address
        self.local_port = local_port
        self.secure = secure
        self.certificate = certificate
        self.peer: Any = None
        """What the handler worked out about this client; it lives as long as the connection."""


class Handler(Protocol):
    """What a wire protocol calls: it receives requests, and bytes that are not a request."""

    def begin(self, stream: Stream, request: RequestHead, content: bytes, now: float) -> None:
        """A request's head arrived, at the monotonic time `now`. Must set `stream.receiver` first.

        Where the request's `content` came with it, it is complete, and the receiver gets no body callbacks.
        """

    def begin_refused(self, stream: Stream, request: RequestHead, error: MessageError, now: float) -> None:
        """The same for a request whose content will not be read because of `error`, as a policy may say of another."""

    def body_limit(self, request: RequestHead) -> int | None:
        """Bytes of content that a request may have which is larger than others may be; None: as others."""

    def refuse(self, stream: Stream, error: MessageError, seen: bytes) -> None:
        """No request could be read from `seen`. Must set `stream.receiver` and answer; then the connection closes."""


@runtime_checkable
class ToldAside(Protocol):
    """A handler to which clients may say something that is no part of their requests."""

    def beside(self, lines: Sequence[bytes]) -> Handler:
        """What gets one request in its place, whose client has said these field lines to the gateway itself."""


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """The result of matching a path, a host and a method.

    `route` is None where no route matches, `handling` where no service is called. `path` is the path as it was sent,
    for logs and problem documents; `target` is what the service sees instead. `forwarded` is the line that says so.
    `pages` are the error pages where there is no handling, which has its own. `versions` are the matches of a path that
    leads to several versions of a service: which of them is the request's, its fields or its query say. `sides` are
    those of a split: which of them is the request's is decided behind the policies.
    """

    route: Any
    handling: Any
    path: str
    target: bytes
    forwarded: bytes = b""
    pages: Any = None
    versions: Any = None
    sides: Any = ()

    @classmethod
    def nowhere(cls, path: bytes, pages: Any = None) -> RouteMatch:
        """The match of a request that reaches no route."""
        return cls(None, None, path.decode("ascii", "backslashreplace"), path, pages=pages)


_NOWHERE: Final = RouteMatch.nowhere(b"-")


class Exchange:
    """One exchange: what policies read and write while it runs, and what is observed when it is over.

    It is also the `Receiver` of an exchange that the gateway answers itself, which ignores the request's content.
    """

    # fmt: off
    __slots__ = (
        # client and destination
        "claims_or_token", "client_ip", "consumer", "content", "finish", "id", "is_exempt", "method", "match", "query",
        "request", "request_id", "scopes", "started", "stream", "trace", "trace_id", "trusted", "view",
        # what policies add
        "request_lines", "response_drop", "response_lines",
        # the outcome
        "attempts", "cache", "costs", "ended", "reason", "shadow", "status", "upstream", "upstream_error",
        "upstream_seconds",
    )
    # fmt: on

    method: str
    query: bytes
    """`b"?a=b"` with its question mark, or empty."""
    request_id: str
    id: bytes
    """The request id as sent to both sides, once a service is called."""
    trace_id: str
    """32 hexadecimal digits, as in `traceparent` (W3C Trace Context)."""
    trace: Any
    """Its spans, or None; only set where the gateway traces: `trace_of` in `observe/tracing.py` reads it."""
    client_ip: str
    claims_or_token: Mapping[str, Any] | bytes | None
    """What `claims` gives or, until it is read, the field line of the verified token; None where there is none."""
    response_drop: frozenset[bytes] | None
    """Lower-cased names of fields that do not go on to the client. None also says that the head of a service's
    response may be sent as it was composed for others: what edits responses in any way sets it, if only to nothing."""
    ended: float
    """When its response was complete (monotonic seconds), where the clock was read then; else 0."""
    costs: Any
    """What reads its cost while it is under way, then what it cost, by limit; set where a limit asks."""
    is_exempt: bool
    """Whether it passes limits, as a client's first request to an MCP server does; set where that was decided."""
    trusted: bool
    """Whether the peer is a proxy whose forwarded fields are trusted."""

    content: bytes
    """The request's content, if all of it came with its head; it is released once no further attempt can need it."""

    def __init__(
        self,
        stream: Stream,
        request: RequestHead | None,
        finish: Callable[[Exchange, str | None], None],
        content: bytes = b"",
        started: float = 0.0,
    ) -> None:
        self.stream = stream
        self.request = request
        self.finish = finish
        self.content = content
        self.started = started or time.monotonic()
        self.ended = 0.0
        self.match = _NOWHERE
        self.consumer: str | None = None
        self.claims_or_token: Mapping[str, Any] | bytes | None = None
        self.scopes: tuple[str, ...] = ()
        self.request_lines: tuple[bytes, ...] = ()
        self.response_lines: tuple[bytes, ...] = ()
        self.response_drop: frozenset[bytes] | None = None
        self.attempts = 0
        self.cache: str | None = None
        """What the cache had for it: hit, stale, revalidated, collapsed, miss or bypass; None on routes without one."""
        self.upstream: str | None = None
        self.upstream_seconds: float | None = None
        self.upstream_error: str | None = None
        """Why the last attempt that failed did, in words for the operator."""
        self.status = 0
        self.reason: str | None = None
        self.shadow: str | None = None
        """The limits that would have refused it, were they enforced."""
        self.view: Any = None
        """What users' policies see of it, once one of them has been asked."""

    @property
    def claims(self) -> Mapping[str, Any] | None:
        """Those of the verified token, read-only: others may share them. They are decoded when they are first read."""
        found = self.claims_or_token
        if isinstance(found, bytes):
            found = self.claims_or_token = claims_of(found)
        return found

    @property
    def path(self) -> str:
        """The path as it was sent."""
        return self.match.path

    def body_received(self, data: bytes) -> None:
        """Content is ignored."""

    def body_ended(self) -> None:
        """The same."""

    def body_failed(self, error: MessageError) -> None:
        """The answer is being sent already; the wire closes after it."""

    def pause_writing(self) -> None:
        """An answer of the gateway's own is small."""

    def resume_writing(self) -> None:
        """The same."""

    def going_away(self) -> None:
        """It is over soon."""

    def finished(self, failure: str | None) -> None:
        """Observe the exchange."""
        self.finish(self, failure)
