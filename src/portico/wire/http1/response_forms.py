"""The forms of response heads: those of a service differ in a length, a date, an id."""

from __future__ import annotations

from typing import Final

from portico.core.fields import RESPONSE_DROP, RESPONSE_RULES
from portico.core.messages import Fields, ResponseHead, passes_unchanged
from portico.wire.http1.forms import OFTEN, PAUSE, USUAL, Form, Table, key_of, may_be
from portico.wire.http1.grammar import WITHOUT_BODY

_SAMPLE_SIZE: Final = 4096
"""Bytes of the head that is kept with each form."""


class ResponseForm(Form):
    """The response heads with one status line, with certain names in a certain order, that decide all alike."""

    __slots__ = ("_decided", "_passes_on", "sample")

    def __init__(self, response: ResponseHead) -> None:
        """It is that of a `response` that was read."""
        start, fields = response.raw.partition(b"\r\n")[0], response.fields
        super().__init__(start, fields, [name not in RESPONSE_DROP for name in fields.names], RESPONSE_RULES)
        self.sample = response
        found = self.find(response.raw)
        self._decided = self.deciding(found) if found is not None else None
        self._passes_on = passes_unchanged(response)
        if response.status in WITHOUT_BODY:
            self.length = 0

    def read(self, raw: bytes) -> ResponseHead | None:
        """A head of this form, with the empty line at its end. None for others."""
        match = self.find(raw)
        if match is None or raw.translate(None, USUAL) != self.ends or self.deciding(match) != self._decided:
            return None
        self.is_used = True
        sample = self.sample
        response = ResponseHead()
        response.raw = raw
        response.status, response.phrase, response.line = sample.status, sample.phrase, sample.line
        response.fields = Fields(self.names, None, self.shape, match)
        response.passed = b"".join((sample.line, b"\r\n", *self.shape.runs(match)))[:-2] if self._passes_on else b""
        response.noted = sample.noted
        response.keep_alive, response.keep_alive_timeout = sample.keep_alive, sample.keep_alive_timeout
        response.hop_by_hop = sample.hop_by_hop
        response.framing = int(match[self.length]) if self.length else sample.framing
        return response

    def forget(self) -> bool:
        """Whether the form was used since the last time."""
        was_used, self.is_used = self.is_used, False
        return was_used


class ResponseForms:
    """Those of all services of a worker."""

    def __init__(self, often: int = OFTEN, pause: float = PAUSE) -> None:
        self.table: Table[ResponseForm] = Table(often, pause)

    def read(self, raw: bytes, noted: frozenset[bytes]) -> ResponseHead | None:
        """A final response's head by the form that it has; None where that is not known."""
        for form in self.table.of(_key_of(raw, noted)):
            response = form.read(raw)
            if response is not None:
                return response
        return None

    def learn(self, response: ResponseHead, noted: frozenset[bytes]) -> None:
        """Note a final response that was read field by field; `noted` is what its receiver wants to find."""
        if len(response.raw) <= _SAMPLE_SIZE and may_be(response.fields):
            self.table.note(_key_of(response.raw, noted), response.fields.names, lambda: _made(response))


def _key_of(raw: bytes, noted: frozenset[bytes]) -> object:
    return raw[9:12], noted, key_of(raw, raw.find(b"\n") + 1)


def _made(response: ResponseHead) -> ResponseForm | None:
    form = ResponseForm(response)
    return form if form.read(response.raw) is not None else None
