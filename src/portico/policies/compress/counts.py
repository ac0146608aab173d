"""What compression has done, and coded forms of what is sent again and again."""

from __future__ import annotations

from typing import Final, TypeAlias

from portico.core.caches import ages
from portico.core.codings import encode
from portico.core.exchange import Exchange
from portico.observe.families import Counter

_MOST: Final = 16 << 20
"""Bytes of coded forms that a worker keeps, with the content that they belong to."""
_STORED: Final = frozenset({"hit", "stale", "revalidated"})
"""What the cache had for exchanges whose content it has."""
_SHARED: Final = _STORED | {"collapsed"}
"""The same for those whose content others get, too."""


Key: TypeAlias = tuple[tuple[bytes, ...], bytes, int]
"""The pieces of a content, a coding and its level. The cache has the same objects each time: their hashes are known."""


class CodedForms:
    """The coded forms of contents that the cache has."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._size = 0
        self._forms: dict[Key, bytes] = {}
        self._used: set[Key] = set()
        ages(self)

    def get(self, key: Key) -> bytes | None:
        """A coded form; None where it is not known."""
        found = self._forms.get(key)
        if found is not None:
            self._used.add(key)
        return found

    def put(self, key: Key, coded: bytes) -> None:
        """Remember one, in place of others if need be."""
        size = _size(key, coded)
        if key in self._forms or size > self._most // 4:
            return
        while self._size + size > self._most:
            self._forget(next(iter(self._forms)))
        self._forms[key] = coded
        self._size += size
        self._used.add(key)

    def coded(self, content: bytes, coding: bytes, level: int) -> bytes:
        """A content with a coding applied, now if it is not known."""
        key = (content,), coding, level
        found = self.get(key)
        if found is None:
            found = encode(content, coding, level)
            self.put(key, found)
        return found

    def peek(self) -> CodedForms:
        """One of its own: what is known is only faster."""
        return CodedForms(self._most)

    def _forget(self, key: Key) -> None:
        self._size -= _size(key, self._forms.pop(key))
        self._used.discard(key)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Forget those that were not used since the last call."""
        for key in [key for key in self._forms if key not in self._used]:
            self._forget(key)
        self._used.clear()


def _size(key: Key, coded: bytes) -> int:
    return sum(map(len, key[0])) + len(coded)


class Counts:
    """Counts the compressed responses of a worker, and the bytes before and after."""

    def __init__(self, counters: tuple[Counter, Counter] | None, forms: CodedForms) -> None:
        self._counters = counters
        self.forms = forms

    def is_stored(self, exchange: Exchange) -> bool:
        """Whether the cache has all of an exchange's content, so that it may well have been sent before."""
        return exchange.cache in _STORED

    def coded(self, exchange: Exchange, content: bytes, coding: bytes, level: int) -> bytes:
        """A whole body with a coding applied; counted, unless that makes it longer: then it is not sent."""
        apply = self.forms.coded if exchange.cache in _SHARED else encode
        coded = apply(content, coding, level)
        if len(coded) < len(content):
            self.count(exchange, coding, len(content), len(coded))
        return coded

    def count(self, exchange: Exchange, coding: bytes, before: int, after: int) -> None:
        """A response was compressed: the bytes before and after."""
        if self._counters is None:
            return
        service, name = exchange.match.handling.service_name, coding.decode()
        responses, sizes = (each.series for each in self._counters)  # as `inc` would, for labels that are known: few
        for series, labels, amount in (
            (responses, (service, name), 1),
            (sizes, (service, name, "plain"), before),
            (sizes, (service, name, "coded"), after),
        ):
            series[labels] = series.get(labels, 0.0) + amount
