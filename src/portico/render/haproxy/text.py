"""How HAProxy's file is written: words, formats and sections.

Words end at white space. In single quotes all stands as it is; in double quotes HAProxy replaces `$NAME` by the
environment and takes `\\n`, `\\t` and `\\xHH` for what they mean. In formats `%` begins what is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from portico.render.expressions import literal

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:=@,%?&+<>|^~*!()\[\]-]+")
_ESCAPED: Final = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def word(text: str) -> str:
    """A word that HAProxy takes for just this text, in quotes where it needs them."""
    if _PLAIN.fullmatch(text):
        return text
    if "'" not in text and not _CONTROL.search(text):
        return f"'{text}'"
    escaped = "".join(_ESCAPED.get(letter, letter) for letter in text)
    return f'"{_CONTROL.sub(lambda found: f"{chr(92)}x{ord(found[0]):02x}", escaped)}"'


def plain(text: str) -> str:
    """A text in a format, where it stands for itself."""
    return text.replace("%", "%%")


def in_replacement(text: str) -> str:
    """The same in the format of what takes the place of a match, where `\\1` is what a group captured."""
    return plain(text).replace("\\", "\\\\")


def equals(source: str, *values: str) -> str:
    """The condition that something is one of these texts."""
    if not {"", "}"}.isdisjoint(values):  # an empty word ends a line, and a brace the condition
        return found_in(source, f"^(?:{'|'.join(map(literal, values))})$")
    return f"{{ {source} -m str {_after_options(values[0])}{' '.join(map(word, values))} }}"


def found_in(source: str, expression: str) -> str:
    """The condition that an expression is found in something."""
    return f"{{ {source} -m reg {_after_options(expression)}{word(expression)} }}"


def _after_options(text: str) -> str:
    return "-- " if text.startswith("-") else ""


def section(head: str, lines: Iterable[str]) -> list[str]:
    """A section with its lines further in."""
    return [head, *(f"    {line}" if line else "" for line in lines)]


def comment(text: str) -> str:
    """A line for people."""
    return "# " + " ".join(text.split())
