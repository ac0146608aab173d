"""The client's side of an exchange with something before it, for policies that change what passes there."""

from __future__ import annotations

from collections.abc import Sequence

from portico.core.exchange import Client, Load, Receiver, Sink, Stream


class StreamBehind:
    """A stream that passes everything on to another one."""

    __slots__ = ("client", "inner")

    client: Client

    def __init__(self, inner: Stream) -> None:
        self.inner = inner
        self.client = inner.client

    @property
    def receiver(self) -> Receiver:
        """See `Stream`, also for all that follows."""
        return self.inner.receiver

    @receiver.setter
    def receiver(self, receiver: Receiver) -> None:
        self.inner.receiver = receiver

    @property
    def body_limit(self) -> int:
        return self.inner.body_limit

    @body_limit.setter
    def body_limit(self, size: int) -> None:
        self.inner.body_limit = size

    @property
    def bytes_in(self) -> int:
        return self.inner.bytes_in

    @property
    def bytes_out(self) -> int:
        return self.inner.bytes_out

    @property
    def request_done(self) -> bool:
        return self.inner.request_done

    @property
    def response_started(self) -> bool:
        return self.inner.response_started

    @property
    def writing_paused(self) -> bool:
        return self.inner.writing_paused

    @property
    def server(self) -> Load:
        return self.inner.server

    @property
    def trailers(self) -> Sequence[bytes]:
        return self.inner.trailers

    def send_interim(self, status: int, phrase: bytes, lines: list[bytes]) -> None:
        self.inner.send_interim(status, phrase, lines)

    def send_head(self, status: int, phrase: bytes, lines: list[bytes], framing: int) -> None:
        self.inner.send_head(status, phrase, lines, framing)

    def send_body(self, data: bytes) -> None:
        self.inner.send_body(data)

    def sink(self) -> Sink | None:
        return self.inner.sink()

    def end(self, trailers: Sequence[bytes] = ()) -> None:
        self.inner.end(trailers)

    def send_whole(self, status: int, pieces: Sequence[bytes], framing: int, now: float) -> None:
        self.inner.send_whole(status, pieces, framing, now)

    def take_back(self) -> bool:
        return self.inner.take_back()

    def abort(self, reason: str) -> None:
        self.inner.abort(reason)

    def read_body(self) -> None:
        self.inner.read_body()

    def pause_reading(self) -> None:
        self.inner.pause_reading()

    def resume_reading(self) -> None:
        self.inner.resume_reading()
