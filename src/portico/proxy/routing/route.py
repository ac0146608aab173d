"""A route compiled for the request path: all that can be computed before a request arrives is ready in it."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.messages import RequestHead, ResponseHead, offered_upgrades
from portico.policies.policy import Policy, Return
from portico.upstreams.instance import Instance
from portico.upstreams.service import Retry, Service, Timeouts
from portico.wire.websocket import PROTOCOL as WEBSOCKET


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The path that a service sees: `before`, then what followed the route's prefix, then `after`.

    `keeps_path` is false where a rewrite names a fixed path; with `keeps_all` the path stays as it is, its prefix
    included.
    """

    before: bytes
    after: bytes = b""
    keeps_path: bool = True
    keeps_all: bool = False

    @classmethod
    def of(cls, template: str) -> Rewrite:
        """From the configuration's form: `/api/{path}`, or `keep`."""
        if template == "keep":
            return cls(b"", keeps_all=True)
        before, placeholder, after = template.encode().partition(b"{path}")
        return cls(before, after, bool(placeholder))

    def apply(self, path: bytes, depth: int) -> bytes:
        """The rewritten form of `path`, whose first `depth` segments are the prefix; no byte of the others changes."""
        if self.keeps_all:
            return path
        if not self.keeps_path:
            return self.before
        parts = path.split(b"/", depth + 1)
        return self.before + (parts[-1] if len(parts) > depth + 1 else b"") + self.after


@dataclass(frozen=True, slots=True)
class Handling:
    """How a request is handled: routes that handle requests alike share one object, which stays in the CPU caches."""

    service: Service
    service_name: str
    policies: tuple[Policy, ...]
    marks: tuple[Policy, ...]
    """Those of them that every response passes, also a refusal that comes before them all."""
    compose: Compose
    """Makes the head that is sent to an instance."""
    response_lines: ResponseLines
    """Makes the field lines of a response that are sent to the client."""
    timeouts: Timeouts
    retry: Retry
    preserve_host: bool
    answers_preflights: bool
    """Whether its policies answer preflight requests."""
    upgrades: frozenset[bytes]
    """The protocols, in lower case, to which a client may switch."""
    trailers: frozenset[bytes]
    """The names, in lower case, of allowed trailer fields, in either direction."""
    forward: Callable[[Exchange, Handling, AbstractEventLoop], Forward]
    """Makes the forwarding of one exchange."""
    attempts: tuple[Callable[[Exchange], bytes | None], ...] = ()
    """What adds a field line to each attempt when it is sent."""
    back: Return | None = None
    """The way back of its responses, where policies have hooks for them."""

    def upgrade_for(self, request: RequestHead) -> bytes:
        """The protocol to offer to the service, of those that the client offers; empty for none.

        A protocol that is not allowed is ignored, as in RFC 9110, section 7.8: the request goes on as an ordinary one.
        """
        for protocol in offered_upgrades(request):
            if protocol in self.upgrades and (protocol != WEBSOCKET or request.method == b"GET"):
                return protocol
        return b""


class Forward(Protocol):
    """One exchange with a service."""

    service: Service

    def start(self) -> None:
        """Begin with the first instance."""


Compose: TypeAlias = Callable[[Exchange, Handling, Instance, bytes], bytes]
"""`request_head`, or what edits its result: the arguments end with the protocol that is offered to the service."""

ResponseLines: TypeAlias = Callable[[Exchange, ResponseHead], list[bytes]]
"""`response_lines` of `compose.py`, or what edits its result; where it does, `Exchange.response_drop` is not None."""


@dataclass(frozen=True, slots=True)
class Route:
    """The part of a route that it does not share."""

    name: str
    handling: Handling
    rewrite: Rewrite
    prefix: bytes
    """What the rewrite takes off the front, for `X-Forwarded-Prefix`."""
    forwarded: bytes
    """`X-Forwarded-Prefix` as sent for clients that are not trusted proxies: a line with its end, or nothing."""
    at_prefix: Handling | None = None
    """How requests for its bare prefix are handled, where not as all others."""
    encoded_slashes: bool = False
    """Whether `%2F` in its paths is no separator for its service either."""
    case_insensitive: bool = False
    """Whether case, and dots at the end of a segment, mean nothing to its service."""


@dataclass(frozen=True, slots=True)
class LocalRoute:
    """A path that the worker answers itself."""

    name: str
    answer: Callable[[], Answer]
