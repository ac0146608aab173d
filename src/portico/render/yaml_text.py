"""YAML as people write it: block style, quotes only where they are needed, comments above what they are about.

What is written means the same to readers of YAML 1.1 (most gateways) and of 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from portico.core.caches import remembered

_WIDTH: Final = 120
"""Columns up to which a list of plain values stands on one line."""
_PLAIN: Final = re.compile(
    r"[A-Za-z/_][A-Za-z0-9_./@+-]*(?::[A-Za-z0-9_./@+-]+)*(?: [A-Za-z0-9_./@+(-][A-Za-z0-9_./@+)-]*)*"
)
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What some reader takes for something else than text."""
_SPECIAL: Final = re.compile("[^ -~\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_ESCAPES: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


@dataclass(frozen=True, slots=True)
class Noted:
    """A mapping with a comment above it, of one line or several."""

    note: str
    value: Mapping[str, Any]


def comment(text: str, indent: str = "") -> Iterator[str]:
    """The lines of a comment. No text ends one: control characters and line separators are left out."""
    for line in text.split("\n"):
        plain = "".join(each if each.isprintable() else " " for each in line)
        yield f"{indent}# {plain}".rstrip()


def document(value: Mapping[str, Any], before: str = "", *, spaced: bool = False) -> str:
    """A document, with a comment before it. `spaced`: an empty line stands before each of its parts."""
    lines = [*comment(before)] if before else []
    for key, part in value.items():
        if spaced and lines and isinstance(part, (Mapping, list, tuple)) and part:
            lines.append("")
        _entry(key, part, "", lines)
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any, indent: str, lines: list[str]) -> None:
    """Appends the lines of a key and its value."""
    if isinstance(value, Noted):
        lines += comment(value.note, indent)
        value = value.value
    head = f"{indent}{scalar(key)}:"
    if isinstance(value, (dict, Mapping)) and value:
        lines.append(head)
        for name, part in value.items():
            _entry(name, part, f"{indent}  ", lines)
    elif isinstance(value, (list, tuple)) and value:
        line = _flow(value)
        if line is not None and len(head) + len(line) < _WIDTH:
            lines.append(f"{head} {line}")
        else:
            lines.append(head)
            _items(value, f"{indent}  ", lines)
    elif _has_lines(value):
        lines += _literal(head, value, f"{indent}  ")
    else:
        lines.append(f"{head} {_empty_or_scalar(value)}")


def _has_lines(value: Any) -> bool:
    """Whether it is a text that reads best as it is."""
    return (
        isinstance(value, str)
        and value.endswith("\n")
        and value[:1] not in (" ", "\n")
        and not value.endswith("\n\n")
        and all(line == line.rstrip() and not _SPECIAL.search(line) for line in value.split("\n"))
    )


def _literal(head: str, text: str, indent: str) -> Iterator[str]:
    yield f"{head} |"
    yield from (f"{indent}{line}".rstrip() for line in text[:-1].split("\n"))


def _items(values: Sequence[Any], indent: str, lines: list[str]) -> None:
    """Appends the lines of a list's items."""
    inner = f"{indent}  "
    for value in values:
        if isinstance(value, Noted):
            lines += comment(value.note, indent)
            value = value.value
        if isinstance(value, (dict, Mapping)) and value:
            at = len(lines)
            for name, part in value.items():
                _entry(name, part, inner, lines)
            while lines[at].lstrip().startswith("#"):  # the dash stands at the key, below its comment
                at += 1
            lines[at] = f"{indent}- {lines[at][len(inner) :]}"
        elif isinstance(value, (list, tuple)):
            lines.append(f"{indent}- {_inline(value)}")
        elif _has_lines(value):
            lines += _literal(f"{indent}-", value, inner)
        else:
            lines.append(f"{indent}- {_empty_or_scalar(value)}")


def _flow(values: Sequence[Any]) -> str | None:
    """A list on one line; None where it holds more than plain values."""
    for value in values:
        if isinstance(value, (dict, Mapping, list, tuple, Noted)) or _has_lines(value):
            return None
    return f"[{', '.join(map(_in_flow, values))}]"


def _inline(value: Any) -> str:
    """Any value on one line."""
    if isinstance(value, Noted):
        value = value.value
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_in_flow(key)}: {_inline(part)}' for key, part in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_inline, value))}]"
    return _in_flow(value)


def _in_flow(value: Any) -> str:
    text = scalar(value)
    return f"'{text}'" if re.search(r"[{}\[\],]", text) and text[0] not in "'\"" else text


def _empty_or_scalar(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{}"
    return "[]" if isinstance(value, (list, tuple)) else scalar(value)


def scalar(value: Any) -> str:
    """A text, number or truth value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:.15g}" if isinstance(value, float) else str(value)
    return _text(str(value))


@remembered(65_536)
def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if not _SPECIAL.search(text):
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if not _SPECIAL.match(letter):
        return letter
    return f"\\x{ord(letter):02x}" if ord(letter) < 0x100 else f"\\u{ord(letter):04x}"
