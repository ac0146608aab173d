"""Reads what a response cost from what goes to the client, and has the limits count it once the exchange is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from portico.core.codings import codings_of
from portico.core.exchange import Exchange, Sink
from portico.core.messages import TUNNEL
from portico.policies.costs.reading import CostReading, Reader
from portico.policies.stream_behind import StreamBehind


class Charge(NamedTuple):
    """What is to be paid for an exchange: how its cost is found, the name of the limit, and what counts it there."""

    reading: CostReading
    limit: str
    pay: Callable[[int], None]


def meter_of(exchange: Exchange) -> Meter:
    """The one of an exchange, made for the first limit that asks what it costs."""
    known = getattr(exchange, "costs", None)
    return known if isinstance(known, Meter) else Meter(exchange)


class Meter(StreamBehind):
    """Sees what goes to the client before it is compressed, and passes it on at once.

    It takes the stream's place until the exchange is finished. Only a service's own success has a cost; what comes from
    the cache has been paid for.
    """

    __slots__ = ("_charges", "_exchange", "_finish", "_in_fields", "_readers", "_status")

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange.stream)
        self._exchange = exchange
        self._charges: list[Charge] = []
        self._readers: dict[CostReading, Reader] = {}
        self._in_fields: dict[CostReading, int] = {}
        self._status = 0
        """That of the response, once it has begun."""
        self._finish = exchange.finish
        exchange.finish = self._finished
        exchange.costs = exchange.stream = self

    def add(self, charge: Charge) -> None:
        """Have one more limit count it."""
        self._charges.append(charge)

    def note_fields(self, values_of: Callable[[bytes], Sequence[bytes]]) -> None:
        """The service's response has these fields."""
        for reading, *_ in self._charges:
            cost = reading.in_fields(values_of(reading.header)) if reading.header is not None else None
            if cost is not None:
                self._in_fields[reading] = cost

    # ---- what goes to the client

    def send_head(self, status: int, phrase: bytes, lines: list[bytes], framing: int) -> None:
        self._begin(status, b"\r\n".join(lines).split(b"\r\n"), framing)
        self.inner.send_head(status, phrase, lines, framing)

    def send_body(self, data: bytes) -> None:
        for reader in self._readers.values():
            reader.feed(data)
        self.inner.send_body(data)

    def sink(self) -> Sink | None:
        return None if self._readers else self.inner.sink()

    def send_whole(self, status: int, pieces: Sequence[bytes], framing: int, now: float) -> None:
        *head, _, content = pieces
        self._begin(status, b"".join(head).split(b"\r\n"), framing)
        for reader in self._readers.values():
            reader.feed(content)
        self.inner.send_whole(status, pieces, framing, now)

    def take_back(self) -> bool:
        if not self.inner.take_back():
            return False
        self._readers, self._status = {}, 0
        return True

    def _begin(self, status: int, lines: Iterable[bytes], framing: int) -> None:
        self._status = status
        if not self._is_priced(status) or framing == TUNNEL:
            return
        kinds, codings = [], []
        for line in lines:
            name, _, value = line.partition(b":")
            lower = name.lower()
            if lower == b"content-type":
                kinds.append(value)
            elif lower == b"content-encoding":
                codings.append(value)
        kind, undone = kinds[0] if len(kinds) == 1 else b"", codings_of(codings)
        for charge in self._charges:
            reader = charge.reading.reader(kind, undone)
            if reader is not None:
                self._readers[charge.reading] = reader

    def _is_priced(self, status: int) -> bool:
        exchange = self._exchange
        is_of_service = exchange.upstream_seconds is not None or bool(exchange.attempts)
        return 200 <= status < 300 and is_of_service and exchange.cache in _FROM_SERVICE

    # ---- the end

    def _finished(self, exchange: Exchange, failure: str | None) -> None:
        """Leave its place, and pay."""
        exchange.stream, exchange.finish = self.inner, self._finish
        try:
            exchange.costs = self._pay(failure)
        finally:
            exchange.finish(exchange, failure)

    def _pay(self, failure: str | None) -> dict[str, int] | None:
        left_early = not self._status and failure is not None and bool(self._exchange.attempts)
        if not left_early and not self._is_priced(self._status):
            return None
        paid: dict[str, int] = {}
        for reading, limit, pay in self._charges:
            cost = self._in_fields.get(reading)
            if cost is None and reading in self._readers:
                cost = self._readers[reading].cost()
            if cost is None:
                cost = reading.default
            if cost:
                pay(cost)
                paid[limit] = cost
        return paid or None


_FROM_SERVICE: Final = (None, "miss", "bypass")
"""What the cache had, where the service was asked for this exchange."""
