"""Decompression of requests, for services that cannot read coded bodies, within bounds (RFC 9110, section 8.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from portico.core.codings import (
    DECODED,
    MOST_CODINGS,
    CodingError,
    TooLargeError,
    codings_of,
    decoder,
)
from portico.core.errors import Answer, MessageError, Refusal
from portico.core.exchange import Exchange, Receiver
from portico.core.messages import CHUNKED
from portico.core.settings import Settings, Size
from portico.policies.policy import Context, Policy
from portico.policies.stream_behind import StreamBehind

_UNTRUE: Final = frozenset(
    {
        *(b"content-encoding", b"content-length"),
        *(b"content-md5", b"digest", b"content-digest", b"repr-digest"),
    }
)
"""Fields of a request that do not hold without its codings."""
_ALLOWANCE: Final = 64 << 10
"""Bytes that a body may become at any ratio."""
_SYNONYM: Final = {b"x-gzip": b"gzip"}


class DecompressSettings(Settings):
    """`encodings`: those that are undone; a body in another one is refused. `max_size`: bytes that a body may become;
    by default as many as it may have. `max_ratio`: how many times its size it may become.
    """

    encodings: Annotated[list[Literal["gzip", "deflate", "br", "zstd"]], Field(min_length=1)] = [
        *("gzip", "deflate", "br", "zstd"),
    ]
    """Those that are taken off. A body in another one gets 415, `coding_unsupported`, with those in `Accept-Encoding`.
    """
    max_size: Annotated[Size, Field(ge=1)] | None = None
    """Bytes that a body may become; more is a 413."""
    max_ratio: Annotated[int, Field(ge=1, le=10_000)] = 100
    """How many times its size a body may become, beyond 64 KiB; more is a 413."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.encodings)) < len(self.encodings):
            raise ValueError("encodings: each is named once")
        return self


class Decoding:
    """Undoes the codings of one body. What it raises is a MessageError, which says what is wrong with the body.

    A body may become `max_ratio` times its size, and `allowance` bytes more.
    """

    __slots__ = ("_allowance", "_decoders", "_max_ratio", "_max_size", "_received")

    def __init__(self, codings: Sequence[bytes], max_size: int, max_ratio: int, allowance: int = _ALLOWANCE) -> None:
        self._max_size = max_size
        self._max_ratio = max_ratio
        self._allowance = allowance
        self._received = 0
        self._decoders = [decoder(coding, 0) for coding in reversed(codings)]

    def feed(self, data: bytes) -> bytes:
        """What a further piece becomes."""
        self._received += len(data)
        by_ratio = self._received * self._max_ratio + self._allowance
        most = min(self._max_size, by_ratio)
        try:
            for each in self._decoders:
                each.max_size = most
                data = each.feed(data)
        except CodingError as error:
            raise MessageError("body_invalid", f"the body is not what its Content-Encoding says: {error}") from error
        except TooLargeError as error:
            bound = f"{self._max_size} bytes" if most == self._max_size else f"{self._max_ratio} times its size"
            raise MessageError("body_too_large", f"decompressed, the body is larger than {bound}") from error
        return data

    def end(self) -> None:
        """The body is there."""
        try:
            for each in self._decoders:
                each.end()
        except CodingError as error:
            raise MessageError("body_invalid", f"the body is not what its Content-Encoding says: {error}") from error


def build_decompress(settings: DecompressSettings, context: Context) -> Policy:  # noqa: ARG001
    """The policy that undoes codings of requests."""
    allowed = {name.encode() for name in settings.encodings}
    known = frozenset(name for name in DECODED if _SYNONYM.get(name, name) in allowed)
    offered = b"Accept-Encoding: " + ", ".join(settings.encodings).encode()

    def decompress(exchange: Exchange) -> Answer | None:
        request = exchange.request
        assert request is not None
        if b"content-encoding" not in request.fields.names or request.framing == 0:
            return None
        codings = codings_of(request.fields.all(b"content-encoding"))
        if not codings:
            return None
        if not known.issuperset(codings) or len(codings) > MOST_CODINGS:
            detail = f"send the body in one of {', '.join(settings.encodings)}, or in no coding"
            return Refusal("coding_unsupported", detail, (offered,))
        most = settings.max_size or exchange.match.handling.body_limit or exchange.stream.body_limit
        decoding = Decoding(codings, most, settings.max_ratio)
        fields = request.fields.changed(_UNTRUE.__contains__, ())
        if not exchange.content:
            exchange.request = request.changed(fields=fields, framing=CHUNKED)
            DecompressingStream(exchange, decoding)
            return None
        try:
            exchange.content = decoding.feed(exchange.content)
            decoding.end()
        except MessageError as error:
            return Refusal(error.reason, error.detail)
        exchange.request = request.changed(fields=fields, framing=len(exchange.content))
        return None

    return decompress


class DecompressingStream(StreamBehind):
    """Undoes the codings of a request's body while that comes; it takes the stream's place until it is there.

    It is the receiver of what it passes on to the one that is set.
    """

    __slots__ = ("_decoding", "_exchange", "_target")

    def __init__(self, exchange: Exchange, decoding: Decoding) -> None:
        super().__init__(exchange.stream)
        self._decoding = decoding
        self._exchange: Exchange | None = exchange
        self._target: Receiver | None = self.inner.receiver
        self.inner.receiver = self
        exchange.stream = self

    @property
    def receiver(self) -> Receiver:
        return self._target or self.inner.receiver

    @receiver.setter
    def receiver(self, receiver: Receiver) -> None:
        if self._target is None:
            self.inner.receiver = receiver
        else:
            self._target = receiver

    def _leave(self) -> Receiver:
        """Have what follows go straight to its receiver; so that nothing refers in a circle, either."""
        exchange, target = self._exchange, self._target
        assert exchange is not None
        assert target is not None
        self._exchange = self._target = None
        if exchange.stream is self:
            exchange.stream = self.inner
        self.inner.receiver = target
        return target

    # ---- called by the client's side: Receiver

    def body_received(self, data: bytes) -> None:
        """Pass on what a piece becomes."""
        try:
            data = self._decoding.feed(data)
        except MessageError as error:
            self._fail(error)
            return
        if data and self._target is not None:
            self._target.body_received(data)

    def body_ended(self) -> None:
        """The body is there, or it is not complete."""
        try:
            self._decoding.end()
        except MessageError as error:
            self._fail(error)
            return
        self._leave().body_ended()

    def body_failed(self, error: MessageError) -> None:
        """The rest will not come."""
        self._leave().body_failed(error)

    def _fail(self, error: MessageError) -> None:
        """What is wrong with the body is the client's fault: say so, unless it has begun to read the response."""
        self._decoding = _Nothing()
        if self.inner.response_started:
            self.inner.abort(error.reason)
        elif self._target is not None:
            self._target.body_failed(error)

    def pause_writing(self) -> None:
        """See `Receiver`, also for those that follow."""
        self.receiver.pause_writing()

    def resume_writing(self) -> None:
        self.receiver.resume_writing()

    def going_away(self) -> None:
        self.receiver.going_away()

    def finished(self, failure: str | None) -> None:
        self._leave().finished(failure)


class _Nothing(Decoding):
    """Ignores the rest of a body that was refused."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__((), 0, 1)

    def feed(self, data: bytes) -> bytes:  # noqa: ARG002
        return b""
