"""A filter that wants a body as a whole, for policies that read what they change, JSON for example."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Final, Literal

from portico.core.errors import Refusal
from portico.core.header_map import Headers
from portico.policies.head import Head
from portico.policies.plugins.base import RefusedError
from portico.policies.plugins.reports import Reminders
from portico.policies.plugins.view import ExchangeView
from portico.policies.policy import BodyFilter

logger: Final = logging.getLogger("portico.policies")

_events: Final = Reminders()
"""By route."""


_TRUE: Final = re.compile(r"\?1(?: *;.*)?")


class NoWholeError(Exception):
    """A body is too large to be kept as a whole, or a stream of events, which has no end."""


def whole(
    exchange: ExchangeView,
    head: Head,
    change: Callable[[bytes], bytes],
    max_size: int = 1 << 20,
    otherwise: Literal["pass", "fail"] = "pass",
) -> BodyFilter | None:
    """What a body hook returns to have `change` called with all bytes of the body, and its result sent in their place.

    The body is kept until its end, and `max_size` bytes of it at most. One that is larger, and a stream of events,
    passes unchanged, which an event says once a minute for each route; with `fail` the exchange fails instead. One that
    its sender wants to have passed on as it comes is refused, as by `refuse_incremental`.
    """
    kind = head.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    length = head.headers.get("Content-Length", "")
    if kind == "text/event-stream":
        _give_up(exchange, "a stream of events has no whole", otherwise)
        return None
    if length.isascii() and length.isdigit() and int(length) > max_size:
        _give_up(exchange, f"a body of {length} bytes is larger than {max_size}", otherwise)
        return None
    refuse_incremental(head)
    return _Whole(exchange, change, max_size, otherwise)


def is_incremental(headers: Headers) -> bool:
    """Whether a message that may have a body says that it is to be passed on as it comes."""
    asked = headers.get_all("Incremental")
    return len(asked) == 1 and bool(_TRUE.fullmatch(asked[0].strip())) and headers.get("Content-Length") != "0"


def refuse_incremental(head: Head) -> None:
    """What a body hook calls before it returns a filter that keeps the body back.

    Raises RefusedError where its sender says `Incremental: ?1`: who cannot pass a message on as it comes has to refuse
    it rather than to keep it (RFC 10036, section 3). Without a body there is nothing to keep.
    """
    if is_incremental(head.headers):
        kind = "request" if head.status is None else "response"
        detail = f"a policy of this route needs the {kind} as a whole, and cannot pass it on piece by piece"
        raise RefusedError(Refusal("incremental_refused", detail))


class _Whole:
    """Keeps a body until its end, or passes it on once it is too large."""

    def __init__(
        self,
        exchange: ExchangeView,
        change: Callable[[bytes], bytes],
        max_size: int,
        otherwise: Literal["pass", "fail"],
    ) -> None:
        self._exchange = exchange
        self._change = change
        self._max_size = max_size
        self._otherwise = otherwise
        self._kept: list[bytes] | None = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        if self._kept is None:
            return data
        self._kept.append(data)
        self._size += len(data)
        if self._size <= self._max_size:
            return b""
        _give_up(self._exchange, f"a body is larger than {self._max_size} bytes", self._otherwise)
        kept, self._kept = self._kept, None
        return b"".join(kept)

    def end(self) -> bytes:
        return b"" if self._kept is None else self._change(b"".join(self._kept))


def _give_up(exchange: ExchangeView, why: str, otherwise: Literal["pass", "fail"]) -> None:
    if otherwise == "fail":
        raise NoWholeError(why)
    if _events.left_out((exchange.route,)) is not None:
        extra = {"route": exchange.route, "request_id": exchange.request_id}
        logger.warning("a policy wants a body as a whole, and gets none: %s; it passes unchanged", why, extra=extra)
