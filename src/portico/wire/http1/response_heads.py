"""Response heads that repeat: most responses of an instance differ only in their body, or have the form of others."""

from __future__ import annotations

from typing import Final

from portico.core.caches import ages
from portico.core.fields import RESPONSE_RULES
from portico.core.messages import UNTIL_CLOSE, Fields, ResponseHead
from portico.wire.http1.grammar import parse_response_head
from portico.wire.http1.response_forms import ResponseForms

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of a response's head; services set many cookies, but not more than this."""
_HEADER_COUNT: Final = 256
_ENTRIES: Final = 256
_ENTRY_SIZE: Final = 1024
_MAX_BYTES: Final = 512 * 1024
_LINE: Final = 120
"""Bytes of all entries, about, and of one line of them without its text, which is there three times."""
_FORMS: Final = ResponseForms()
"""Services are written with few frameworks, and the instances of one send the same."""

_NO_HEAD: Final = ResponseHead()
_NO_HEAD.raw = b"\0"  # no response begins with this
_NO_HEAD.framing = UNTIL_CLOSE
_NO_HEAD.fields = Fields([], [])


class ResponseHeads(dict[bytes, ResponseHead]):
    """The heads that an instance recently sent twice, parsed.

    `noted` are the names of fields that the receiver wants to find in `ResponseHead.noted`. Raises MessageError for a
    head that breaks the rules.
    """

    def __init__(self, noted: frozenset[bytes] = frozenset(), forms: ResponseForms = _FORMS) -> None:
        super().__init__()
        self._forms = forms
        self.noted = noted | RESPONSE_RULES
        self.latest = _NO_HEAD
        """The head of the latest final response."""
        self._once: set[bytes] = set()
        self._size = 0
        ages(self)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Forget all: those in use come back with the next responses."""
        self._forget()
        self._once.clear()

    def known(self, data: bytes) -> ResponseHead:
        """The final response's head at the start of `data`, if it is known, else one that matches nothing."""
        end = data.find(b"\r\n\r\n", 0, HEAD_LIMIT)
        if end < 0:
            return _NO_HEAD
        raw = data[:end]
        head = self.get(raw)
        if head is None:
            head = self._forms.read(data[: end + 4], self.noted)
            if head is None:
                return _NO_HEAD
            self._remember(raw, head)
        elif head.status < 200:
            return _NO_HEAD
        self.latest = head
        return head

    def __missing__(self, raw: bytes) -> ResponseHead:
        head = self.parse(raw)
        self._remember(raw, head)
        if head.status >= 200:
            self.latest = head
            self._forms.learn(head, self.noted)
        return head

    def _remember(self, raw: bytes, head: ResponseHead) -> None:
        """Keep a head that was received a second time; one with an id in it would evict others for nothing."""
        if len(raw) > _ENTRY_SIZE:
            return
        if raw in self._once:
            size = 3 * len(raw) + _LINE * len(head.fields.names)
            if len(self) >= _ENTRIES or self._size + size > _MAX_BYTES:
                self._forget()
            self._size += size
            self[raw] = head
        else:
            if len(self._once) >= _ENTRIES:
                self._once.clear()
            self._once.add(raw)

    def _forget(self) -> None:
        self.clear()
        self._size = 0

    def parse(self, raw: bytes, bodiless: bool = False) -> ResponseHead:
        """A head that is not shared; `bodiless` says that it answers HEAD."""
        return parse_response_head(raw, _HEADER_COUNT, self.noted, bodiless)
