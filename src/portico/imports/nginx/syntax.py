"""An nginx configuration as directives in blocks, with all that it includes in its place."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from portico.imports.nginx.lexer import Token, tokens
from portico.imports.remarks import SourceError, Where, quoted

MAX_BYTES: Final = 32 << 20
"""Of all files together."""
MAX_FILES: Final = 10_000
MAX_DEPTH: Final = 100
"""Blocks, or includes, in one another."""

_HOME: Final = "/etc/nginx/"
"""Where nginx's files are on most systems; with a prefix they are looked for there."""
_NOT_HERE: Final = "; import what nginx -T prints, or say by --prefix DIR where names of files begin"
_DUMPED: Final = re.compile(r"^# configuration file (\S.*):$", re.MULTILINE)
"""What `nginx -T` prints before each file."""


@dataclass(slots=True, eq=False)
class Directive:
    """A statement: its name, its arguments, and what is in its block, where it has one."""

    name: str
    args: tuple[str, ...]
    where: Where
    block: list[Directive] | None = None

    def __str__(self) -> str:
        words = " ".join([self.name, *map(_shown, self.args)])
        return quoted(words if self.block is None else f"{words} {{ … }}")

    @property
    def value(self) -> str:
        """Its first argument, or nothing."""
        return self.args[0] if self.args else ""

    def all(self, name: str) -> list[Directive]:
        """The directives of a name in its block."""
        return [each for each in self.block or () if each.name == name]

    def last(self, name: str) -> Directive | None:
        """The last of them."""
        found = self.all(name)
        return found[-1] if found else None


def _shown(word: str) -> str:
    if word and not re.search(r"[\s;\"']|^#", word):
        return word
    return f"'{word}'" if "'" not in word else f'"{word}"'


def read_file(file: Path, prefix: Path | None = None) -> list[Directive]:
    """The directives at the top of a file, and of those that it includes. Raises SourceError.

    Relative names of files begin at `prefix`, or where the file is. What `nginx -T` has printed is read as the files
    of which it is.
    """
    return _Reader(file, prefix or file.parent, is_given=prefix is not None).read()


@dataclass(slots=True)
class _Tree:
    """The directives of one file, as far as its words have come."""

    file: str
    top: list[Directive] = field(default_factory=list)
    words: list[Token] = field(default_factory=list)
    opened: list[Token] = field(default_factory=list)
    blocks: list[list[Directive]] = field(init=False)

    def __post_init__(self) -> None:
        self.blocks = [self.top]

    def statement(self, mark: Token) -> Directive:
        """The directive of the words before a `;` or a `{`."""
        if not self.words:
            raise SourceError(self._at(mark), f"there is a {mark.text} without a directive before it")
        first, *rest = self.words
        self.words = []
        return Directive(first.text, tuple(word.text for word in rest), self._at(first))

    def open(self, mark: Token) -> None:
        if len(self.blocks) > MAX_DEPTH:
            raise SourceError(self._at(mark), f"blocks are nested more than {MAX_DEPTH} deep")
        first = self.words[:1]
        directive = self.statement(mark)
        block: list[Directive] = []
        directive.block = block
        self.blocks[-1].append(directive)
        self.blocks.append(block)
        self.opened += first

    def close(self, mark: Token) -> None:
        if not self.opened:
            raise SourceError(self._at(mark), "there is a } that closes nothing")
        if self.opened[-1].text.endswith("_by_lua_block"):
            self.words = []  # that was a program
        self._no_words()
        self.blocks.pop()
        self.opened.pop()

    def end(self) -> None:
        self._no_words()
        if self.opened:
            raise SourceError(self._at(self.opened[-1]), f"the block {quoted(self.opened[-1].text)} is not closed")

    def _no_words(self) -> None:
        if self.words:
            raise SourceError(self._at(self.words[0]), f"a ; is missing behind {quoted(self.words[-1].text)}")

    def _at(self, token: Token) -> Where:
        return Where(self.file, token.line)


