"""The response fields in which a service names itself, as the client of one exchange can use them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from portico.core.exchange import Exchange
from portico.core.fields import REWRITTEN
from portico.proxy.headers.cookies import CookieRules, host_of
from portico.proxy.headers.forwarded import Outer, Peer
from portico.proxy.headers.urls import Address, shortest
from portico.proxy.routing.route import Rewrite, Rewriting, Route, is_below


def rewritten(exchange: Exchange, lines: list[bytes]) -> list[bytes]:
    """The field lines of a service's response, those rewritten that name the service."""
    rewriting: Rewriting | None = exchange.match.handling.rewriting
    if rewriting is None:
        return lines
    changes = _changes(exchange, rewriting)
    return [_changed(line, changes) for line in lines]


def _changed(line: bytes, changes: dict[bytes, Callable[[bytes], bytes]]) -> bytes:
    name, _, value = line.partition(b":")
    change = changes.get(name.lower())
    if change is None:
        return line
    value = value.strip()
    new = change(value)
    return line if new == value else name + b": " + new


def _changes(exchange: Exchange, rewriting: Rewriting) -> dict[bytes, Callable[[bytes], bytes]]:
    """What is done to the value of each field, by its name."""
    request, peer, route = exchange.request, exchange.stream.client.peer, exchange.match.route
    assert request is not None
    assert isinstance(peer, Peer)
    assert isinstance(route, Route)
    service, asked = route.handling.service, peer.asked_at(request)
    is_public = partial(rewriting.is_public, request.host)
    changes: dict[bytes, Callable[[bytes], bytes]] = {}
    if rewriting.location:
        path = partial(public_path, route.rewrite, asked.prefix, is_public)
        hosts = {shortest(host, asked.scheme) for host in (request.host, asked.host) if host}
        address = Address(asked.scheme, asked.host, hosts, service.authorities, path, service.speaks_tls)
        changes = dict.fromkeys(REWRITTEN, address.url)
        changes |= {b"refresh": address.refresh, b"link": address.link}
    changes[b"set-cookie"] = _cookie_rules(rewriting, route.rewrite, asked, service.authorities, is_public).cookie
    return changes


def _cookie_rules(
    rewriting: Rewriting,
    rewrite: Rewrite,
    asked: Outer,
    authorities: frozenset[bytes],
    is_public: Callable[[bytes], bool],
) -> CookieRules:
    path = partial(public_cookie_path, rewrite, asked.prefix, is_public) if rewriting.cookie_path else None
    if rewriting.cookie_domain is None:
        return CookieRules(path)
    return CookieRules(path, host_of(asked.host), {host_of(own) for own in authorities}, rewriting.cookie_domain)


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
