"""The forms of request heads: what programs send for one user after the other is read in one pass."""

from __future__ import annotations

from typing import Final, NamedTuple

from portico.core.messages import Fields, Known, RequestHead
from portico.wire.http1.forms import OFTEN, PAUSE, USUAL, Form, Table, key_of, may_be
from portico.wire.http1.grammar import DECIDING, METHOD_NAMES

_START: Final = b"HTTP/1.1"
_FIRST_FIELD: Final = len(_START) + 2
MOST_DECISIONS: Final = 4096
"""Hosts and methods that all forms know, together."""
_DECIDING_SIZE: Final = 512
"""Bytes of the lines that decide, where it is remembered what."""


class _Decided(NamedTuple):
    """What the lines that say it decide about a request."""

    method_name: str
    host: bytes
    keep_alive: bool
    hop_by_hop: frozenset[bytes]
    known: Known


class RequestForm(Form):
    """The request heads with certain names in a certain order."""

    __slots__ = ("decided", "noted")

    def __init__(self, request: RequestHead) -> None:
        """It is that of a `request` that was read."""
        assert request.fields.shape is not None
        super().__init__(_START, request.fields, request.fields.shape.unnoted, DECIDING)
        self.noted = request.noted
        self.decided: dict[tuple[bytes, tuple[bytes, ...]], _Decided] = {}

    def read(self, method: bytes, target: bytes, tail: bytes) -> RequestHead | None:
        """A request of this form with this whole `tail`; the `target` is the caller's to check. None for others."""
        match = self.find(tail)
        if match is None or tail.translate(None, USUAL) != self.ends:
            return None
        decided = self.decided.get((method, self.deciding(match)))
        if decided is None:
            return None
        self.is_used = True
        request = RequestHead()
        request.method = method
        request.method_name, request.host, request.keep_alive, request.hop_by_hop, request.known = decided
        request.target = target
        request.version = 11
        request.tail = tail
        request.framing = int(match[self.length]) if self.length else 0
        request.expects_continue = False
        request.noted = self.noted
        request.fields = Fields(self.names, None, self.shape, match)
        return request

    def learn(self, request: RequestHead) -> bool:
        """Read those that decide alike from now on; False where this request's head is of another form."""
        match = self.find(request.tail)
        if match is None:
            return False
        lines = self.deciding(match)
        if sum(map(len, lines)) <= _DECIDING_SIZE:
            self.decided[request.method, lines] = _Decided(
                request.method_name, request.host, request.keep_alive, request.hop_by_hop, request.known
            )
        return True

    def forget(self) -> bool:
        """Forget what was learnt; whether the form was used since the last time."""
        was_used, self.is_used = self.is_used, False
        self.decided.clear()
        return was_used


def _may_be(request: RequestHead) -> bool:
    """Whether a form may be made of a request's head."""
    return (
        request.version == 11
        and request.framing >= 0
        and b"expect" not in request.noted
        and request.method in METHOD_NAMES
        and may_be(request.fields)
    )


class RequestForms:
    """Those of a worker."""

    def __init__(self, often: int = OFTEN, pause: float = PAUSE) -> None:
        self.table: Table[RequestForm] = Table(often, pause)
        self._learnt = 0

    def read(self, method: bytes, target: bytes, tail: bytes) -> tuple[RequestForm, RequestHead] | None:
        """A request by the form that it has; None where that is not known."""
        for form in self.table.of(key_of(tail, _FIRST_FIELD)):
            request = form.read(method, target, tail)
            if request is not None:
                return form, request
        return None

    def learn(self, request: RequestHead) -> None:
        """Note a request that was read field by field."""
        if not _may_be(request):
            return
        key = key_of(request.tail, _FIRST_FIELD)
        if any(form.learn(request) for form in self.table.of(key)):
            self._learnt += 1
            if self._learnt > MOST_DECISIONS:
                self._learnt = 0
                self._forget()
        else:
            self.table.note(key, request.fields.names, lambda: _made(request))

    def _forget(self) -> None:
        """Forget what the forms have learnt: what is in use is learnt anew, each by reading one request."""
        for form in self.table.all():
            form.decided.clear()

    def renewed(self) -> RequestForms:
        """Others, of which nothing is known yet."""
        return RequestForms(self.table.often, self.table.pause)


def _made(request: RequestHead) -> RequestForm | None:
    form = RequestForm(request)
    return form if form.learn(request) else None  # its length is written in an unusual way
