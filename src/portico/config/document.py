"""A YAML file read into nodes that remember where each of them was written.

The reader differs from PyYAML's own where that is surprising: a key written twice is an error, keys are text as written
(`on:` is no boolean), `012`, `1:30` and `2024-01-01` stay text, `${NAME}`, `/{path}` and `/{id}` need no quotes
between the braces of a mapping, and a file that is small but expands to millions of values through aliases is refused.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from portico.config.problems import ConfigError, Finding, KeyPath, Problem, dotted

MAX_VALUES = 1_000_000
MAX_DEPTH = 64

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAGS = {None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq"))}
_OF_PLAIN = (":int", ":float", ":bool", ":null")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **{form: True for word in ("true", "yes", "on") for form in (word, word.title(), word.upper())},
    **{form: False for word in ("false", "no", "off") for form in (word, word.title(), word.upper())},
}
_FIRST_OF_NUMBERS = frozenset("+-.0123456789")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?=[0-9]*[.eE])(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")


_PLACEHOLDER = re.compile(r"(?:\$|(?<=[^\s\[\]{},:])(?=\{[A-Za-z_][\w:]*\}))\{([^{}\n]*)\}")
_UNQUOTED_PLACEHOLDER = re.compile(_PLACEHOLDER.pattern.replace(r"[^{}\n]", r"[^{}\n\"']"))


@dataclass(slots=True)
class Node:
    """One value. `size` counts the values it stands for with every alias written out, `height` its nesting.

    That of a scalar is written from character `start` of the text to `end`, with its anchor, tag and quotes.
    """

    line: int
    column: int
    content: str | list[Node] | dict[str, Entry]
    plain: bool = False
    size: int = 1
    height: int = 1
    start: int = 0
    end: int = 0


@dataclass(slots=True)
class Entry:
    """The position of a key, and its value; a `merged` one came in through `<<`."""

    line: int
    column: int
    value: Node
    merged: bool = False


@dataclass(slots=True)
class Document:
    """A parsed file: its nodes and its name for messages.

    `files` names those that other files have brought in, by the first two parts of their paths.
    """

    filename: str
    root: Node
    files: dict[KeyPath, str] = field(default_factory=dict)

    def at(self, path: KeyPath) -> Node | None:
        """The value at `path`; None where nothing is written there."""
        node = self.root
        for part in path:
            if isinstance(node.content, dict) and isinstance(part, str) and part in node.content:
                node = node.content[part].value
            elif isinstance(node.content, list) and isinstance(part, int) and part < len(node.content):
                node = node.content[part]
            else:
                return None
        return node

    def locate(self, path: KeyPath, *, at_key: bool = False) -> tuple[int, int]:
        """The line and column of what stands at `path`, or of the nearest thing around it."""
        node, position = self.root, (self.root.line, self.root.column)
        for depth, part in enumerate(path):
            if isinstance(node.content, dict) and isinstance(part, str) and part in node.content:
                entry = node.content[part]
                node = entry.value
                last = at_key and depth == len(path) - 1
                position = (entry.line, entry.column) if last else (node.line, node.column)
            elif isinstance(node.content, list) and isinstance(part, int) and part < len(node.content):
                node = node.content[part]
                position = (node.line, node.column)
            else:
                break
        return position

    def problem(self, finding: Finding) -> Problem:
        line, column = self.locate(finding.path, at_key=finding.at_key)
        filename = self.files.get(finding.path[:2], self.filename)
        return Problem(filename, line, column, dotted(finding.path), finding.message, finding.suggestion)


def parse_document(text: str, filename: str) -> Document:
    """Read one YAML document. Raises ConfigError for invalid YAML, with the position of the error."""
    if wrong := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line, column = text.count("\n", 0, wrong.start()) + 1, wrong.start() - text.rfind("\n", 0, wrong.start())
        message = f"not valid YAML: the character {wrong[0]!a} is not allowed"
        raise ConfigError([Problem(filename, line, column, "", message)])
    opening, closing = _unused_characters(text)

    def read(placeholder: re.Pattern[str]) -> Document:
        shielded = placeholder.sub(lambda found: found[0].replace("{", opening).replace("}", closing), text)
        composer = _Composer(filename, str.maketrans({opening: "{", closing: "}"}))
        return Document(filename, composer.compose(shielded))

    try:
        return read(_PLACEHOLDER)
    except ConfigError:
        with contextlib.suppress(ConfigError):  # in {url: "${NAME"} the brace behind the quote is the mapping's
            return read(_UNQUOTED_PLACEHOLDER)
        raise


def _unused_characters(text: str) -> tuple[str, str]:
    """Two characters to stand for the braces of placeholders while YAML is read, so that it sees no mapping there.

    They come from Unicode's private use area, which YAML allows; the positions of everything else stay the same.
    """
    free = (chr(code) for code in range(0xE000, 0xF900) if chr(code) not in text)
    return next(free, "{"), next(free, "}")


def _wrong_tab(text: str, line: int, column: int) -> int | None:
    """The index of a tab that indents a line, or that stands where the reader stopped."""
    written = "".join(text.splitlines()[line : line + 1])
    if written[column : column + 1] == "\t":
        return column
    index = written.find("\t")
    return index if index >= 0 and not written[:index].strip(" -?:") else None


def _unquoted(text: str, error: yaml.MarkedYAMLError) -> tuple[int, str] | None:
    """The index of a word that YAML reads as something else unless it is quoted, and the word."""
    in_name = error.context in ("while scanning an alias", "while scanning an anchor")
    mark = error.context_mark if in_name else error.problem_mark
    written = "".join(text.splitlines()[mark.line : mark.line + 1]) if mark else ""
    found = re.match(r"[*&@`%][^\s,\[\]{}\"']*", written[mark.column :]) if mark else None
    return (mark.column, found[0]) if mark and found else None


def scalar(text: str) -> str | int | float | bool | None:
    """What an unquoted word means."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _FIRST_OF_NUMBERS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    node: Node
    anchor: str | None
    key: tuple[str, int, int, bool] | None = None
    merges: list[Node] = field(default_factory=list)


