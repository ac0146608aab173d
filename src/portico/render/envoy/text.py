"""How envoy.yaml is written: short parts on one line, texts in quotes where YAML would read something else.

Envoy reads YAML 1.1 by yaml-cpp. A text in double quotes has JSON's escapes, which both know, but for characters beyond
the Basic Multilingual Plane: those stand as they are, since their two halves would stay two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from portico.core.caches import remembered

_WIDE: Final = 116
"""Columns of a line."""
_MOST: Final = 6
"""Parts of what stands on one line."""
_PLAIN: Final = re.compile(
    r"[A-Za-z/][A-Za-z0-9_./+-]*(?: [A-Za-z0-9][A-Za-z0-9_./+-]*)*|[0-9]+(?:\.[0-9]+)?s"  # 10s is no number
)
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "inf", "nan"})
_INVISIBLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_PRINTABLE: Final = re.compile("[ -~\u00a1-\u167f]*")
_LINES: Final = re.compile(r"[\n -~]*[!-~]\n")


@dataclass(frozen=True, slots=True)
class Noted:
    """A part with a comment above it."""

    note: str
    value: Any


class Shared(dict[str, Any]):
    """A mapping that stands in many places: its lines are made once."""


def yaml_text(value: Mapping[str, Any]) -> str:
    """A document. Values are dicts, lists, texts, numbers and booleans, and each of these `Noted`."""
    lines: list[str] = []
    _Writer().mapping(value, "", lines)
    return "\n".join(lines) + "\n"


@remembered(65_536)
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
    return "# " + "".join(letter if letter.isprintable() else "?" for letter in shown)


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


class _Writer:
    """Appends lines; what is shared is kept as the lines that it became at a depth."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], list[str]] = {}
        self._short: dict[int, str | None] = {}
        """Mappings and lists on one line, by their identity: the document holds them. None has no room on any."""

    def _flow(self, value: Any, room: int) -> str | None:
        """The value on one line; None where it has no room, or has a comment."""
        short = self._on_one_line(value)
        return short if short is not None and len(short) <= room else None

    def _on_one_line(self, value: Any) -> str | None:
        if isinstance(value, str):
            return text(value)
        if isinstance(value, Noted):
            return None
        if not isinstance(value, (dict, list)):
            return _number(value)
        known = self._short.get(id(value), "")
        if known == "":
            known = self._short[id(value)] = self._joined(value)
        return known

    def _joined(self, value: dict[str, Any] | list[Any]) -> str | None:
        parts = []
        is_mapping = isinstance(value, dict)
        if is_mapping and len(value) > _MOST:
            return None
        for own in value.items() if isinstance(value, dict) else value:
            short = self._on_one_line(own[1] if is_mapping else own)
            if short is None:
                return None
            parts.append(f"{text(own[0])}: {short}" if is_mapping else short)
        joined = ", ".join(parts)
        if len(joined) > _WIDE:
            return None
        return f"{{{joined}}}" if is_mapping else f"[{joined}]"

    def mapping(self, value: Mapping[str, Any], indent: str, lines: list[str]) -> None:
        for key, part in value.items():
            own = part
            if isinstance(part, Noted):
                lines.append(indent + comment(part.note))
                own = part.value
            if isinstance(own, Shared):
                self._shared(f"{indent}{text(key)}:", own, indent, lines)
            else:
                self._entry(f"{indent}{text(key)}:", own, indent, lines)

    def _shared(self, head: str, value: Shared, indent: str, lines: list[str]) -> None:
        short = self._on_one_line(value)
        if short is not None and len(head) + len(short) < _WIDE:
            lines.append(f"{head} {short}")
            return
        known = self._known.get((id(value), indent))
        if known is None:
            known = self._known[id(value), indent] = []
            self.mapping(value, indent + "  ", known)
        lines.append(head)
        lines += known

    def _entry(self, head: str, value: Any, indent: str, lines: list[str]) -> None:
        """A value behind its key or dash."""
        if isinstance(value, str) and "\n" in value and _LINES.fullmatch(value) and value[0] not in " \n":
            lines.append(f"{head} |")
            lines += [f"{indent}  {line}" if line else "" for line in value[:-1].split("\n")]
            return
        short = self._flow(value, _WIDE - len(head) - 1)
        if short is not None:
            lines.append(f"{head} {short}")
        elif isinstance(value, dict):
            lines.append(head)
            self.mapping(value, indent + "  ", lines)
        elif isinstance(value, list):
            lines.append(head)
            self._sequence(value, indent + "  ", lines)
        else:  # however long the line gets
            lines.append(f"{head} {text(value) if isinstance(value, str) else _number(value)}")

    def _sequence(self, value: Sequence[Any], indent: str, lines: list[str]) -> None:
        for part in value:
            own = part
            if isinstance(part, Noted):
                lines.append(indent + comment(part.note))
                own = part.value
            short = self._flow(own, _WIDE - len(indent) - 2)
            if short is not None:
                lines.append(f"{indent}- {short}")
            elif isinstance(own, dict):
                at = len(lines)
                self.mapping(own, indent + "  ", lines)
                lines[at] = f"{indent}- {lines[at].lstrip()}"
            else:
                self._entry(f"{indent}-", own, indent, lines)
