"""A reader of structured fields (RFC 9651), as strict as its parsing algorithms: for lists and items."""

from __future__ import annotations

import base64
import re
from typing import Any, NamedTuple


class Token(str):
    """A bare word, which is no string."""

    __slots__ = ()


class Member(NamedTuple):
    """An item, or the value of a list's member, with its parameters."""

    value: Any
    parameters: dict[str, Any]


_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
_NUMBER = re.compile(r"-?\d{1,15}(?!\d)(?:(?<!\d{13})\.\d{1,3}(?!\d))?")
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")
_BYTES = re.compile(r":([A-Za-z0-9+/=]*):")
_BOOLEAN = re.compile(r"\?([01])")


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise ValueError(f"{self.text[self.at :]!r} in {self.text!r} does not match {pattern.pattern}")
        self.at = found.end()
        return found

    def has(self, character: str) -> bool:
        return self.text.startswith(character, self.at)

    def skip(self, characters: str) -> None:
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1

    def bare(self) -> Any:
        first = self.text[self.at : self.at + 1]
        if first == '"':
            return re.sub(r"\\(.)", r"\1", self.take(_STRING)[1])
        if first == ":":
            return base64.b64decode(self.take(_BYTES)[1], validate=True)
        if first == "?":
            return self.take(_BOOLEAN)[1] == "1"
        if first == "-" or first.isdigit():
            number = self.take(_NUMBER)[0]
            return float(number) if "." in number else int(number)
        return Token(self.take(_TOKEN)[0])

    def member(self) -> Member:
        value, parameters = self.bare(), {}
        while self.has(";"):
            self.at += 1
            self.skip(" ")
            key = self.take(_KEY)[0]
            parameters[key] = True
            if self.has("="):
                self.at += 1
                parameters[key] = self.bare()
        return Member(value, parameters)


def read_list(*lines: str) -> list[Member]:
    """The members of a list, however many lines it comes in. Raises ValueError."""
    reader = _Reader(", ".join(lines).strip(" "))
    members = [reader.member()]
    while reader.at < len(reader.text):
        reader.skip(" \t")
        reader.take(re.compile(","))
        reader.skip(" \t")
        members.append(reader.member())
    return members


def read_item(line: str) -> Member:
    """One item. Raises ValueError."""
    (member,) = read_list(line)
    return member
