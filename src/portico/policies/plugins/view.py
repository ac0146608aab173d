"""An exchange as users' policies see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import parse_qsl

from portico.core.exchange import Exchange
from portico.core.header_map import Headers, UpstreamHeaders


class Participant(Protocol):
    """A policy, as its exchanges know it: `running` counts those that are not over."""

    running: int
    observes: bool

    def finished(self, view: ExchangeView) -> None:
        """Called at the end of an exchange that reached it, if it `observes`; else only `running` is counted."""

    def let_go(self) -> None:
        """Called at the end of an exchange that held it."""


Reached: TypeAlias = "tuple[Participant, Reached | None]"
"""A policy that an exchange has reached, and those before it."""

_NO_CLAIMS: Final[Mapping[str, Any]] = MappingProxyType({})


class Query:
    """The query of a request, read when it is first asked for; its values are decoded."""

    __slots__ = ("_pairs", "_text")

    def __init__(self, raw: bytes) -> None:
        self._text = raw[1:].decode("latin-1")
        self._pairs: list[tuple[str, str]] | None = None

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names and values in order."""
        if self._pairs is None:
            self._pairs = parse_qsl(self._text, keep_blank_values=True)
        return self._pairs

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of a parameter."""
        return next((value for own, value in self.pairs if own == name), default)

    def get_all(self, name: str) -> list[str]:
        """Every value of a parameter."""
        return [value for own, value in self.pairs if own == name]

    def __contains__(self, name: str) -> bool:
        return any(own == name for own, _ in self.pairs)

    def __str__(self) -> str:
        """As it was sent, without the question mark."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)


class ExchangeView:
    """One exchange; what is not `upstream_headers` or `state` is to be read."""

    # What is rarely asked for is made then: no slots, so that each of these costs nothing until it is set.
    _headers: Headers | None = None
    _query: Query | None = None
    _state: dict[str, Any] | None = None
    upstream: UpstreamHeaders | None = None
    """The edits of what the service gets, once they were asked for."""
    held: tuple[Participant, ...] = ()
    """Those that it may still reach when what it waits for is over."""

    _exchange: Exchange
    reached: Reached | None = None
    """The policies that take part in it, the last one first."""
    finish: Callable[[Exchange, str | None], None] | None = None
    """What the exchange's end was reported to before any policy took part in it."""

    @property
    def method(self) -> str:
        """`GET`, …"""
        return self._exchange.method

    @property
    def path(self) -> str:
        """The path as the client sent it, percent-encoding and all."""
        return self._exchange.match.path

    @property
    def query(self) -> Query:
        """The query."""
        if self._query is None:
            self._query = Query(self._exchange.query)
        return self._query

    @property
    def headers(self) -> Headers:
        """The client's fields, as they came."""
        if self._headers is None:
            request = self._exchange.request
            assert request is not None
            self._headers = Headers(request.fields.names, request.fields.lines)
        return self._headers

    @property
    def upstream_headers(self) -> UpstreamHeaders:
        """The fields that the service will get."""
        if self.upstream is None:
            request = self._exchange.request
            assert request is not None
            lines = [*request.fields.unnoted(request.hop_by_hop), *self._exchange.request_lines]
            self.upstream = UpstreamHeaders([line.partition(b":")[0].lower() for line in lines], lines)
        return self.upstream

    @property
    def client_ip(self) -> str:
        """The client's address, behind trusted proxies too."""
        return self._exchange.client_ip

    @property
    def consumer(self) -> str | None:
        """Who was authenticated; None where nobody was."""
        return self._exchange.consumer

    @property
    def scopes(self) -> tuple[str, ...]:
        """What that consumer may do."""
        return self._exchange.scopes

    @property
    def claims(self) -> Mapping[str, Any]:
        """The claims of that consumer's token; empty where there is none."""
        return self._exchange.claims or _NO_CLAIMS

    @property
    def route(self) -> str:
        """The name of the route."""
        name: str = self._exchange.match.route.name
        return name

    @property
    def service(self) -> str:
        """The name of the service."""
        name: str = self._exchange.match.handling.service_name
        return name

    @property
    def request_id(self) -> str:
        """The id that client, service and access log have of it."""
        return self._exchange.request_id

    @property
    def state(self) -> dict[str, Any]:
        """What policies keep with this exchange, for each other and for their later hooks."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def status(self) -> int:
        """The status that the client was sent; 0 until then, 499 where the client left before."""
        return self._exchange.status

    @property
    def reason(self) -> str | None:
        """Why the gateway answered itself, or the exchange failed; None for a service's response."""
        return self._exchange.reason

    def has_reached(self, policy: Participant) -> bool:
        """Whether a policy takes part in it."""
        reached = self.reached
        while reached is not None and reached[0] is not policy:
            reached = reached[1]
        return reached is not None


def view_of(exchange: Exchange) -> ExchangeView:
    """The view of an exchange, made now if there is none."""
    view: ExchangeView | None = exchange.view
    if view is None:
        view = exchange.view = ExchangeView()  # without an __init__, whose call would take as long as all of this
        view._exchange = exchange
    return view


def hold(exchange: Exchange, policy: Participant) -> bool:
    """Have the exchange's end reported to a policy that it may still reach; whether it was not to be before."""
    view = exchange.view or view_of(exchange)
    if view.finish is None:
        view.finish, exchange.finish = exchange.finish, finish
    is_new = policy not in view.held and not view.has_reached(policy)
    if is_new:
        view.held = (*view.held, policy)
    return is_new


def finish(exchange: Exchange, failure: str | None) -> None:
    """Observe the exchange, then let its policies know that it is over."""
    view: ExchangeView = exchange.view
    assert view.finish is not None
    try:
        view.finish(exchange, failure)
    finally:
        reached = view.reached
        while reached is not None:
            policy, reached = reached
            if policy.observes:
                policy.finished(view)
            else:
                policy.running -= 1
        for policy in view.held:
            policy.let_go()
