"""What compression has done, and coded forms of what is sent again and again."""

from __future__ import annotations

from typing import Final

from portico.core.caches import ages
from portico.core.codings import encode
from portico.core.exchange import Exchange
from portico.observe.families import Counter

_MOST: Final = 16 << 20
"""Bytes of coded forms that a worker keeps, with the content that they belong to."""
_OF_CACHE: Final = frozenset({"hit", "stale"})
"""What the cache had for exchanges whose content may well be sent again."""


class CodedForms:
    """The coded forms of contents that the cache has; the content itself is the key, which it has as one object."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._size = 0
        self._forms: dict[tuple[bytes, bytes, int], bytes] = {}
        self._used: set[tuple[bytes, bytes, int]] = set()
        ages(self)

    def coded(self, content: bytes, coding: bytes, level: int) -> bytes:
        """The content with a coding applied."""
        key = content, coding, level
        found = self._forms.get(key)
        if found is None:
            found = encode(content, coding, level)
            size = len(content) + len(found)
            if size > self._most // 4:
                return found
            while self._size + size > self._most:
                self._forget(next(iter(self._forms)))
            self._forms[key] = found
            self._size += size
        self._used.add(key)
        return found

    def _forget(self, key: tuple[bytes, bytes, int]) -> None:
        self._size -= len(key[0]) + len(self._forms.pop(key))
        self._used.discard(key)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Forget those that were not used since the last call."""
        for key in [key for key in self._forms if key not in self._used]:
            self._forget(key)
        self._used.clear()


class Counts:
    """Counts the compressed responses of a worker, and the bytes before and after."""

    def __init__(self, counters: tuple[Counter, Counter] | None, forms: CodedForms) -> None:
        self._counters = counters
        self._forms = forms

    def coded(self, exchange: Exchange, content: bytes, coding: bytes, level: int) -> bytes:
        """A whole body with a coding applied; counted, unless that makes it longer: then it is not sent."""
        if exchange.cache in _OF_CACHE:
            coded = self._forms.coded(content, coding, level)
        else:
            coded = encode(content, coding, level)
        if len(coded) < len(content):
            self.count(exchange, coding, len(content), len(coded))
        return coded

    def count(self, exchange: Exchange, coding: bytes, before: int, after: int) -> None:
        """A response was compressed: the bytes before and after."""
        if self._counters is None:
            return
        responses, sizes = self._counters
        labels = {"service": exchange.match.handling.service_name, "coding": coding.decode()}
        responses.inc(**labels)
        sizes.inc(before, form="plain", **labels)
        sizes.inc(after, form="coded", **labels)
