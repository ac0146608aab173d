"""What the path becomes on a route with a pattern: `{name}` stands for what a group captured, `{path}` for the path.

What is captured is written as the client sent it, byte for byte, and no path in which a service may go upwards comes of
it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from portico.core.caches import remembered
from portico.core.errors import MessageError
from portico.core.paths import readings, segments_of
from portico.core.patterns.pattern import Pattern, path_text
from portico.core.patterns.safety import backtracks_in_linear_time
from portico.core.patterns.syntax import Branch, Group, One, Sequence
from portico.core.placeholders import PATH, pieces_of
from portico.proxy.routing.route import Rewrite

Pieces = tuple[bytes | str, ...]
"""Literal parts, and the names between them."""


@dataclass(frozen=True, slots=True)
class CapturedRewrite(Rewrite):
    """The path that a service sees of one that a pattern matches."""

    pattern: Pattern | None = None
    pieces: Pieces = ()
    beginning: bytes = b""
    """The pattern's."""
    form: _Form | None = None
    """What makes it of most paths; None where nothing is captured."""
    undoing: Pattern | None = None
    """What matches the paths that come of it, with the same names; None where they do not say where they come from."""

    @classmethod
    def by(cls, template: str, pattern: Pattern) -> CapturedRewrite:
        """From the configuration's form, `/u/{id}`, and the route's pattern."""
        pieces = pieces_of(template)
        before, after = pieces[0], pieces[-1]
        assert isinstance(before, bytes)
        return cls(
            before=before,
            after=after if isinstance(after, bytes) and len(pieces) > 1 else b"",
            keeps_path=len(pieces) > 1,
            prefix=pattern.prefix.rstrip("/").encode(),
            pattern=pattern,
            pieces=pieces,
            beginning=pattern.beginning.encode(),
            form=_form(pieces, pattern.expression) if captures(pieces) else None,
            undoing=_undoing(pieces, pattern),
        )

    @property
    def is_identity(self) -> bool:
        return self.pieces == (b"/", PATH)

    def apply(self, path: bytes, depth: int) -> bytes:  # noqa: ARG002
        """The rewritten form of `path`; nothing where the pattern does not match it. Raises MessageError."""
        beginning = self.beginning
        if self.form is not None and b"%" not in path and path.startswith(beginning):
            target = self.form.filled(path, len(beginning))
        else:
            assert self.pattern is not None
            target = filled(self.pieces, self.pattern, path)
        check_target(target)
        return target

    def undo(self, path: bytes) -> bytes | None:
        """The path by which clients get to what the service calls `path`; None where that cannot be told."""
        assert self.pattern is not None
        if self.pieces[1:2] == (PATH,) and len(self.pieces) <= 3:
            inner = path.removeprefix(self.before).removesuffix(self.after)
            return b"/" + inner if path == self.before + inner + self.after else None
        if not captures(self.pieces):
            return None
        try:
            public = self._undone(path)
            if public and filled(self.pieces, self.pattern, public) == path:
                return public
            return path if filled(self.pieces, self.pattern, path) else None  # it is the clients' already
        except MessageError:
            return None

    def _undone(self, path: bytes) -> bytes:
        captured = self.undoing.captured(path) if self.undoing is not None else None
        assert self.pattern is not None
        outline = self.pattern.outline
        if captured is None or outline is None:
            return b""
        return b"".join(part.encode() if isinstance(part, str) else captured[part.name] for part in outline)


@dataclass(frozen=True, slots=True)
class _Form:
    """Makes it of paths without encoded characters.

    Routes whose patterns differ in their beginning alone share one: thousands would not be in the processor's caches.
    """

    match: Callable[[str, int], re.Match[str] | None]
    template: str

    def filled(self, path: bytes, start: int) -> bytes:
        """Nothing where the pattern does not match what is behind `start`."""
        text = path.decode("latin-1")
        found = self.match(text, start)
        return b"" if found is None else self.template.format(text[1:], *found.groups("")).encode("latin-1")


@remembered(2048)
def _form(pieces: Pieces, expression: re.Pattern[str]) -> _Form:
    places = {PATH: 0, **expression.groupindex}
    literals = (
        piece.decode("latin-1").replace("{", "{{").replace("}", "}}")
        if isinstance(piece, bytes)
        else f"{{{places[piece]}}}"
        for piece in pieces
    )
    return _Form(expression.match, "".join(literals))


def filled(pieces: Pieces, pattern: Pattern, path: bytes) -> bytes:
    """The pieces with what the pattern captures of a path that it matches; nothing where it does not."""
    captured = pattern.captured(path) if captures(pieces) else {}
    if captured is None:
        return b""
    return b"".join(
        piece if isinstance(piece, bytes) else path[1:] if piece == PATH else captured[piece] for piece in pieces
    )


def captures(pieces: Pieces) -> bool:
    """Whether something that was captured is among them."""
    return any(isinstance(piece, str) and piece != PATH for piece in pieces)


def check_target(target: bytes) -> None:
    """Raises MessageError for a path in which a service may go upwards: `x-..` is none until its end is captured."""
    if b"." in target or b"%" in target:
        segments = segments_of(target)
        readings(segments)


def _undoing(pieces: Pieces, pattern: Pattern) -> Pattern | None:
    """The pattern of the paths that come of a rewrite, if each is that of one path only."""
    outline = pattern.outline
    groups = {part.name: part for part in outline or () if isinstance(part, Group)}
    names = [piece for piece in pieces if isinstance(piece, str)]
    if outline is None or sorted(names) != sorted(groups):
        return None
    try:
        parts = [part for piece in pieces for part in ([groups[piece]] if isinstance(piece, str) else _literal(piece))]
    except MessageError:
        return None
    branches = (Branch(Sequence(tuple(parts)), begins=True, ends=True),)
    return Pattern("", branches) if backtracks_in_linear_time(branches) else None


def _literal(piece: bytes) -> list[One]:
    """What matches a piece of a path; raises MessageError where the piece alone has a dot segment."""
    return [One(frozenset({ord(symbol)})) for symbol in path_text(segments_of(b"/" + piece))[1:]]
