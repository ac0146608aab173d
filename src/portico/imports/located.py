"""Sources in YAML, JSON and TOML: values that know the line they were written on."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from portico.config.document import Node, parse_document, scalar
from portico.config.problems import ConfigError
from portico.imports.remarks import SourceError, Where, quoted

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a file that is read."""
_DEEPEST: Final = 64
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?")
_KINDS: Final = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a section",
}


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a source: text, a number, a truth value, nothing, a list of values, or values by their names.

    The questions raise SourceError, with the line, where the value is of another kind.
    """

    file: str
    line: int
    name: str
    raw: Any

    @property
    def where(self) -> Where:
        return Where(self.file, self.line)

    def wrong(self, expected: str) -> SourceError:
        """What is raised where `expected` was not written."""
        kind = "nothing" if self.raw is None else _KINDS[type(self.raw)]
        return SourceError(self.where, f"{self.name}: expected {expected}, and this is {kind}")

    def entries(self) -> dict[str, Value]:
        """Values by their names; none where nothing is written."""
        if self.raw is None:
            return {}
        if not isinstance(self.raw, dict):
            raise self.wrong("a section")
        return self.raw

    def items(self) -> list[Value]:
        """The values of a list; none where nothing is written."""
        if self.raw is None:
            return []
        if not isinstance(self.raw, list):
            raise self.wrong("a list")
        return self.raw

    def text(self) -> str:
        """A text; a number or truth value as it would be written."""
        if isinstance(self.raw, bool):
            return "true" if self.raw else "false"
        if isinstance(self.raw, (str, int, float)):
            return str(self.raw)
        raise self.wrong("text")

    def number(self) -> float:
        """A number, also where it is written as text."""
        found: float | None = None
        is_number = isinstance(self.raw, (int, float)) and not isinstance(self.raw, bool)
        if is_number or (isinstance(self.raw, str) and _NUMBER.fullmatch(self.raw)):
            found = float(self.raw)
        if found is None or abs(found) > 1e18:
            raise self.wrong("a number")
        return found

    def whole(self) -> int:
        """A whole number."""
        found = self.number()
        if found != int(found):
            raise self.wrong("a whole number")
        return int(found)

    def flag(self) -> bool:
        """A truth value, also where it is written as text."""
        if isinstance(self.raw, str) and self.raw.lower() in ("true", "false"):
            return self.raw.lower() == "true"
        if not isinstance(self.raw, bool):
            raise self.wrong("true or false")
        return self.raw

    def texts(self) -> list[str]:
        """The texts of a list; one text alone is a list of it."""
        if isinstance(self.raw, str):
            return [self.raw]
        return [item.text() for item in self.items()]

    def has(self, key: str) -> bool:
        """Whether something is written at a key."""
        return isinstance(self.raw, dict) and key in self.raw and self.raw[key].raw is not None

    def get(self, key: str) -> Value:
        """The value at a key; one of nothing where it is not written."""
        found: Value | None = self.entries().get(key)
        return (
            found
            if found is not None
            else Value(self.file, self.line, f"{self.name}.{key}" if self.name else key, None)
        )

    def text_at(self, key: str, default: str = "") -> str:
        """The text at a key, or the default."""
        return self.raw[key].text() if self.has(key) else default

    def flag_at(self, key: str, *, default: bool = False) -> bool:
        """The truth value at a key, or the default."""
        return self.raw[key].flag() if self.has(key) else default

    def plain(self) -> Any:
        """The same as plain data, without lines."""
        if isinstance(self.raw, dict):
            return {key: value.plain() for key, value in self.raw.items()}
        if isinstance(self.raw, list):
            return [value.plain() for value in self.raw]
        return self.raw


def read_text(file: Path) -> str:
    """What is in a file. Raises SourceError."""
    where = Where(str(file))
    try:
        if not file.is_file():
            raise SourceError(where, "there is no such file" if not file.exists() else "this is no file")
        if file.stat().st_size > LARGEST:
            raise SourceError(where, f"larger than {LARGEST // 2**20} MiB: no configuration is")
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SourceError(where, error.strerror or "cannot be read") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SourceError(Where(str(file), line), "not text: this byte is none of UTF-8") from None
    return text.replace("\r\n", "\n")


def read_yaml(file: Path, text: str | None = None) -> Value:
    """A file of YAML, or of JSON. Raises SourceError, with the line at fault."""
    name = str(file)
    try:
        document = parse_document(read_text(file) if text is None else text, name)
    except ConfigError as error:
        problem = error.problems[0]
        raise SourceError(Where(name, problem.line), problem.message) from None
    return _of_node(name, document.root, "")


def read_toml(file: Path) -> Value:
    """A file of TOML. Raises SourceError, with the line at fault."""
    name, text = str(file), read_text(file)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        message = str(error).partition(" (at ")[0]
        raise SourceError(Where(name, int(found[1]) if found else None), f"not valid TOML: {message}") from None
    except RecursionError:
        raise SourceError(Where(name), f"nested more than {_DEEPEST} deep") from None
    lines: dict[tuple[str | int, ...], int] = {}
    for path, line in _toml_lines(text):
        lines[path] = line
        for length in range(1, len(path)):
            lines.setdefault(path[:length], line)
    return _of_tree(name, tree, (), lines, 1)


def _of_node(file: str, node: Node, name: str) -> Value:
    content: Any = node.content
    if isinstance(content, dict):
        inner = f"{name}." if name else ""
        raw: Any = {}
        for key, entry in content.items():
            value = _of_node(file, entry.value, f"{inner}{quoted(key)}")
            line = value.line if entry.merged else entry.line
            raw[key] = value if value.line == line else Value(file, line, value.name, value.raw)
    elif isinstance(content, list):
        raw = [_of_node(file, each, f"{name}[{index}]") for index, each in enumerate(content)]
    else:
        raw = scalar(content) if node.plain else content
    return Value(file, node.line, name, raw)


_HEADER: Final = re.compile(r"\s*(\[\[?)(.+?)\]\]?\s*(?:#.*)?")
_KEY: Final = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=(.*)""")
_PIECE: Final = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def _toml_lines(text: str) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """The lines of tables and keys, as far as they begin a line of their own."""
    table: tuple[str | int, ...] = ()
    counts: dict[tuple[str | int, ...], int] = {}
    fence = ""
    for number, line in enumerate(text.split("\n"), 1):
        if fence:
            fence = "" if fence in line else fence
            continue
        if header := _HEADER.fullmatch(line):
            table = _within(counts, tuple(piece.strip("\"'") for piece in _PIECE.findall(header[2])))
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            yield table, number
        elif key := _KEY.match(line):
            yield (*table, *(piece.strip("\"'") for piece in _PIECE.findall(key[1]))), number
            opened = next((mark for mark in ('"""', "'''") if key[2].count(mark) == 1), "")
            fence = opened


def _within(counts: dict[tuple[str | int, ...], int], names: tuple[str, ...]) -> tuple[str | int, ...]:
    """The path of a table, in the last one of each list of tables above it."""
    path: tuple[str | int, ...] = ()
    for name in names[:-1]:
        path = (*path, name)
        if path in counts:
            path = (*path, counts[path])
    return (*path, *names[-1:])


def _of_tree(
    file: str, tree: Any, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int], near: int
) -> Value:
    if len(path) > _DEEPEST:
        raise SourceError(Where(file, near), f"nested more than {_DEEPEST} deep")
    line = lines.get(path, near)
    if isinstance(tree, dict):
        raw: Any = {key: _of_tree(file, value, (*path, key), lines, line) for key, value in tree.items()}
    elif isinstance(tree, list):
        raw = [_of_tree(file, value, (*path, index), lines, line) for index, value in enumerate(tree)]
    else:
        raw = tree if isinstance(tree, (str, bool, int, float)) else str(tree)
    name = ".".join(quoted(str(part)) for part in path).replace(".[", "[")
    return Value(file, line, name, raw)