@dataclass(slots=True)
class _Reader:
    file: Path
    prefix: Path
    is_given: bool
    dumped: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Of the output of `nginx -T`: the texts of files by their names, and the lines at which they begin."""
    reading: list[str] = field(default_factory=list)
    """The files that include one another, down to the one that is being read."""
    bytes: int = 0
    files: int = 0

    def read(self) -> list[Directive]:
        where = Where(str(self.file))
        text = self._text(self.file, where, "")
        parts = _DUMPED.split(text)
        if len(parts) > 2:
            line = parts[0].count("\n") + 1
            for name, part in zip(parts[1::2], parts[2::2], strict=True):
                self.dumped.setdefault(name, (part, line))
                line += part.count("\n")
            name = parts[1]
            if not self.is_given:
                self.prefix = Path(name).parent
            return self._directives(self.dumped[name][0], str(self.file), name, self.dumped[name][1])
        return self._directives(text, str(self.file), str(self.file))

    def _directives(self, text: str, shown: str, name: str, first_line: int = 1) -> list[Directive]:
        self.reading.append(name)
        tree = _Tree(shown)
        for token in tokens(text, shown, first_line):
            if not token.is_mark:
                tree.words.append(token)
            elif token.text == "{":
                tree.open(token)
            elif token.text == "}":
                tree.close(token)
            else:
                tree.blocks[-1] += self._statement(tree.statement(token))
        tree.end()
        self.reading.pop()
        return tree.top

    def _statement(self, directive: Directive) -> list[Directive]:
        if directive.name != "include":
            return [directive]
        if len(directive.args) != 1:
            raise SourceError(directive.where, "include takes one name of a file")
        return [each for name in self._named(directive) for each in self._included(name, directive.where)]

    def _included(self, name: str, where: Where) -> list[Directive]:
        if name in self.reading:
            raise SourceError(where, f"{name} is included from itself: {' → '.join([*self.reading, name])}")
        if len(self.reading) >= MAX_DEPTH:
            raise SourceError(where, f"files include one another more than {MAX_DEPTH} deep")
        self.files += 1
        if self.files > MAX_FILES:
            raise SourceError(where, f"more than {MAX_FILES} files are included")
        if name in self.dumped:
            text, line = self.dumped[name]
            return self._directives(text, str(self.file), name, line)
        return self._directives(self._text(Path(name), where, "the included file "), name, name)

    def _named(self, directive: Directive) -> Iterator[str]:
        """The files that an include means, in nginx's order."""
        value = directive.value
        if "\0" in value:
            raise SourceError(directive.where, "a name of a file has no NUL")
        path = value if value.startswith("/") else f"{self.prefix}/{value}"
        if self.dumped:
            yield from sorted(name for name in self.dumped if fnmatchcase(name, path))
            return
        if value.startswith(_HOME) and self.is_given:
            path = f"{self.prefix}/{value.removeprefix(_HOME)}"
        if re.search(r"[*?\[]", path):
            yield from sorted(name for name in glob.glob(path) if Path(name).is_file())  # noqa: PTH207
        else:
            yield path

    def _text(self, path: Path, where: Where, what: str) -> str:
        """What is in a file."""
        hint = "" if self.is_given or not what else _NOT_HERE
        try:
            if not path.is_file():
                missing = "is no file" if path.exists() else "is not there"
                raise SourceError(where, f"{what}{path} {missing}{hint}" if what else missing)
            with path.open("rb") as opened:
                read = opened.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise SourceError(where, f"{what}{path}: {reason}" if what else str(reason)) from None
        self.bytes += len(read)
        if self.bytes > MAX_BYTES:
            raise SourceError(where, f"{what}is too large: {MAX_BYTES >> 20} MiB are read in all")
        if b"\0" in read:
            line = read.count(b"\n", 0, read.index(b"\0")) + 1
            raise SourceError(Where(str(path), line), "there is a NUL in it: this is no text file")
        try:
            return read.decode("utf-8-sig")
        except UnicodeDecodeError:
            return read.decode("latin-1")
