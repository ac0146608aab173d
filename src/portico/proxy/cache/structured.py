"""Structured fields (RFC 9651), as far as caching reads them: without their parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

Item: TypeAlias = bool | int | float | str | bytes | None
"""A Boolean, Integer, Decimal, String (`str`), Token (`bytes`); None for what caching has no use for: bytes, dates."""
Value: TypeAlias = Item | list[Item]
"""An item or an inner list."""

_KEY: Final = re.compile(rb"[a-z*][a-z0-9_\-.*]*")
_ITEM: Final = re.compile(
    rb'(?P<string>"(?:[ !#-\[\]-~]|\\["\\])*")|(?P<decimal>-?[0-9]{1,12}\.[0-9]{1,3})|(?P<integer>-?[0-9]{1,15})'
    rb"|(?P<boolean>\?[01])|(?P<token>[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*)"
    rb'|(?P<other>:[A-Za-z0-9+/=]*:|@-?[0-9]{1,15}|%"[ !#-~]*")'
)
_NEXT: Final = re.compile(rb"[ \t]*,[ \t]*")
_SPACES: Final = re.compile(rb" *")
_ESCAPED: Final = re.compile(r'\\(["\\])')


class NotStructuredError(ValueError):
    """The text is no structured field."""


def parse_dictionary(lines: Sequence[bytes]) -> dict[bytes, Value]:
    """A dictionary from the values of its field lines (RFC 9651, section 4.2.2). Raises NotStructuredError."""
    found: dict[bytes, Value] = {}
    text = b",".join(lines).strip(b" ")
    at = 0
    while at < len(text):
        key, at = _key(text, at)
        if text[at : at + 1] == b"=":
            value, at = _member(text, at + 1)
        else:
            value, at = True, _parameters_end(text, at)
        found.pop(key, None)
        found[key] = value
        at = _next_member(text, at)
    return found


def parse_list(lines: Sequence[bytes]) -> list[Value]:
    """A list from the values of its field lines (RFC 9651, section 4.2.1). Raises NotStructuredError."""
    found: list[Value] = []
    text = b",".join(lines).strip(b" ")
    at = 0
    while at < len(text):
        value, at = _member(text, at)
        found.append(value)
        at = _next_member(text, at)
    return found


def strings_of(lines: Sequence[bytes], most: int = 1000) -> list[str]:
    """The strings of a list of strings, `most` at most; none where it is anything else."""
    try:
        members = parse_list(lines)
    except NotStructuredError:
        return []
    return [member for member in members if isinstance(member, str)][:most]


def _next_member(text: bytes, at: int) -> int:
    match = _NEXT.match(text, at)
    if match is None:
        if text[at:].strip(b" \t"):
            raise NotStructuredError("members are separated by commas")
        return len(text)
    if match.end() == len(text):
        raise NotStructuredError("there is nothing behind the last comma")
    return match.end()


def _member(text: bytes, at: int) -> tuple[Value, int]:
    if text[at : at + 1] != b"(":
        value, at = _item(text, at)
        return value, _parameters_end(text, at)
    items: list[Item] = []
    at = _spaces_end(text, at + 1)
    while text[at : at + 1] != b")":
        item, at = _item(text, at)
        items.append(item)
        at = _parameters_end(text, at)
        if text[at : at + 1] not in (b" ", b")"):
            raise NotStructuredError("the items of an inner list are separated by spaces")
        at = _spaces_end(text, at)
    return items, _parameters_end(text, at + 1)


def _item(text: bytes, at: int) -> tuple[Item, int]:
    match = _ITEM.match(text, at)
    if match is None:
        raise NotStructuredError("there is no item")
    kind, raw = match.lastgroup, match[0]
    item: Item = None
    if kind == "string":
        item = _ESCAPED.sub(r"\1", raw[1:-1].decode("ascii"))
    elif kind == "decimal":
        item = float(raw)
    elif kind == "integer":
        item = int(raw)
    elif kind == "boolean":
        item = raw == b"?1"
    elif kind == "token":
        item = raw
    return item, match.end()


def _parameters_end(text: bytes, at: int) -> int:
    while text[at : at + 1] == b";":
        _, at = _key(text, _spaces_end(text, at + 1))
        if text[at : at + 1] == b"=":
            _, at = _item(text, at + 1)
    return at


def _key(text: bytes, at: int) -> tuple[bytes, int]:
    match = _KEY.match(text, at)
    if match is None:
        raise NotStructuredError("there is no key")
    return match[0], match.end()


def _spaces_end(text: bytes, at: int) -> int:
    match = _SPACES.match(text, at)
    assert match is not None
    return match.end()
