"""The path templates of a document, compiled: which of them a path fits, the more concrete ones first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

T = TypeVar("T")

_EXPRESSION: Final = re.compile(r"\{([^{}/]*)\}")
_LITERAL, _MIXED, _ANY = range(3)

Segments: TypeAlias = tuple[bytes, ...]
"""Those of a path, each decoded: `/users/a%2Fb` is `(b"users", b"a/b")`."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a template: literal pieces, and between each two of them a name that stands for a character or more.

    Without a name it is one piece.
    """

    pieces: tuple[bytes, ...]
    names: tuple[str, ...]

    @property
    def kind(self) -> int:
        """How concrete it is: the smaller the more."""
        return _LITERAL if not self.names else _ANY if self.pieces == (b"", b"") else _MIXED

    def fits(self, value: bytes) -> bool:
        """Whether a value is one of those that it stands for."""
        first, *between, last = self.pieces if self.names else (self.pieces[0], b"")
        if not self.names:
            return value == first
        if not (value.startswith(first) and value.endswith(last)):
            return False
        start = len(first)
        for piece in between:
            found = value.find(piece, start + 1)
            if found < 0:
                return False
            start = found + len(piece)
        return len(value) - len(last) > start


def segments_of_template(template: str) -> tuple[Segment, ...]:
    """The segments of a template that begins with a slash."""
    return tuple(map(_segment, template[1:].split("/")))


def _segment(text: str) -> Segment:
    parts = _EXPRESSION.split(text)
    return Segment(tuple(unquote_to_bytes(piece) for piece in parts[::2]), tuple(parts[1::2]))


@dataclass(slots=True)
class _Node(Generic[T]):
    literals: dict[bytes, _Node[T]] = field(default_factory=dict)
    mixed: dict[tuple[bytes, ...], tuple[Segment, _Node[T]]] = field(default_factory=dict)
    any: _Node[T] | None = None
    values: list[T] = field(default_factory=list)

    def below(self, segment: Segment) -> _Node[T]:
        if segment.kind == _LITERAL:
            return self.literals.setdefault(segment.pieces[0], _Node())
        if segment.kind == _MIXED:
            return self.mixed.setdefault(segment.pieces, (segment, _Node()))[1]
        if self.any is None:
            self.any = _Node()
        return self.any

    def fitting(self, value: bytes) -> Iterator[tuple[int, _Node[T]]]:
        """What is below for a segment, with how concrete each is, the more concrete ones first."""
        if value in self.literals:
            yield _LITERAL, self.literals[value]
        if value:
            for segment, node in self.mixed.values():
                if segment.fits(value):
                    yield _MIXED, node
            if self.any is not None:
                yield _ANY, self.any


class Templates(Generic[T]):
    """Finds what stands under the templates that a path fits. A template's name stands for no empty segment."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, segments: Sequence[Segment], value: T) -> None:
        """Put a value under a template."""
        node = self._root
        for segment in segments:
            node = node.below(segment)
        node.values.append(value)

    def find(self, segments: Segments) -> list[tuple[tuple[int, ...], list[T]]]:
        """What is under each template that fits, with how concrete that is in each segment: the first one the most."""
        found: list[tuple[tuple[int, ...], list[T]]] = []
        coming: list[tuple[_Node[T], tuple[int, ...]]] = [(self._root, ())]
        while coming:
            node, kinds = coming.pop()
            if len(kinds) == len(segments):
                if node.values:
                    found.append((kinds, node.values))
                continue
            below = [(each, (*kinds, kind)) for kind, each in node.fitting(segments[len(kinds)])]
            coming.extend(reversed(below))
        return found
