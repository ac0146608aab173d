"""Forms of heads: for a list of names that comes often, one expression finds all lines of a head.

Programs send the same fields in the same order; what they say in them differs from message to message. An expression
that is made for these names finds in one pass where each line is, and a second one (`bytes.translate`) that no line has
what none may have. What it takes is what `grammar.py` takes, and nothing more: names in the letters in which they were
read field by field, and on the lines that decide about the message nothing but what was read so before. Everything
else, the first heads of a program too, is read field by field.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Generic, Protocol, TypeVar

from portico.core.caches import ages
from portico.core.messages import Fields, Shape
from portico.wire.http1.grammar import LENGTH_DIGITS

LENGTH: Final = b"content-length"
USUAL: Final = bytes(byte for byte in range(256) if byte in b"\t\n" or 0x20 <= byte != 0x7F)
"""What a head may consist of, but for CR: there is one at the end of each line, as there is an LF."""
_VALUE: Final = rb":.*"
_LENGTH_VALUE: Final = rb": ?([0-9]{1,%d})" % LENGTH_DIGITS

OFTEN: Final = 32
"""Heads with the same names after which an expression is made for them: that takes as long as reading a hundred."""
PAUSE: Final = 0.02
"""Seconds between two of them, at least: who sends other names in every head is to keep nobody else waiting."""
MOST_FORMS: Final = 256
ALIKE: Final = 4
"""Forms with one key: a head is compared with each of them."""
COUNTED: Final = 1024
_NAMES: Final = 768
"""Bytes of the names of a form: what a browser sends are 300."""
_RARELY: Final = 1_000_000


class Form:
    """The heads that begin with one line and have certain names in a certain order."""

    __slots__ = ("deciding", "ends", "find", "is_used", "length", "names", "shape")

    def __init__(self, start: bytes, fields: Fields, passes: list[bool], deciding: Container[bytes]) -> None:
        """It is that of a head that was read: its first line, its `fields`, which of them pass, and which decide."""
        self.is_used = True
        """Since it was last set to False."""
        self.names = names = fields.names
        self.shape = shape = Shape.__new__(Shape)
        shape.unnoted, shape.reported = passes, None
        pattern, places, decide, runs, self.length = _layout(start, fields, passes, deciding)
        shape.places, shape.runs = tuple(places), itemgetter(*runs)
        shape.place_of = {name: place * (names.count(name) == 1) for name, place in zip(names, places, strict=True)}
        self.find = re.compile(pattern).fullmatch
        self.ends = b"\r" * (len(names) + 2)
        """What is left of a head without what is `USUAL`."""
        self.deciding: Callable[[Any], tuple[bytes, ...]] = itemgetter(*decide)


def _layout(
    start: bytes, fields: Fields, passes: list[bool], deciding: Container[bytes]
) -> tuple[bytes, list[int], list[int], list[int], int]:
    """The expression, and the numbers of its groups: all lines, those that decide, runs of those that pass, the length.

    All of them are followed by two empty groups, so that there are several of each kind, whatever fields there are.
    """
    names = fields.names
    pattern, places, decide, runs = [re.escape(start + b"\r\n")], list[int](), list[int](), list[int]()
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
            if names[index] == LENGTH:
                pattern.append(b"(" + written + _LENGTH_VALUE + b")\r\n")
                length = group = group + 1
            else:
                pattern.append(b"(" + written + _VALUE + b")\r\n")
                if names[index] in deciding:
                    decide.append(group)
        if is_passed:
            pattern.append(b")")
    pattern.append(b"\r\n()()")
    empty = [group + 1, group + 2]
    return b"".join(pattern), places, decide + empty, runs + empty, length


def may_be(fields: Fields) -> bool:
    """Whether a form may be made of a head with these fields: they are not too many, nor is its length said twice."""
    return sum(map(len, fields.names)) <= _NAMES and fields.names.count(LENGTH) < 2


def key_of(head: bytes, start: int) -> tuple[int, bytes, bytes]:
    """What all heads of a form have in common, and few others: how many lines, how the first and the last begin.

    The first field line begins at `start`.
    """
    last = head.rfind(b"\n", 0, -3) + 1
    return head.count(b"\n"), head[start : start + 4], head[last : last + 6]


class Forgetting(Protocol):
    """A form, as far as a table goes."""

    def forget(self) -> bool:
        """Forget what was learnt; whether it was used since the last time."""


F = TypeVar("F", bound=Forgetting)


class Table(Generic[F]):
    """The forms of heads that came often, by keys that tell most of them apart; and how often others came."""

    def __init__(self, often: int = OFTEN, pause: float = PAUSE) -> None:
        self.often = often
        self.pause = pause
        self._forms: dict[object, list[F]] = {}
        self._made = 0
        self._counts: dict[int, int] = {}
        """How often each list of names was read field by field, by its hash."""
        self._last = float("-inf")
        ages(self)

    def of(self, key: object) -> Sequence[F]:
        """Those that a head with this key may have."""
        return self._forms.get(key, ())

    def all(self) -> Iterator[F]:
        """Each of them."""
        for forms in self._forms.values():
            yield from forms

    def note(self, key: object, names: Sequence[bytes], make: Callable[[], F | None]) -> None:
        """Note a head that has none of the forms; one is made if it comes often, unless that is of no use (None)."""
        counted = hash((key, *names))
        if len(self._counts) >= COUNTED:
            self._counts.clear()
        self._counts[counted] = count = self._counts.get(counted, 0) + 1
        if count < self.often or time.monotonic() < self._last + self.pause:
            return
        form = make()
        self._last = time.monotonic()
        self._counts[counted] = 0 if form is not None else -_RARELY
        if form is not None:
            self._add(key, form)

    def _add(self, key: object, form: F) -> None:
        if self._made >= MOST_FORMS:
            self._forms.clear()
            self._made = 0
        forms = self._forms.setdefault(key, [])
        if len(forms) < ALIKE:
            self._made += 1
        else:
            del forms[0]
        forms.append(form)

    def age(self, now: float) -> None:  # noqa: ARG002
        """Drop the forms that no head has had since the last time, and what the others have learnt."""
        kept = {key: [form for form in forms if form.forget()] for key, forms in self._forms.items()}
        self._forms = {key: forms for key, forms in kept.items() if forms}
        self._made = len(list(self.all()))
        self._counts.clear()
