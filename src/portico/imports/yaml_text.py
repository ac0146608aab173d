"""Plain data as the YAML that people would write: what fits is on one line, comments stand above what they mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from portico.config.document import scalar
from portico.config.problems import KeyPath

if TYPE_CHECKING:
    from portico.imports.draft import Part

WIDTH: Final = 140
"""Letters of a line, beyond which a value gets lines of its own."""

_BEGINS_VARIABLE: Final = re.compile(r"\$(?=[${])")
_PLAIN: Final = re.compile(r"[A-Za-z/_][A-Za-z0-9_./+-]*(?: [A-Za-z0-9_./+-]+)*|[0-9]+(?:ms|[smhd]|[KMG]iB)")


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that is read from the environment."""

    name: str

    def __str__(self) -> str:
        return f"${{{self.name}}}"


@dataclass(slots=True)
class Writer:
    """Collects lines; `owners` has the part that each of them is of."""

    lines: list[str] = field(default_factory=list)
    owners: list[Part | None] = field(default_factory=list)
    _part: Part | None = None

    def text(self) -> str:
        return "\n".join([*self.lines, ""])

    def owner(self, line: int | None) -> Part | None:
        """The part that a line, counted from 1, is of."""
        return self.owners[line - 1] if line is not None and 0 < line <= len(self.owners) else None

    def comment(self, text: str, indent: int = 0) -> None:
        self._line(f"{' ' * indent}# {text}")

    def section(self, name: str, part: Part) -> None:
        """A part with a key of its own at the top."""
        self._open(name, part)
        self._mapping(part.data, 2, part, ())

    def heads(self, name: str, parts: Mapping[str, Part]) -> None:
        """Parts by their names."""
        self._open(name, None)
        for key, part in parts.items():
            self._part = part
            self._comments(part, (), 2)
            self._value(f"  {_text(str(key))}:", part.data, 4, part, ())
        self._part = None

    def items(self, name: str, parts: Iterable[Part]) -> None:
        """Parts in their order."""
        self._open(name, None)
        for part in parts:
            self._part = part
            self._comments(part, (), 2)
            self._item(part.data, 2, part, ())
        self._part = None

    def _open(self, name: str, part: Part | None) -> None:
        self._part = None
        self._line("")
        self._part = part
        if part is not None:
            self._comments(part, (), 0)
        self._line(f"{name}:" if part is None or part.data else f"{name}: {{}}")

    def _line(self, text: str) -> None:
        self.lines.append(text)
        self.owners.append(self._part)

    def _comments(self, part: Part, at: KeyPath, indent: int) -> None:
        for text in part.comments.get(at, ()):
            self.comment(text, indent)

    def _mapping(self, data: Mapping[str, Any], indent: int, part: Part, at: KeyPath) -> None:
        for key, value in data.items():
            self._comments(part, (*at, key), indent)
            self._value(f"{' ' * indent}{_text(str(key))}:", value, indent + 2, part, (*at, key))

    def _value(self, head: str, value: Any, indent: int, part: Part, at: KeyPath) -> None:
        line = self._on_one_line(head, value, part, at)
        self._line(line or head)
        if line:
            return
        if isinstance(value, dict):
            self._mapping(value, indent, part, at)
        else:
            for index, item in enumerate(value):
                self._comments(part, (*at, index), indent)
                self._item(item, indent, part, (*at, index))

    def _item(self, value: Any, indent: int, part: Part, at: KeyPath) -> None:
        head = " " * indent + "-"
        line = self._on_one_line(head, value, part, at)
        if line or not isinstance(value, dict):
            self._line(line or f"{head} {flow(value)}")
            return
        start = len(self.lines)
        self._mapping(value, indent + 2, part, at)
        while self.lines[start].lstrip().startswith("#"):
            self.lines[start] = self.lines[start][2:]  # above the item
            start += 1
        self.lines[start] = f"{head} {self.lines[start].lstrip()}"

    def _on_one_line(self, head: str, value: Any, part: Part, at: KeyPath) -> str:
        """The line with a value, where it has room there; else nothing."""
        is_open = isinstance(value, (dict, list, tuple)) and value
        if is_open and any(len(path) > len(at) and path[: len(at)] == at for path in part.comments):
            return ""
        line = f"{head} {flow(value)}"
        return "" if is_open and len(line) > WIDTH else line


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return "{" + ", ".join([f"{_text(str(key))}: {flow(part)}" for key, part in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(int(value)) if value == int(value) else repr(value)
    return f'"{value}"' if isinstance(value, Variable) else _text(str(value))


@lru_cache(maxsize=4096)
def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and scalar(text) == text:
        return text
    return _quoted(_BEGINS_VARIABLE.sub("$$", text))


def _quoted(text: str) -> str:
    if text.isprintable() and "\\" in text and "'" not in text:
        return f"'{text}'"  # a pattern is easier to read so
    return json.dumps(text, ensure_ascii=not text.isprintable())
