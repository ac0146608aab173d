"""The response fields in which a service names itself, as the client of one exchange can use them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property, partial

from portico.core.exchange import Exchange
from portico.core.fields import REWRITTEN
from portico.proxy.headers.cookies import CookieRules
from portico.proxy.headers.forwarded import Peer
from portico.proxy.headers.urls import Address, shortest
from portico.proxy.routing.route import Rewrite, Rewriting, Route, is_below


def rewritten(exchange: Exchange, lines: list[bytes]) -> list[bytes]:
    """The field lines of a service's response, those rewritten that name the service."""
    rewriting: Rewriting | None = exchange.match.handling.rewriting
    if rewriting is None:
        return lines
    view = _View(exchange, rewriting)
    return [_changed(line, view) for line in lines]


def _changed(line: bytes, view: _View) -> bytes:
    name, _, value = line.partition(b":")
    lowered = name.lower()
    if lowered not in REWRITTEN:
        return line
    value = value.strip()
    if lowered == b"set-cookie":
        new = view.cookies.cookie(value)
    elif not view.rewriting.location:
        return line
    elif lowered == b"link":
        new = view.address.link(value)
    elif lowered == b"refresh":
        new = view.address.refresh(value)
    else:
        new = view.address.url(value)
    return line if new == value else name + b": " + new


class _View:
    """How the client of one exchange sees the service; what is needed of it is made then."""

    def __init__(self, exchange: Exchange, rewriting: Rewriting) -> None:
        request, peer, route = exchange.request, exchange.stream.client.peer, exchange.match.route
        assert request is not None
        assert isinstance(peer, Peer)
        assert isinstance(route, Route)
        self.rewriting = rewriting
        self._asked_for = request.host
        self._asked = peer.asked_at(request)
        self._rewrite = route.rewrite
        self._service = route.handling.service
        self._answering = (exchange.upstream or "").lower().encode()

    @cached_property
    def _own(self) -> Collection[bytes]:
        """The service's authorities; one that has deregistered may still answer what it had begun."""
        own = self._service.authorities
        return own if self._answering in own else {*own, self._answering}

    @cached_property
    def address(self) -> Address:
        asked, service = self._asked, self._service
        path = partial(public_path, self._rewrite, asked.prefix, self._is_public)
        hosts = {shortest(host, asked.scheme) for host in (self._asked_for, asked.host) if host}
        return Address(asked.scheme, asked.host, hosts, self._own, path, service.speaks_tls)

    @cached_property
    def cookies(self) -> CookieRules:
        asked, rewriting = self._asked, self.rewriting
        path = None
        if rewriting.cookie_path:
            path = partial(public_cookie_path, self._rewrite, asked.prefix, self._is_public)
        if rewriting.cookie_domain is None:
            return CookieRules(path)
        return CookieRules(path, asked.host, self._own, rewriting.cookie_domain)

    def _is_public(self, path: bytes) -> bool:
        return self.rewriting.is_public(self._asked_for, path)


def public_path(
    rewrite: Rewrite, outer: bytes, is_public: Callable[[bytes], bool], path: bytes, is_own: bool
) -> bytes | None:
    """The path by which clients get to what the service calls `path`; None where the route does not lead there.

    `outer` is the prefix that proxies in front took off. A path that already has a route stays, since the service may
    mean another one, unless it `is_own` for certain.
    """
    if outer and is_below(path, outer + rewrite.prefix):
        return path
    public = path if not is_own and not rewrite.is_identity and is_public(path) else rewrite.undo(path)
    return None if public is None else outer + public


def public_cookie_path(rewrite: Rewrite, outer: bytes, is_public: Callable[[bytes], bool], path: bytes) -> bytes:
    """The Path of a cookie by which browsers send it back to the service: its own below the route's prefix.

    A path above all that the route leads to becomes the prefix itself. What is no path, or none of the route's, stays.
    """
    prefix = outer + rewrite.prefix
    if not path.startswith(b"/") or (rewrite.is_identity and not outer) or (outer and is_below(path, prefix)):
        return path
    if rewrite.is_identity:
        return outer + (b"" if path == b"/" else path)
    if rewrite.keeps_path and rewrite.before.startswith(path.removesuffix(b"/") + b"/"):
        return prefix or b"/"
    public = public_path(rewrite, outer, is_public, path, False)
    return path if public is None else public
