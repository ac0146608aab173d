"""A text of JSON as a tree that is no finer than somebody asks for: the rest are runs of the text as it was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, TypeAlias

from portico.core.json_text.errors import JsonEditError
from portico.core.json_text.pointers import END, EVERY, Level, index_of
from portico.core.json_text.syntax import (
    SPACE,
    match_comma,
    match_element,
    match_name,
    match_space,
    name_of,
    shape_of,
    value_end,
)

_MOST_DOUBLED: Final = 1000
"""How many doubled names are looked at in a text: whoever writes one has no more than a few."""


class Source:
    """A valid text, and its shape once somebody looks into it."""

    __slots__ = ("text", "_shape", "_doubled")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._shape: bytes | None = None
        self._doubled = 0

    @property
    def shape(self) -> bytes:
        """As `syntax.shape_of` makes it."""
        if self._shape is None:
            self._shape = shape_of(self.text)
        return self._shape

    def count_doubled(self) -> None:
        """Raises JsonEditError for a text that is made to be slow to edit."""
        self._doubled += 1
        if self._doubled > _MOST_DOUBLED:
            raise JsonEditError(f"it has more than {_MOST_DOUBLED} doubled names")


class Run:
    """Members or elements as they were written, each with the bracket or comma before it."""

    __slots__ = ("source", "start", "end", "count")

    def __init__(self, source: Source, start: int, end: int, count: int = 0) -> None:
        self.source = source
        self.start = start
        self.end = end
        self.count = count
        """How many elements they are, once that is known."""


class Child:
    """A member or an element by itself: the bracket or comma before it, its name and colon as written, its value.

    The whole document is one too, with nothing before its value.
    """

    __slots__ = ("before", "key", "colon", "value", "gone")

    def __init__(self, before: bytes, key: bytes, colon: bytes, value: Value) -> None:
        self.before = before
        self.key = key
        self.colon = colon
        self.value = value
        self.gone = False
        """Whether it was removed."""


class Value:
    """A value as it was written, or of parts once somebody looked into it."""

    __slots__ = ("source", "start", "end", "_container")

    def __init__(self, source: Source, start: int, end: int) -> None:
        self.source = source
        self.start = start
        self.end = end
        self._container: Container | None = None

    @property
    def kind(self) -> bytes:
        """Its first byte."""
        return self.source.text[self.start : self.start + 1]

    def container(self, level: Level) -> Container | None:
        """The object or array that it is, from which at least the level is split off; None for any other value."""
        if self._container is None:
            make = _CONTAINERS.get(self.kind)
            self._container = make(self, level) if make else None
        return self._container

    def write(self, out: list[bytes]) -> None:
        """Append the pieces of its text as it is now."""
        if self._container is None:
            out.append(self.source.text[self.start : self.end])
        else:
            self._container.write(out)

    def text(self) -> bytes:
        """Its text as it is now."""
        out: list[bytes] = []
        self.write(out)
        return b"".join(out)


def value_of(text: bytes) -> Value:
    """A valid text without white space around it as a value."""
    return Value(Source(text), 0, len(text))


Part: TypeAlias = Run | Child


class Container:
    """An object or an array: its parts, and the white space and bracket at its end."""

    __slots__ = ("_value", "_level", "_parts", "_tail")

    opening: ClassVar[bytes]
    closing: ClassVar[bytes]

    def __init__(self, value: Value, level: Level) -> None:
        source, start, end = value.source, value.start, value.end
        text, last = source.text, end - 1
        if text[last - 1] in SPACE:
            last = start + len(text[start:last].rstrip(SPACE))
        self._value = value
        self._level = level
        self._parts: list[Part] = []
        if last == start + 1:  # it is empty
            last = start
        else:
            self._parts.append(Run(source, start, last))
        self._tail = text[last:end]

    def find(self, name: bytes) -> Sequence[Child]:
        """The members or the element of that name."""
        raise NotImplementedError

    def append(self, name: bytes, key: bytes, value: Value) -> bool:
        """Whether a member or element of a name that is not there could be added."""
        raise NotImplementedError

    def restore(self, name: bytes, children: Sequence[Child]) -> None:
        """Take back what was found under that name and removed, unless another has the name."""
        raise NotImplementedError

    def keep(self, kept: Sequence[Child]) -> None:
        """Remove all others."""
        children = [part for part in self._parts if isinstance(part, Child)]
        for child in children:
            child.gone = True
        for child in kept:
            child.gone = False
        self._parts = [child for child in children if not child.gone]

    def write(self, out: list[bytes]) -> None:
        """Append the pieces of its text as it is now."""
        first = len(out)
        for part in self._parts:
            if isinstance(part, Run):
                out.append(part.source.text[part.start : part.end])
            elif not part.gone:
                out += (part.before, part.key, part.colon)
                part.value.write(out)
        tail, opening = self._tail, self.opening
        if len(out) == first:
            out.append(tail if tail.startswith(opening) else opening + self.closing)
            return
        if not out[first].startswith(opening):
            out[first] = self._opening() + out[first].partition(b",")[2].lstrip(SPACE)
        out.append(tail)

    def _opening(self) -> bytes:
        """The bracket and the white space before what was the first, which was removed."""
        space = match_space(self._value.source.text, self._value.start + 1)
        return self.opening + (space[0] if space else b"")

    def _add(self, key: bytes, colon: bytes, space: bytes, value: Value) -> Child:
        """Add one at the end."""
        before = b"," + space
        if not self._parts:
            before, self._tail = self.opening, self.closing
        child = Child(before, key, colon, value)
        self._parts.append(child)
        return child


class Object(Container):
    """Members; doubled names are found together."""

    __slots__ = ("_named",)

    opening = b"{"
    closing = b"}"

    def __init__(self, value: Value, level: Level) -> None:
        super().__init__(value, level)
        self._named: dict[bytes, list[Child]] = {}
        self._split()

    def members(self) -> Iterator[tuple[bytes, Child]]:
        """Names and members that were split off."""
        return ((name, child) for name, children in self._named.items() for child in children if not child.gone)

    def find(self, name: bytes) -> Sequence[Child]:
        if not self._level.knows(name):
            self._level = EVERY
            self._split()
        return [child for child in self._named.get(name, ()) if not child.gone]

    def append(self, name: bytes, key: bytes, value: Value) -> bool:
        space, colon = self._style()
        self._named[name] = [self._add(key, colon, space, value)]
        return True

    def rename(self, old: bytes, new: bytes, key: bytes, children: Sequence[Child]) -> None:
        """Give members that were found and removed another name, in their old positions; others of that name go."""
        for other in self.find(new):
            other.gone = True
        self._named[old] = [*self.find(old)]
        self._named[new] = [*children]
        for child in children:
            child.gone = False
            child.key = key

    def restore(self, name: bytes, children: Sequence[Child]) -> None:
        if not self.find(name):
            self._named[name] = [*children]
            for child in children:
                child.gone = False

    def _split(self) -> None:
        parts, self._parts = self._parts, []
        for part in parts:
            if isinstance(part, Run):
                self._parts += self._members(part)
            else:
                self._parts.append(part)

    def _members(self, run: Run) -> Iterator[Part]:
        source, at, end = run.source, run.start, run.end
        shape, match_rest = source.shape, self._level.match_rest
        while at < end:
            rest = match_rest(shape, at, end)
            if rest and rest.end() > at:
                yield Run(source, at, rest.end())
                at = rest.end()
            else:
                part, at = self._member(source, shape, at)
                yield part

    def _member(self, source: Source, shape: bytes, at: int) -> tuple[Part, int]:
        """The member at an index, by itself where it is of interest, and the index behind it."""
        match = match_name(shape, at)
        assert match
        text, key_start, key_end, start = source.text, match.start(2), match.end(2), match.end()
        end = value_end(shape, start)
        key = text[key_start:key_end]
        name = name_of(key)
        if not self._level.knows(name):
            return Run(source, at, end), end
        member = Child(text[at:key_start], key, text[key_end:start], Value(source, start, end))
        if others := self._named.setdefault(name, []):
            source.count_doubled()
        others.append(member)
        return member, end

    def _style(self) -> tuple[bytes, bytes]:
        """The white space behind a comma, and the colon with what is around it, as they are at the first member."""
        if first := match_name(self._value.source.shape, self._value.start):
            return first[1][1:] or first[3].partition(b":")[2], first[3]
        return b"", b":"


class Array(Container):
    """Elements, split off from the first on as far as somebody asks for."""

    __slots__ = ()

    opening = b"["
    closing = b"]"

    def find(self, name: bytes) -> Sequence[Child]:
        index = index_of(name)
        return () if index is None else self._element(index)

    def append(self, name: bytes, key: bytes, value: Value) -> bool:  # noqa: ARG002
        if name == END:
            self._add(b"", b"", self._opening()[1:], value)
        return name == END

    def restore(self, name: bytes, children: Sequence[Child]) -> None:  # noqa: ARG002
        for child in children:
            child.gone = False

    def _element(self, index: int) -> Sequence[Child]:
        """That element, split off now if it is in a run."""
        before = index
        for at, part in enumerate(self._parts):
            if isinstance(part, Child):
                if not part.gone:
                    if not before:
                        return (part,)
                    before -= 1
            elif part.count and part.count <= before:
                before -= part.count
            else:
                self._parts[at : at + 1] = _split_off(part, before)
                return self._element(index)
        return ()


def _split_off(run: Run, index: int) -> Iterator[Part]:
    """The elements before an index of a run, that at the index by itself, and the rest."""
    source, at, end = run.source, run.start, run.end
    shape, count = source.shape, 0
    while at < end and count < index:
        match = match_element(shape, at)
        at = match.end() if match else value_end(shape, _value_start(shape, at))
        count += 1
    if count:
        yield Run(source, run.start, at, count)
    if at < end:
        start = _value_start(shape, at)
        value = Value(source, start, value_end(shape, start))
        yield Child(source.text[at:start], b"", b"", value)
        if value.end < end:
            yield Run(source, value.end, end, run.count and run.count - count - 1)


def _value_start(shape: bytes, at: int) -> int:
    """Where the value of the element begins whose bracket or comma is at an index."""
    match = match_comma(shape, at)
    assert match
    return match.end()


_CONTAINERS: Final[dict[bytes, type[Object] | type[Array]]] = {b"{": Object, b"[": Array}
