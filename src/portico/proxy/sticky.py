"""What sticky services do with requests and responses: ask who issued a value, set a cookie, learn what is issued."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from portico.core.exchange import Exchange
from portico.net.redis.link import argument
from portico.policies.head import ResponseEdit
from portico.policies.policy import Hooks, Pending, Policy
from portico.proxy.cache.status import says_hit, says_stored
from portico.proxy.headers.forwarded import Peer
from portico.upstreams.shared_bindings import SharedBindings, seconds
from portico.upstreams.sticky import CookieSticky
from portico.upstreams.sticky_issued import IssuedSticky

IssuedIn: TypeAlias = Callable[[ResponseEdit], bytes]
"""The value that a response issues; empty for none."""

_FAILED: Final = 500
_REFUSED: Final = 400
_SHARED: Final = frozenset({"public", "s-maxage", "max-age"})
_OWN: Final = frozenset({"private", "no-store"})


def cookie_hooks(sticky: CookieSticky, max_age: float | None) -> Hooks:
    """Set the cookie in responses of another instance than the one that the request's cookie leads to."""
    ending = "; Path=/; HttpOnly; SameSite=Lax" + ("" if max_age is None else f"; Max-Age={int(max_age)}")

    def set_cookie(exchange: Exchange, edit: ResponseEdit) -> None:
        instance = _answering(exchange)
        if instance is None or edit.status >= _FAILED:  # nobody should stay with an instance that fails
            return
        value = sticky.id_of(instance)
        if value == sticky.key_of(exchange) or _may_be_stored(exchange, edit):
            return
        secure = "; Secure" if _came_by_https(exchange) else ""
        edit.headers.add("Set-Cookie", f"{sticky.cookie}={value.decode()}{ending}{secure}")

    return Hooks(response=set_cookie, sees=_no_own)


def issued_hooks(sticky: IssuedSticky, issued_in: IssuedIn) -> Hooks:
    """Learn the values that responses issue; ask Redis about those of requests that are not known here."""

    def learn(exchange: Exchange, edit: ResponseEdit) -> None:
        instance, value = _answering(exchange), issued_in(edit)
        if instance is not None and value:
            sticky.issued(value, instance, exchange.started, is_error=edit.status >= _REFUSED)

    return Hooks(_asking(sticky, sticky.shared) if sticky.shared is not None else None, learn, sees=_no_own)


def issued_in_header(name: str) -> IssuedIn:
    """The value of a field of the response."""
    return lambda edit: edit.headers.get(name, "").encode("latin-1")


def issued_in_cookie(name: str) -> IssuedIn:
    """The value of a cookie that the response sets; one that it deletes mostly has none."""

    def value_in(edit: ResponseEdit) -> bytes:
        for line in edit.headers.get_all("Set-Cookie"):
            own, _, value = line.partition(";")[0].partition("=")
            if own.strip() == name:
                return value.strip().encode("latin-1")
        return b""

    return value_in


def _no_own(exchange: Exchange) -> bool:  # noqa: ARG001
    """Answers of the gateway's own come from no instance."""
    return False


def _answering(exchange: Exchange) -> str | None:
    """The name of the instance whose response this is; None where the cache has it."""
    is_stored = exchange.cache is not None and says_hit(exchange.response_lines)
    return None if is_stored else exchange.upstream


def _may_be_stored(exchange: Exchange, edit: ResponseEdit) -> bool:
    """Whether a cache that serves several clients may keep a response: it would give them the first one's cookie."""
    if exchange.cache is not None and says_stored(exchange.response_lines):
        return True
    written = edit.headers.get("Cache-Control", "").split(",")
    directives = {each.partition("=")[0].strip().lower() for each in written}
    return not directives.isdisjoint(_SHARED) and directives.isdisjoint(_OWN)


def _came_by_https(exchange: Exchange) -> bool:
    request, peer = exchange.request, exchange.stream.client.peer
    assert request is not None
    assert isinstance(peer, Peer)
    return peer.came_by_https(request)


def _asking(sticky: IssuedSticky, shared: SharedBindings) -> Policy:
    def ask(exchange: Exchange) -> Pending | None:
        digest = sticky.asks_about(exchange)
        if digest is None:
            return None
        question = _Question(sticky, exchange, digest)
        shared.ask(question)
        return question

    return ask


class _Question(Pending):
    """Who issued the value that a request brings. Whatever is known then, the request goes on."""

    __slots__ = ("_digest", "_exchange", "_is_over", "_sticky", "arguments", "keys")

    def __init__(self, sticky: IssuedSticky, exchange: Exchange, digest: bytes) -> None:
        self._sticky, self._exchange, self._digest = sticky, exchange, digest
        self._is_over = False
        self.keys = [argument(sticky.redis_key(digest))]
        self.arguments = [argument(b"") + argument(seconds(sticky.ttl))]

    def answered(self, replies: list[Any], clock: float) -> None:  # noqa: ARG002
        instance = replies[0]
        if isinstance(instance, bytes):
            self._sticky.found(self._digest, instance.decode("utf-8", "replace"), self._exchange.started)
        self._go_on()

    def unanswered(self) -> None:
        self._go_on()

    def faulted(self) -> None:
        self._go_on()

    def cancel(self) -> None:
        self._is_over = True

    def _go_on(self) -> None:
        if not self._is_over:
            self._is_over = True
            self.settle(None)
