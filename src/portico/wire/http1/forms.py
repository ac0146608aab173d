"""Request heads as programs send them: for a list of names that comes often, one expression reads all their lines.

Clients of one program send the same fields in the same order; what they say in them differs from user to user. An
expression that is made for these names finds in one pass where each line is, and in a second one (`bytes.translate`)
that no line has what none may have. What it takes is what `grammar.py` takes, and nothing more: names in the letters
in which they were read field by field, and on the lines that decide about host and connection nothing but what was
read so before. Everything else, the first heads of a program too, is read field by field.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from portico.core.caches import ages
from portico.core.messages import Fields, Known, RequestHead, Shape
from portico.wire.http1.grammar import DECIDING, LENGTH_DIGITS, METHOD_NAMES

_VALUE: Final = rb":.*"
_LENGTH_VALUE: Final = rb": ?([0-9]{1,%d})" % LENGTH_DIGITS
_LENGTH: Final = b"content-length"
_START: Final = b"HTTP/1.1\r\n"
_USUAL: Final = bytes(byte for byte in range(256) if byte in b"\t\n" or 0x20 <= byte != 0x7F)
"""What a head may consist of, but for CR: there is one at the end of each line, as there is an LF."""

_OFTEN: Final = 32
"""Heads with the same names after which an expression is made for them: that takes as long as reading a hundred."""
_PAUSE: Final = 0.02
"""Seconds between two of them, at least: who sends other names in every head is to keep nobody else waiting."""
_FORMS: Final = 256
_ALIKE: Final = 4
"""Forms with one key: a request is compared with each of them."""
_NAMES: Final = 768
"""Bytes of the names of a form: what a browser sends are 300."""
_RARELY: Final = 1_000_000
_COUNTED: Final = 1024
_DECISIONS: Final = 1024
"""Of one form: so many hosts and methods."""


class _Decided(NamedTuple):
    """What the lines that say it decide about a request."""

    method_name: str
    host: bytes
    keep_alive: bool
    hop_by_hop: frozenset[bytes]
    known: Known


class Form:
    """The heads with certain names in a certain order."""

    __slots__ = ("_decided", "_deciding", "_ends", "_is_used", "_length", "_match", "names", "noted", "shape")

    def __init__(self, request: RequestHead) -> None:
        """It is that of a `request` that was read, of which there may be a form: see `may_be`."""
        fields = request.fields
        self.names = fields.names
        self.noted = request.noted
        pattern, places, deciding, runs, length = _layout(fields)
        self.shape = shape = Shape.__new__(Shape)
        assert fields.shape is not None
        shape.unnoted, shape.reported = fields.shape.unnoted, fields.shape.reported
        shape.places, shape.runs = places, itemgetter(*runs)
        names = self.names
        shape.place_of = {name: place * (names.count(name) == 1) for name, place in zip(names, places, strict=True)}
        self._match = re.compile(pattern).fullmatch
        self._ends = b"\r" * (len(places) + 2)
        self._deciding: Callable[[Any], object] = itemgetter(*deciding)
        self._length = length
        self._decided: dict[tuple[bytes, object], _Decided] = {}
        self._is_used = True

    def read(self, method: bytes, target: bytes, tail: bytes) -> RequestHead | None:
        """A request of this form with this whole `tail`; the `target` is the caller's to check. None for others."""
        match = self._match(tail)
        if match is None or tail.translate(None, _USUAL) != self._ends:
            return None
        decided = self._decided.get((method, self._deciding(match)))
        if decided is None:
            return None
        self._is_used = True
        request = RequestHead()
        request.method = method
        request.method_name, request.host, request.keep_alive, request.hop_by_hop, request.known = decided
        request.target = target
        request.version = 11
        request.tail = tail
        request.framing = int(match[self._length]) if self._length else 0
        request.expects_continue = False
        request.noted = self.noted
        request.fields = Fields(self.names, None, self.shape, match)
        return request

    def learn(self, request: RequestHead) -> bool:
        """Read those that decide alike from now on; False where this request's head is of another form."""
        match = self._match(request.tail)
        if match is None:
            return False
        if len(self._decided) >= _DECISIONS:
            self._decided.clear()
        self._decided[request.method, self._deciding(match)] = _Decided(
            request.method_name, request.host, request.keep_alive, request.hop_by_hop, request.known
        )
        return True

    def forget(self) -> bool:
        """Forget what was learnt; whether the form was used since the last time."""
        was_used, self._is_used = self._is_used, False
        self._decided.clear()
        return was_used


