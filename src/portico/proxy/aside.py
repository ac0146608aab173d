"""A request whose client says something to the gateway itself: that it wants to know what would become of it.

With `X-Portico-Explain: 1` and a token of the admin API in `X-Portico-Token` it is answered by its explanation. It is
no exchange: nothing is counted or logged for it. Without both it goes on as if neither was there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from portico.core.errors import Answer, MessageError
from portico.core.exchange import RouteMatch, Stream
from portico.core.messages import RequestHead
from portico.policies.awaited import TIMEOUT, Awaited, refuse_failed
from portico.proxy.admission import fail
from portico.proxy.waiting import WaitingForVerdict

if TYPE_CHECKING:
    from portico.proxy.gateway import Gateway

_EXPLAIN: Final = b"x-portico-explain"
_TOKEN: Final = b"x-portico-token"
_WANTED: Final = b"1"


class Explains(Protocol):
    """What explains requests to their clients."""

    def admits(self, token: bytes, address: str) -> bool:
        """Whether who shows this token may know."""

    def answer_client(self, stream: Stream, request: RequestHead, content: bytes, listener: str) -> Awaitable[Answer]:
        """The explanation of a request, as the response to it."""


class Aside:
    """The handler of one request, in the place of the `gateway`; `lines` are those that are not for anybody else."""

    def __init__(self, gateway: Gateway, lines: Sequence[bytes]) -> None:
        self._gateway = gateway
        self._lines = lines

    def begin(self, stream: Stream, request: RequestHead, content: bytes, now: float) -> None:
        explains = self._gateway.explains
        if explains is None or not self._is_wanted(explains, stream, request):
            self._gateway.begin(stream, request, content, now)
        else:
            self._explain(explains, stream, request, content)

    def begin_refused(self, stream: Stream, request: RequestHead, error: MessageError, now: float) -> None:
        explains = self._gateway.explains
        if explains is None or not self._is_wanted(explains, stream, request):
            self._gateway.begin_refused(stream, request, error, now)
        else:
            self._explain(explains, stream, request, b"")

    def body_limit(self, request: RequestHead) -> int | None:
        return self._gateway.body_limit(request)

    def refuse(self, stream: Stream, error: MessageError, seen: bytes) -> None:
        self._gateway.refuse(stream, error, seen)

    def _is_wanted(self, explains: Explains, stream: Stream, request: RequestHead) -> bool:
        """Whether its client asks for the explanation, and may have it."""
        tokens = self._values(_TOKEN)
        if self._values(_EXPLAIN) != [_WANTED] or len(tokens) != 1:
            return False
        return explains.admits(tokens[0], self._gateway.probe(stream, request).client_ip)

    def _values(self, name: bytes) -> list[bytes]:
        pairs = (line.partition(b":") for line in self._lines)
        return [value.strip() for own, _, value in pairs if own.lower() == name]

    def _explain(self, explains: Explains, stream: Stream, request: RequestHead, content: bytes) -> None:
        gateway = self._gateway
        exchange = gateway.probe(stream, request)
        exchange.match = RouteMatch.nowhere(request.target.partition(b"?")[0])
        stream.receiver = exchange
        explained = explains.answer_client(stream, request, content, gateway.listener)
        loop = asyncio.get_running_loop()
        verdict = Awaited(explained, loop, TIMEOUT, partial(refuse_failed, exchange))
        WaitingForVerdict(exchange, verdict, partial(fail, exchange), fail)
