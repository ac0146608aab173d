"""How envoy.yaml is written: short parts on one line, texts in quotes where YAML would read something else.

Envoy reads YAML 1.1 by yaml-cpp. A text in double quotes has JSON's escapes, which both know, but for characters beyond
the Basic Multilingual Plane: those stand as they are, since their two halves would stay two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_WIDE: Final = 116
"""Columns of a line."""
_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./+-]*(?: [A-Za-z0-9][A-Za-z0-9_./+-]*)*|[0-9]+(?:\.[0-9]+)?s")
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "inf", "nan"})
_INVISIBLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_PRINTABLE: Final = re.compile("[ -~\u00a1-\u167f]*")
_LINES: Final = re.compile(r"[\n -~]*[!-~]\n")


@dataclass(frozen=True, slots=True)
class Noted:
    """A part with a comment above it."""

    note: str
    value: Any


def yaml_text(value: Mapping[str, Any]) -> str:
    """A document. Values are mappings, sequences, texts, numbers and booleans, and each of these `Noted`."""
    return "\n".join(_mapping(value, "")) + "\n"


def text(value: str) -> str:
    """A text that YAML reads as just this one."""
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if ('"' in value or "\\" in value) and _PRINTABLE.fullmatch(value):
        return "'" + value.replace("'", "''") + "'"
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def comment(note: str) -> str:
    """A line for people."""
    shown = " ".join(note.split())
    return "# " + _INVISIBLE.sub("?", "".join(letter if letter.isprintable() else "?" for letter in shown))


def _flow(value: Any, room: int) -> str | None:
    """The value on one line; None where it has no room, or has a comment."""
    if isinstance(value, Noted):
        return None
    if isinstance(value, Mapping):
        parts = _within(((f"{text(key)}: ", part) for key, part in value.items()), room)
        return None if parts is None else "{" + ", ".join(parts) + "}"
    if isinstance(value, list | tuple):
        parts = _within((("", part) for part in value), room)
        return None if parts is None else "[" + ", ".join(parts) + "]"
    short = _scalar(value)
    return short if len(short) <= room else None


def _within(pairs: Iterable[tuple[str, Any]], room: int) -> list[str] | None:
    parts = []
    for head, part in pairs:
        own = _flow(part, room - len(head))
        if own is None:
            return None
        parts.append(head + own)
        room -= len(parts[-1]) + 2
        if room < 0:
            return None
    return parts


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    """A value behind its key or dash."""
    if isinstance(value, str) and "\n" in value and _LINES.fullmatch(value) and not value.startswith((" ", "\n")):
        yield f"{head} |"
        for line in value[:-1].split("\n"):
            yield f"{indent}  {line}" if line else ""
        return
    short = _flow(value, _WIDE - len(head) - 1)
    if short is not None:
        yield f"{head} {short}"
    elif isinstance(value, Mapping):
        yield head
        yield from _mapping(value, indent + "  ")
    elif isinstance(value, str):
        yield f"{head} {text(value)}"
    else:
        yield head
        yield from _sequence(value, indent + "  ")


def _mapping(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, part in value.items():
        own = part
        if isinstance(part, Noted):
            yield indent + comment(part.note)
            own = part.value
        yield from _entry(f"{indent}{text(key)}:", own, indent)


def _sequence(value: Sequence[Any], indent: str) -> Iterator[str]:
    for part in value:
        own = part
        if isinstance(part, Noted):
            yield indent + comment(part.note)
            own = part.value
        short = _flow(own, _WIDE - len(indent) - 2)
        if short is not None:
            yield f"{indent}- {short}"
        elif isinstance(own, Mapping):
            first, *lines = _mapping(own, indent + "  ")
            yield f"{indent}- {first.lstrip()}"
            yield from lines
        else:
            yield from _entry(f"{indent}-", own, indent)
