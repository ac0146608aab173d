"""Services that refuse the client's Host, which they got by `preserve_host: auto`: an event says so, and the ways out.

Such services keep lists of the hosts, or of the origins of pages, that they admit.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from portico.core.exchange import Exchange
from portico.upstreams.instance import Instance
from portico.upstreams.service import Service
from portico.wire.http1.client import ResponseReceiver, UpstreamConnection

logger: Final = logging.getLogger("portico.upstreams")

REFUSING: Final = frozenset({400, 403, 421})
"""Statuses that may be about the Host."""
_MISDIRECTED: Final = 421
"""One that always is (RFC 9110, section 15.5.20)."""
_AGAIN: Final = 3600.0
"""Seconds until a service that still refuses is an event again."""
_PAUSE: Final = 0.1
"""Seconds without a look at a service after a body that speaks of hosts in another way: to search a long one takes
milliseconds, and it may repeat what its client sent."""
_BEGINNING: Final = 8192
"""Bytes of a body that are looked at."""
_LONGEST_HOST: Final = 100
_DENIED: Final = rb"(?:invalid|blocked|blocking|disallowed|denied|refused|untrusted|non-local)"
_NOT_ADMITTED: Final = rb"(?:not (?:allowed|trusted|permitted|accepted|recogni[sz]ed)|blocked|may be insecure)"
_ABOUT_HOST: Final = re.compile(
    rb"\b%b\b[^.<>]{0,24}\b(?:http_)?(?:hosts?|origin)\b"
    rb"|\bhost header\b"
    rb"|\b(?:host|origin)\b[^<>]{0,80}\b%b"
    rb"|\bcross[- ]?(?:origin|site) (?:request|websocket|api)s?\b|\borigin checking failed\b"
    rb"|<title>jupyter \w+</title>(?s:.*)<h1>403 : forbidden</h1>"
    rb"|\A\s*<!doctype html>\s*<html lang=.en.>\s*<head>\s*<title>bad request \(400\)</title>"
    % (_DENIED, _NOT_ADMITTED)
)
"""What services say in lower case when they refuse one; the last two are pages of Jupyter and, without
DEBUG, of Django, which say no more to browsers."""


_WORDS: Final = (b"host", b"origin", b"cross", b"jupyter", b"bad request (400)")
"""One of these is in all of it; they are found in a hundredth of the time."""


def look_at(exchange: Exchange, instance: Instance, service: Service, status: int, content: bytes) -> None:
    """Report a service whose response, with this status and beginning, is about the Host that it got."""
    if not _may_be(exchange, instance, service):
        return
    text = content[:_BEGINNING].lower()
    if status != _MISDIRECTED and not any(word in text for word in _WORDS):
        return
    if status == _MISDIRECTED or _ABOUT_HOST.search(text):
        _report(exchange, instance, service, status)
    else:
        service.watches_host_from = time.monotonic() + _PAUSE


def look_at_next(
    connection: UpstreamConnection, exchange: Exchange, instance: Instance, service: Service, status: int
) -> None:
    """The same with the first piece of the body, which `connection` is still to bring."""
    if status == _MISDIRECTED:
        look_at(exchange, instance, service, status, b"")
    elif connection.receiver is not None and _may_be(exchange, instance, service):
        look = partial(look_at, exchange, instance, service, status)
        connection.receiver = cast(ResponseReceiver, _FirstPiece(connection, connection.receiver, look))


class _FirstPiece:
    """Stands before a connection's receiver until the first piece of a body has come."""

    def __init__(
        self, connection: UpstreamConnection, receiver: ResponseReceiver, look: Callable[[bytes], None]
    ) -> None:
        self._connection = connection
        self._receiver = receiver
        self._look = look

    def response_body(self, data: bytes) -> None:
        self._connection.receiver = self._receiver
        self._look(data)
        self._receiver.response_body(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._receiver, name)


def _may_be(exchange: Exchange, instance: Instance, service: Service) -> bool:
    """Whether an instance got a Host that is not its own, by `auto`, and that was not reported lately."""
    request = exchange.request
    return (
        instance.is_internal
        and exchange.match.handling.preserve_host is None
        and request is not None
        and request.host.lower() not in (b"", instance.address.authority.lower().encode())
        and time.monotonic() >= service.watches_host_from
    )


def _report(exchange: Exchange, instance: Instance, service: Service, status: int) -> None:
    assert exchange.request is not None
    service.watches_host_from = time.monotonic() + _AGAIN
    extra = {
        "service": service.name,
        "instance": instance.name,
        "status": status,
        "host": exchange.request.host[:_LONGEST_HOST].decode("latin-1"),
        "ways_out": "add this host to the service's own list of allowed hosts or origins, or set preserve_host: false "
        f"in services.{service.name}",
    }
    logger.warning("a service seems to refuse the client's Host, which preserve_host: auto sends it", extra=extra)
