"""Values of rules: text with names in it, of which those that the rule's own path captures are some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from portico.core.errors import MessageError
from portico.core.exchange import Exchange
from portico.core.patterns.pattern import Pattern
from portico.policies.templates import NO_OTHERS, Read, Variable, parts_of, plain_text
from portico.policies.when import When, by_path

_Captures: TypeAlias = Callable[[str], Mapping[str, bytes]]
"""What the groups of a pattern capture of a path, by their names."""


class Captured:
    """What one group of a pattern captured of the client's path."""

    __slots__ = ("_captures", "_name")

    def __init__(self, captures: _Captures, name: str) -> None:
        self._captures = captures
        self._name = name

    def __call__(self, exchange: Exchange) -> str:
        """Decoded; nothing where that is no UTF-8."""
        try:
            return unquote_to_bytes(self.raw(exchange)).decode()
        except UnicodeDecodeError:
            return ""

    def raw(self, exchange: Exchange) -> bytes:
        """Byte for byte as the client sent it."""
        return self._captures(exchange.match.path).get(self._name, b"")


def _captures(pattern: Pattern) -> _Captures:
    def captured(path: str) -> Mapping[str, bytes]:
        try:
            return pattern.captured(path.encode()) or {}
        except MessageError:
            return {}

    return by_path(captured)


class Target:
    """The path that the service would get, without the slash at its beginning; in paths only."""

    NAME: Final = "path"

    def __call__(self, exchange: Exchange) -> str:
        return exchange.match.target[1:].decode("latin-1")


def captures_of(when: When | None) -> dict[str, Read]:
    """The names that a rule's path adds to those that its values may have."""
    pattern = None if when is None else when.captures
    if pattern is None:
        return {}
    captures = _captures(pattern)
    return {name: Captured(captures, name) for name in pattern.names}


class Text:
    """A text with names in it. Raises ValueError, as `parts_of` does."""

    __slots__ = ("alone", "fixed", "is_by_url", "parts")

    def __init__(self, written: str, captures: Mapping[str, Read] = NO_OTHERS) -> None:
        self.parts = parts_of(written, captures)
        variables = [part for part in self.parts if isinstance(part, Variable)]
        self.fixed = None if variables else "".join(map(str, self.parts))
        """The text itself, where it is the same for every exchange."""
        self.is_by_url = all(isinstance(part.read, Captured | Target) for part in variables)
        """Whether the client's URL decides it alone."""
        self.alone = variables[0] if len(self.parts) == len(variables) == 1 else None
        """Its name, if it is nothing else."""

    def render(self, exchange: Exchange, encode: Callable[[str], str] = str) -> str | None:
        """The text, with `encode` applied to its parts; None where one of its names has no value and no default."""
        alone = self.alone
        if alone is not None:
            text = plain_text(alone.read(exchange)) or alone.default
            return text if text is None else encode(text)
        pieces = []
        for part in self.parts:
            piece: Any = part
            if isinstance(part, Variable):
                piece = plain_text(part.read(exchange)) or part.default
                if piece is None:
                    return None
            pieces.append(encode(piece))
        return "".join(pieces)
