"""Texts of error pages with names in braces, which stand for what is known of an error.

The names are a closed list. All other braces stand for themselves: a page has style sheets and scripts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any, Final, TypeAlias

import msgspec

NAMES: Final = ("status", "title", "reason", "detail", "request_id")

_NAME: Final = re.compile(rf"\{{({'|'.join(NAMES)})\}}")
_WORD: Final = re.compile(r"\{([A-Za-z_]{2,30})\}")
_NUMBER: Final = re.compile(r'"\{status\}"(?!:)')
"""A text that is nothing but the status: in JSON it is a number. Names of members stay texts."""

Template: TypeAlias = Callable[[Mapping[str, str]], bytes]
"""Makes the body of an error, from a value for each of `NAMES`."""


def html_template(text: str) -> Template:
    """Of a page."""
    return _compiled(text, escape)


def text_template(text: str) -> Template:
    """Of plain text."""
    return _compiled(text, str)


def json_template(value: Mapping[str, Any]) -> Template:
    """Of a JSON object: names stand in its texts."""
    text = msgspec.json.encode(value).decode()
    return _compiled(_NUMBER.sub("{status}", text), lambda value: json.dumps(value)[1:-1])


def json_object(text: str) -> dict[str, Any]:
    """The object that a text in JSON has. Raises ValueError."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {str(error).removeprefix('JSON is malformed: ')}") from None
    if not isinstance(value, dict):
        raise ValueError("the JSON of an error is an object, in braces")
    return value


def words_in(value: Any) -> Iterator[str]:
    """Every word in braces of a text, or of the texts of a JSON value, that is none of `NAMES`."""
    if isinstance(value, str):
        yield from (word for word in _WORD.findall(value) if word not in NAMES)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from words_in(key)
            yield from words_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from words_in(item)


def _compiled(text: str, escaped: Callable[[str], str]) -> Template:
    literals, names = (_NAME.split(text)[start::2] for start in (0, 1))
    encoded = [literal.encode() for literal in literals]

    def fill(values: Mapping[str, str]) -> bytes:
        parts = [encoded[0]]
        for name, literal in zip(names, encoded[1:], strict=True):
            parts += (escaped(values[name]).encode("utf-8", "replace"), literal)
        return b"".join(parts)

    return fill
