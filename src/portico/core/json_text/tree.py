"""A text of JSON as a tree that is no finer than somebody asks for: the rest are runs of the text as it was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, TypeAlias

from portico.core.json_text.errors import JsonEditError
from portico.core.json_text.pointers import END, EVERY, Level, index_of
from portico.core.json_text.syntax import SPACE, match_comma, match_name, match_space, name_of, shape_of, value_end

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

    __slots__ = ("source", "start", "end")

    def __init__(self, source: Source, start: int, end: int) -> None:
        self.source = source
        self.start = start
        self.end = end


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
        last = start + len(source.text[start : end - 1].rstrip(SPACE))
        is_empty = last == start + 1
        self._value = value
        self._level = level
        self._parts: list[Part] = [] if is_empty else [Run(source, start, last)]
        self._tail = source.text[start:end] if is_empty else source.text[last:end]

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
        parts = [part for part in self._parts if isinstance(part, Run) or not part.gone]
        if not parts:
            is_emptied = not self._tail.startswith(self.opening)
            out.append(self.opening + self.closing if is_emptied else self._tail)
            return
        first = len(out)
        for part in parts:
            if isinstance(part, Run):
                out.append(part.source.text[part.start : part.end])
            else:
                out += (part.before, part.key, part.colon)
                part.value.write(out)
        if not out[first].startswith(self.opening):
            out[first] = self._opening() + out[first].partition(b",")[2].lstrip(SPACE)
        out.append(self._tail)

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
        shape, at = run.source.shape, run.start
        while at < run.end:
            rest = self._level.match_rest(shape, at, run.end)
            if rest and rest.end() > at:
                yield Run(run.source, at, rest.end())
                at = rest.end()
            else:
                part, at = self._member(run.source, at)
                yield part

    def _member(self, source: Source, at: int) -> tuple[Part, int]:
        """The member at an index, by itself where it is of interest, and the index behind it."""
        match = match_name(source.shape, at)
        assert match
        start, end = match.end(), value_end(source.shape, match.end())
        before, key, colon = (source.text[match.start(group) : match.end(group)] for group in (1, 2, 3))
        name = name_of(key)
        if not self._level.knows(name):
            return Run(source, at, end), end
        member = Child(before, key, colon, Value(source, start, end))
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
        return () if index is None else self._elements(index)[index : index + 1]

    def append(self, name: bytes, key: bytes, value: Value) -> bool:  # noqa: ARG002
        if name == END:
            self._add(b"", b"", self._opening()[1:], value)
        return name == END

    def restore(self, name: bytes, children: Sequence[Child]) -> None:  # noqa: ARG002
        for child in children:
            child.gone = False

    def _elements(self, most: int) -> list[Child]:
        """The elements up to that index, and perhaps some more."""
        found: list[Child] = []
        for at, part in enumerate(self._parts):
            if len(found) > most:
                break
            if isinstance(part, Run):
                self._parts[at : at + 1] = _split_off(part, max(most + 1 - len(found), self._level.elements))
                return self._elements(most)
            if not part.gone:
                found.append(part)
        return found


def _split_off(run: Run, count: int) -> Iterator[Part]:
    """So many elements by themselves, and the rest."""
    source, at = run.source, run.start
    while at < run.end and count:
        match = match_comma(source.shape, at)
        assert match
        start, end = match.end(), value_end(source.shape, match.end())
        yield Child(match[0], b"", b"", Value(source, start, end))
        at = end
        count -= 1
    if at < run.end:
        yield Run(source, at, run.end)


_CONTAINERS: Final[dict[bytes, type[Object] | type[Array]]] = {b"{": Object, b"[": Array}
