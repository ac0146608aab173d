"""How nginx's file is written: words, patterns, lines and blocks.

nginx reads a word up to white space, `;` or a brace. In quotes, it takes `\\` off what stands behind it, and makes a
tab or a line end of `\\t`, `\\r` and `\\n`. It replaces `$name` in most of what it has read;
there is no escape for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

DOLLAR: Final = "${dollar}"
"""The variable that stands for a dollar sign; a `geo` sets it, whose values are not searched for variables."""

LONGEST: Final = 4000
"""Bytes of a word: nginx reads the file through a buffer of 4,096."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:=@*,%?&+<>!|^-][A-Za-z0-9_./:=@*,%?&+<>!|^#~-]*")
_SPECIAL: Final = re.compile(r"[.\[\](){}*+?^$|\\]")
_HEX: Final = re.compile(r"%([0-9A-Fa-f]{2})")


def word(text: str) -> str:
    """A word that nginx takes for just this text, in quotes where it needs them."""
    return text if _PLAIN.fullmatch(text) else _quoted(text.replace("$", DOLLAR))


def name(text: str) -> str:
    """The same where nginx looks for no variables."""
    return text if _PLAIN.fullmatch(text) else _quoted(text)


def mixed(text: str) -> str:
    """The same of a text in which `$name` is meant as nginx's; other dollars are `DOLLAR`."""
    return text if re.fullmatch(r"[A-Za-z0-9_./:=@$-]+", text) else _quoted(text)


def pattern(text: str) -> str:
    """A regular expression, in which nginx looks for no variables."""
    return _quoted(text)


def _quoted(text: str) -> str:
    mark = "'" if '"' in text and "'" not in text else '"'
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


def literal(text: str) -> str:
    """A regular expression for just this text; percent-encoded bytes in either case."""
    return _HEX.sub(_either_case, _SPECIAL.sub(lambda found: "\\" + found[0], text))


def _either_case(found: re.Match[str]) -> str:
    return "%" + "".join(f"[{each.upper()}{each.lower()}]" if each.isalpha() else each for each in found[1])


def of_request(field: str) -> str:
    """The variable with a field of the request."""
    return "$http_" + field.lower().replace("-", "_")


@cache
def above(number: int) -> str:
    """A regular expression for all larger numbers, without zeros in front."""
    digits = str(number)
    larger = [rf"[1-9]\d{{{len(digits)},}}"]
    for at, digit in enumerate(digits):
        if digit != "9":
            larger.append(rf"{digits[:at]}[{int(digit) + 1}-9]\d{{{len(digits) - at - 1}}}")
    return "|".join(larger)


def block(head: str, lines: Iterable[str]) -> list[str]:
    """A block with its lines, each further in."""
    return [f"{head} {{", *(f"    {line}" if line else "" for line in lines), "}"]


def comment(text: str) -> str:
    """A line for people."""
    return "# " + " ".join(text.split())
