"""A route compiled for the request path: all that can be computed before a request arrives is ready in it."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.messages import RequestHead, ResponseHead, offered_upgrades
from portico.core.proxy_status import ProxyStatus
from portico.observe.sides import SideCounts
from portico.policies.error_pages import ErrorPages
from portico.policies.policy import Guards, Policy, ResponseHooks
from portico.proxy.routing.versions import VersionChooser
from portico.upstreams.instance import Instance
from portico.upstreams.limit import Limit
from portico.upstreams.service import Retry, Service, Timeouts
from portico.wire.websocket import PROTOCOL as WEBSOCKET

if TYPE_CHECKING:
    from portico.proxy.mirror import Mirror


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The path that a service sees: `before`, then what followed the route's prefix, then `after`.

    `keeps_path` is false where a rewrite names a fixed path; with `keeps_all` the path stays as it is, its prefix
    included. `prefix` is the route's own, without a slash at its end.
    """

    before: bytes
    after: bytes = b""
    keeps_path: bool = True
    keeps_all: bool = False
    prefix: bytes = b""

    @classmethod
    def of(cls, template: str, path: str = "/") -> Rewrite:
        """From the configuration's forms: `/api/{path}`, or `keep`, and the route's path."""
        prefix = path.rstrip("/").encode()
        if template == "keep":
            return cls(b"", keeps_all=True, prefix=prefix)
        before, placeholder, after = template.encode().partition(b"{path}")
        return cls(before, after, bool(placeholder), prefix=prefix)

    @property
    def is_identity(self) -> bool:
        """Whether it changes no path."""
        return self.keeps_all or (self.keeps_path and self.before == self.prefix + b"/" and not self.after)

    def apply(self, path: bytes, depth: int) -> bytes:
        """The rewritten form of `path`, whose first `depth` segments are the prefix; no byte of the others changes."""
        if self.keeps_all:
            return path
        if not self.keeps_path:
            return self.before
        parts = path.split(b"/", depth + 1)
        return self.before + (parts[-1] if len(parts) > depth + 1 else b"") + self.after

    def undo(self, path: bytes) -> bytes | None:
        """The path by which clients get to what the service calls `path`; None where this route does not lead there.

        One that begins with the route's prefix is the clients' already: the service knows its prefix.
        """
        prefix, before, after = self.prefix, self.before, self.after
        if self.is_identity or (is_below(path, prefix) and not before.startswith(prefix + b"/")):
            return path
        if not self.keeps_path:
            return (prefix or b"/") if path == before else None
        end = len(path) - len(after)
        if path.startswith(before) and path.endswith(after) and end >= len(before):
            return prefix + b"/" + path[len(before) : end]
        return (prefix or b"/") if path + b"/" == before and not after else None


def is_below(path: bytes, prefix: bytes) -> bool:
    """Whether a path begins with a prefix by whole segments, which is not empty."""
    return bool(prefix) and path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"", b"/")


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What is rewritten in a service's responses, so that clients can use it.

    `is_public` says whether a host has a route for a path already, for others than the front page.
    """

    is_public: Callable[[bytes, bytes], bool]
    location: bool = True
    cookie_path: bool = True
    cookie_domain: bytes | None = b""
    """What replaces a Domain that is the service's own, nothing where the cookie is that of the host alone; None:
    every Domain stays."""


@dataclass(frozen=True, slots=True)
class TakesOver:
    """The causes for which a service is asked in place of another one, and how large a request's body may be then."""

    causes: frozenset[str | int]
    max_body: int


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
    preserve_host: bool | None
    """Whether the service gets the client's Host; None: those instances that are internal."""
    answers_preflights: bool
    """Whether its policies answer preflight requests."""
    upgrades: frozenset[bytes]
    """The protocols, in lower case, to which a client may switch."""
    trailers: frozenset[bytes]
    """The names, in lower case, of allowed trailer fields, in either direction."""
    forward: Callable[[Exchange, Handling, AbstractEventLoop], Forward]
    """Makes the forwarding of one exchange."""
    response_hooks: ResponseHooks | None = None
    """What policies' hooks do with its responses and bodies; None where they have none."""
    body_limit: int | None = None
    """Bytes that its requests' bodies may have; None: as many as those of others."""
    rewriting: Rewriting | None = None
    """What is rewritten in its responses; None: nothing."""
    holds: tuple[Callable[[Exchange], None], ...] = ()
    """What is called for an exchange that is going to wait for a policy."""
    pages: ErrorPages | None = None
    """What its errors look like; None: problem documents."""
    proxy_status: ProxyStatus | None = None
    """What its failures are reported with in `Proxy-Status`; None: they are not."""
    version: str | None = None
    """The version of the service, for metrics and the log."""
    mirrors: tuple[Mirror, ...] = ()
    """Which other services get copies of its requests."""
    side: SideCounts | None = None
    """What is counted of it as a side of a split; None: it is none."""
    first_contact: Callable[[Exchange], bool] | None = None
    """What admits and marks requests that an overloaded worker takes all the same; None: it takes none."""
    guards: Guards = Guards()  # noqa: RUF009 - it is immutable
    """What may be asked again whether an exchange that is under way still may be."""
    takes_over: TakesOver | None = None
    """When it has a request in place of the route's service; None: it is no other's failover."""

    def upgrade_for(self, request: RequestHead) -> bytes:
        """The protocol to offer to the service, of those that the client offers; empty for none.

        A protocol that is not allowed is ignored, as in RFC 9110, section 7.8: the request goes on as an ordinary one.
        """
        for protocol in offered_upgrades(request):
            if protocol in self.upgrades and (protocol != WEBSOCKET or request.method == b"GET"):
                return protocol
        return b""


class Limited(Protocol):
    """A service, as far as its limit goes."""

    @property
    def name(self) -> str: ...

    @property
    def limit(self) -> Limit | None: ...


class Forward(Protocol):
    """One exchange with a service."""

    @property
    def service(self) -> Limited: ...

    def start(self) -> None:
        """Begin with the first instance."""

    def answer(self, answer: Answer) -> None:
        """End the exchange with an answer of the gateway's own, also instead of beginning."""


Compose: TypeAlias = Callable[[Exchange, Handling, Instance, bytes], bytes]
"""`request_head` of `compose.py`, or what edits its result; the last argument is the protocol that is offered."""

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
    by_pattern: bool = False
    """Whether its path is a pattern: what that leaves to other routes was not written to be an exception from it."""
    sides: tuple[Route, ...] = ()
    """The routes to the sides of a split, whose policies are this one's, and of which each request takes one."""
    versions: VersionedRoutes | None = None
    """The routes to several versions of a service, of which each request takes one; this is the first of them."""


@dataclass(frozen=True, slots=True)
class VersionedRoutes:
    """A route to each version, and how requests are handled that ask for none that there is."""

    chooser: VersionChooser
    routes: Mapping[str, Route]
    refused: Handling


@dataclass(frozen=True, slots=True)
class LocalRoute:
    """A path that the worker answers itself."""

    name: str
    answer: Callable[[], Answer]