class _Composer:
    """Builds nodes from events with a stack of its own, so that depth costs no recursion."""

    def __init__(self, filename: str, placeholders: dict[int, str]) -> None:
        self.filename = filename
        self.placeholders = placeholders
        self.open: list[_Open] = []
        self.anchors: dict[str, Node] = {}
        self.unfinished: set[str] = set()
        self.root: Node | None = None

    def compose(self, text: str) -> Node:
        try:
            loader = _LOADER(text)
            try:
                for event in iter(loader.get_event, None):
                    handle = _HANDLERS.get(type(event))
                    if handle is not None:
                        handle(self, event)
            finally:
                loader.dispose()
        except yaml.YAMLError as error:
            raise ConfigError([self._not_yaml(text, error)]) from None
        return self.root or Node(1, 1, {})

    def _not_yaml(self, text: str, error: yaml.YAMLError) -> Problem:
        if not isinstance(error, yaml.MarkedYAMLError):
            return Problem(self.filename, None, None, "", "not valid YAML")
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        reason = f"not valid YAML: {error.problem or error.context}"
        if mark and (tab := _wrong_tab(text, mark.line, mark.column)) is not None:
            column, reason = tab + 1, "not valid YAML: a tab is not allowed here; use spaces"
        elif found := _unquoted(text, error):
            column, reason = found[0] + 1, f"not valid YAML: {found[1][0]} has a meaning of its own here; "
            is_shown = re.fullmatch(r"\*(?:\.[A-Za-z0-9.-]+)?", found[1])  # anything else may be a secret
            reason += f'quote it: "{found[1]}"' if is_shown else "put the text into quotes"
        return Problem(self.filename, line, column, "", reason)

    def _document(self, event: Any) -> None:
        if self.root is not None:
            raise self._error(event, "only one document is read from a file; remove the second `---`")

    def _alias(self, event: Any) -> None:
        self._add(self._aliased(event), event)

    def _error(self, event: Any, message: str) -> ConfigError:
        mark = event.start_mark
        return ConfigError([Problem(self.filename, mark.line + 1, mark.column + 1, "", message)])

    def _check_tag(self, event: Any) -> None:
        if event.tag not in _TAGS:
            raise self._error(event, f"the tag {event.tag} is not supported")

    def _scalar(self, event: Any) -> None:
        text, tag, mark = event.value, event.tag, event.start_mark
        if not text.isascii():
            text = text.translate(self.placeholders)
        plain = event.implicit[0]
        if tag is not None:
            self._check_tag(event)
            plain = plain or tag.endswith(_OF_PLAIN)
        if event.anchor is None and self.open:
            parent = self.open[-1]
            if parent.key is None and type(parent.node.content) is dict:
                parent.key = text, mark.line + 1, mark.column + 1, plain and text == "<<"
                return
        node = Node(mark.line + 1, mark.column + 1, text, plain, 1, 1, mark.index, event.end_mark.index)
        if event.anchor:
            self.anchors[event.anchor] = node
        self._add(node, event)

    def _start(self, event: Any) -> None:
        self._check_tag(event)
        mark = event.start_mark
        node = Node(mark.line + 1, mark.column + 1, {} if isinstance(event, yaml.MappingStartEvent) else [])
        if len(self.open) >= MAX_DEPTH:
            raise self._error(event, f"nested more than {MAX_DEPTH} deep")
        if event.anchor:
            self.unfinished.add(event.anchor)
        self.open.append(_Open(node, event.anchor))

    def _end(self, event: Any) -> None:
        done = self.open.pop()
        if isinstance(done.node.content, dict):
            self._merge(done)
        if done.anchor:
            self.unfinished.discard(done.anchor)
            self.anchors[done.anchor] = done.node
        self._add(done.node, event)

    def _aliased(self, event: Any) -> Node:
        if event.anchor in self.unfinished:
            raise self._error(event, f"*{event.anchor} is inside the value that it refers to")
        if event.anchor not in self.anchors:
            raise self._error(event, f"*{event.anchor} refers to no anchor above it")
        node = self.anchors[event.anchor]
        if len(self.open) + node.height > MAX_DEPTH:
            raise self._error(event, f"nested more than {MAX_DEPTH} deep")
        return node

    def _add(self, node: Node, event: Any) -> None:
        if not self.open:
            self.root = node
            return
        opened = self.open[-1]
        parent = opened.node
        into = parent.content
        if type(into) is list:
            into.append(node)
        elif type(into) is dict:
            if opened.key is None:
                opened.key = self._key(node)
                return
            name, line, column, is_merge = opened.key
            opened.key = None
            if is_merge:
                opened.merges += node.content if isinstance(node.content, list) else [node]
            elif name in into:
                message = f'the key "{name}" is written twice; it is on line {into[name].line} already'
                raise ConfigError([Problem(self.filename, line, column, "", message)])
            else:
                into[name] = Entry(line, column, node)
        parent.size += node.size
        if parent.height <= node.height:
            parent.height = node.height + 1
        if parent.size > MAX_VALUES:
            raise self._error(event, f"the file holds more than {MAX_VALUES:,} values")

    def _key(self, node: Node) -> tuple[str, int, int, bool]:
        if not isinstance(node.content, str):
            message = "a key has to be a word, not a list or a mapping"
            raise ConfigError([Problem(self.filename, node.line, node.column, "", message)])
        return node.content, node.line, node.column, node.plain and node.content == "<<"

    def _merge(self, done: _Open) -> None:
        entries = done.node.content
        for source in done.merges:
            if not isinstance(source.content, dict) or not isinstance(entries, dict):
                raise ConfigError(
                    [Problem(self.filename, source.line, source.column, "", "<< takes a mapping or a list of mappings")]
                )
            for name, entry in source.content.items():
                if name not in entries:
                    entries[name] = Entry(entry.line, entry.column, entry.value, merged=True)


_HANDLERS: Final[dict[type[Any], Callable[[_Composer, Any], None]]] = {
    yaml.AliasEvent: _Composer._alias,
    yaml.ScalarEvent: _Composer._scalar,
    yaml.MappingStartEvent: _Composer._start,
    yaml.SequenceStartEvent: _Composer._start,
    yaml.MappingEndEvent: _Composer._end,
    yaml.SequenceEndEvent: _Composer._end,
    yaml.DocumentStartEvent: _Composer._document,
}
