"""Request heads that repeat: a client sends the same fields again and again, and the same bytes mean the same.

A head whose bytes after the target were received before on its connection is the same head with another target. Others
are read by their form (`request_forms.py`), where that is known.
"""

from __future__ import annotations

from typing import Final

from portico.core.messages import RequestHead
from portico.wire.http1.request_forms import RequestForm, RequestForms

_END: Final = b"\r\n\r\n"
_PLAIN: Final = bytes(byte if byte in b'!"' or b"$" <= bytes((byte,)) <= b"~" else byte ^ 0x80 for byte in range(256))
"""Maps each byte that a target may have to itself, and all others elsewhere."""
_ENTRIES: Final = 6
"""Heads with different fields that are cached per client: a browser's differ for a page, a script, an image."""
_ENTRY_SIZE: Final = 8192
"""Bytes of each of them, at most."""
_MISSES: Final = 24
"""Misses in a row after which no more heads are cached."""


class RequestHeads:
    """The recent heads of one connection's client."""

    __slots__ = ("_form", "_last_form", "_misses", "entries", "latest")

    def __init__(self) -> None:
        self.latest: RequestHead | None = None
        """The last request, if the next one may be recognized by its fields."""
        self.entries: dict[bytes, RequestHead] = {}
        """Earlier ones that had other fields, by their `tail`."""
        self._misses = 0
        """Requests in a row that matched none of these."""
        self._form: RequestForm | None = None
        """That of the last two requests, if it was the same."""
        self._last_form: RequestForm | None = None

    def find(self, data: bytes, forms: RequestForms) -> RequestHead | None:
        """The request at the start of `data`, if its fields or their form are known.

        It is the same head with another target, or a new one. None where neither is known, where the request line is
        unusual, and where more follows than its body. The length of the target is the caller's to check; `add` it if it
        is not the latest.
        """
        latest = self.latest
        try:
            method, target, tail = data.split(b" ", 2)
        except ValueError:
            return None
        if target[:1] != b"/" or target.translate(_PLAIN) != target:
            return None
        if latest is not None and tail == latest.tail and method == latest.method:
            latest.target = target
            return latest
        return self._find_other(method, target, tail, forms)

    def _find_other(self, method: bytes, target: bytes, tail: bytes, forms: RequestForms) -> RequestHead | None:
        """The same where a body follows, or other fields."""
        latest, entries, rest = self.latest, self.entries, 0
        if tail[-4:] != _END:  # a body follows
            rest = len(tail)
            tail = tail[: tail.find(_END) + len(_END)]
            rest -= len(tail)
        if latest is None or tail != latest.tail:
            latest = entries.get(tail) if entries else None
        if latest is None:
            request = self._of_form(method, target, tail, forms)
            return None if request is None or rest > request.framing else request
        if method != latest.method or rest > latest.framing:
            return None
        latest.target = target
        return latest

    def _of_form(self, method: bytes, target: bytes, tail: bytes, forms: RequestForms) -> RequestHead | None:
        """A new head, read by its form."""
        form = self._form
        if form is not None:
            request = form.read(method, target, tail)
            if request is not None:
                return request
        found = forms.read(method, target, tail)
        if found is None:
            return None
        form, request = found
        self._form = form if form is self._last_form else None
        self._last_form = form
        return request

    def add(self, request: RequestHead) -> None:
        """Cache the latest before `request` replaces it, unless nearly every head of this client is new."""
        latest, entries = self.latest, self.entries
        self.latest = request if request.framing >= 0 and request.version == 11 else None
        if self._misses > _MISSES:
            return
        self._misses = 0 if request.tail in entries else self._misses + 1
        if self._misses > _MISSES:
            entries.clear()
        elif latest is not None and latest.tail not in entries and len(latest.tail) <= _ENTRY_SIZE:
            if len(entries) >= _ENTRIES:
                del entries[next(iter(entries))]
            entries[latest.tail] = latest

    def forget(self) -> None:
        """Have the next request parsed, even if it repeats an earlier one."""
        self.latest = self._form = self._last_form = None
        self.entries.clear()
