"""A service's `sticky` setting, compiled: how its requests are led back to their instances."""

from __future__ import annotations

import hmac

from portico.config import Config, CookieKey, StickySettings, Upstream
from portico.policies import Hooks, State
from portico.proxy.sticky import cookie_hooks, issued_hooks, issued_in_cookie, issued_in_header
from portico.upstreams.consistent_hash import by_cookie, by_header
from portico.upstreams.shared_bindings import SharedBindings
from portico.upstreams.sticky import CookieSticky, Sticky
from portico.upstreams.sticky_issued import Bindings, IssuedSticky


def cookie_key(config: Config, upstream: Upstream, secret: bytes) -> bytes:
    """What a service's cookie is signed with, made of its own key, of SECRET_KEY, or of the gateway's `secret`."""
    written = upstream.sticky.key if upstream.sticky is not None else None
    if written is None:
        written = config.secret
    return hmac.digest(secret if written is None else written.get_secret_value().encode(), b"portico sticky", "sha256")


def sticky_of(
    service: str, version: str | None, upstream: Upstream, key: bytes, state: State, shared: SharedBindings | None
) -> Sticky | None:
    """What finds the instances of requests. A version that shares its service's instances shares all of it, too."""
    settings = upstream.sticky
    if settings is None:
        return None
    own = None if upstream.shared else version
    scope = service if own is None else f"{service}@{own}"
    issued = settings.issued
    if issued is None:
        name = f"portico_{service}" if settings.cookie in (None, "auto") else str(settings.cookie)
        return CookieSticky(name if own is None else f"{name}_{own}", key, scope)
    key_of = by_cookie(issued.cookie) if isinstance(issued, CookieKey) else by_header(issued.header)
    bindings = state.keep(("sticky", scope, issued, settings.ttl), lambda: Bindings(settings.ttl))
    return IssuedSticky(key_of, scope, bindings, shared)


def sticky_hooks(settings: StickySettings, sticky: Sticky) -> Hooks:
    """What its routes do with requests and responses."""
    if isinstance(sticky, CookieSticky):
        return cookie_hooks(sticky, settings.max_age)
    assert isinstance(sticky, IssuedSticky)
    issued = settings.issued
    assert issued is not None
    if isinstance(issued, CookieKey):
        return issued_hooks(sticky, issued_in_cookie(issued.cookie))
    return issued_hooks(sticky, issued_in_header(issued.header))
