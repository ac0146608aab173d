"""The `Handler` of the port that sends every client to HTTPS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from portico.core.errors import Answer, MessageError, Refusal
from portico.core.exchange import Exchange, RouteMatch, Stream
from portico.core.messages import RequestHead
from portico.core.paths import segments_of, split_target
from portico.proxy.answer import send_answer
from portico.proxy.gateway import Gateway
from portico.proxy.routing.challenges import Challenges
from portico.proxy.routing.route import LocalRoute

_HTTPS: Final = 443
_READS: Final = ("GET", "HEAD")


class Redirect:
    """Answers 308 to everything but `local_answers` and `challenges`.

    Clients are identified, and exchanges observed, as in the gateway. `port` is the HTTPS port, as clients see it.
    """

    def __init__(
        self, gateway: Gateway, local_answers: Mapping[str, Callable[[], Answer]], challenges: Challenges, port: int
    ) -> None:
        self.port = port
        self._challenges = challenges
        self._gateway = gateway
        self._local = {path: LocalRoute(path, answer) for path, answer in local_answers.items()}

    def begin(self, stream: Stream, request: RequestHead, content: bytes, now: float) -> None:  # noqa: ARG002
        """Answer a request."""
        exchange = Exchange(stream, request, self._gateway.on_end, started=now)
        stream.receiver = exchange
        exchange.method = request.method_name
        try:
            self._gateway.identify(exchange, stream, request)
            send_answer(exchange, self.answer(exchange, request))
        except MessageError as error:
            send_answer(exchange, Refusal(error.reason, error.detail))

    def body_limit(self, request: RequestHead) -> int | None:
        """As others."""

    def begin_refused(self, stream: Stream, request: RequestHead, error: MessageError, now: float) -> None:  # noqa: ARG002
        """A redirect needs no content."""
        self.begin(stream, request, b"", now)

    def refuse(self, stream: Stream, error: MessageError, seen: bytes) -> None:
        """Answer bytes that are no request."""
        self._gateway.refuse(stream, error, seen)

    def answer(self, exchange: Exchange, request: RequestHead) -> Answer:
        """What a request gets. Raises MessageError for one that is refused."""
        path, exchange.query = split_target(request.target)
        exchange.match = RouteMatch.nowhere(path)
        segments_of(path)  # an ambiguous path is refused here as in the gateway
        local = self._challenges.find(request.method, path)
        if local is None and exchange.method in _READS:
            local = self._local.get(exchange.path)
        if local is not None:
            exchange.match = RouteMatch(local, None, exchange.path, path)
            return local.answer()
        host = _without_port(request.host)
        if not host:
            raise MessageError("malformed_request", "without Host there is nowhere to redirect to")
        port = b"" if self.port == _HTTPS else b":%d" % self.port
        target = b"/" if request.target == b"*" else request.target
        return Answer(308, (b"Location: https://" + host + port + target,))


def _without_port(host: bytes) -> bytes:
    """`example.com` of `example.com:80`, `[::1]` of `[::1]:80`."""
    name, colon, port = host.rpartition(b":")
    return name if colon and port.isdigit() else host