class _Layout(NamedTuple):
    pattern: bytes
    places: tuple[int, ...]
    deciding: tuple[int, ...]
    runs: tuple[int, ...]
    length: int


def _layout(fields: Fields) -> _Layout:
    """The expression for heads like these, and the numbers of its groups."""
    assert fields.shape is not None
    names, passes = fields.names, fields.shape.unnoted
    pattern, places, deciding, runs = [re.escape(_START)], list[int](), list[int](), list[int]()
    group = length = 0
    for is_passed, indexes in groupby(range(len(names)), passes.__getitem__):
        if is_passed:
            group += 1
            runs.append(group)
            pattern.append(b"(")
        for index in indexes:
            written = re.escape(fields.lines[index][: len(names[index])])
            group += 1
            places.append(group)
            if names[index] == _LENGTH:
                pattern.append(b"(" + written + _LENGTH_VALUE + b")\r\n")
                group += 1
                length = group
            else:
                pattern.append(b"(" + written + _VALUE + b")\r\n")
                if names[index] in DECIDING:
                    deciding.append(group)
        if is_passed:
            pattern.append(b")")
    pattern.append(b"\r\n()()")
    runs += (group + 1, group + 2)  # so that there are several, whatever fields there are
    return _Layout(b"".join(pattern), tuple(places), tuple(deciding), tuple(runs), length)


def may_be(request: RequestHead) -> bool:
    """Whether a form may be made of a request's head."""
    names = request.fields.names
    return (
        request.version == 11
        and request.framing >= 0
        and b"expect" not in request.noted
        and sum(map(len, names)) <= _NAMES
        and request.method in METHOD_NAMES
        and request.tail[:10] == _START
    )


class Forms:
    """The forms that a worker has seen often, and which of others it has seen how often."""

    def __init__(self, often: int = _OFTEN, pause: float = _PAUSE) -> None:
        self.often = often
        self.pause = pause
        self._forms: dict[object, list[Form]] = {}
        self._made = 0
        self._counts: dict[int, int] = {}
        """How often each list of names was read field by field, by its hash."""
        self._last = float("-inf")
        ages(self)

    def read(self, method: bytes, target: bytes, tail: bytes) -> tuple[Form, RequestHead] | None:
        """A request by the form that it has; None where that is not known."""
        for form in self._forms.get(_key_of(tail), ()):
            request = form.read(method, target, tail)
            if request is not None:
                return form, request
        return None

    def learn(self, request: RequestHead) -> None:
        """Note a request that was read field by field."""
        if not may_be(request):
            return
        key = _key_of(request.tail)
        forms = self._forms.get(key, [])
        if any(form.learn(request) for form in forms):
            return
        counted = hash(tuple(request.fields.names))
        if len(self._counts) >= _COUNTED:
            self._counts.clear()
        self._counts[counted] = count = self._counts.get(counted, 0) + 1
        if count >= self.often and time.monotonic() >= self._last + self.pause:
            self._make(request, key, counted)

    def _make(self, request: RequestHead, key: object, counted: int) -> None:
        form = Form(request)
        self._last = time.monotonic()
        if not form.learn(request):  # it says something in an unusual way
            self._counts[counted] = -_RARELY
            return
        self._counts[counted] = 0
        if self._made >= _FORMS:
            self._forms.clear()
            self._made = 0
        forms = self._forms.setdefault(key, [])
        if len(forms) < _ALIKE:
            self._made += 1
        else:
            del forms[0]
        forms.append(form)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Drop the forms that no request has had since the last time, and what the others have learnt."""
        kept = {key: [form for form in forms if form.forget()] for key, forms in self._forms.items()}
        self._forms = {key: forms for key, forms in kept.items() if forms}
        self._made = sum(map(len, self._forms.values()))
        self._counts.clear()


def _key_of(tail: bytes) -> tuple[int, bytes, bytes]:
    """What all heads of a form have in common, and few others: how many lines, how the first and the last begin."""
    last = tail.rfind(b"\n", 0, -3) + 1
    return tail.count(b"\n"), tail[10:14], tail[last : last + 6]
