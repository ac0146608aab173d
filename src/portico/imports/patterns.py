"""Regular expressions of PCRE, Rust and Go in the words that Portico has."""

from __future__ import annotations

import re
from typing import Final

from portico.core.patterns.pattern import path_pattern, value_pattern

_POSIX: Final = {
    "[:alpha:]": "A-Za-z",
    "[:digit:]": "0-9",
    "[:alnum:]": "A-Za-z0-9",
    "[:lower:]": "a-z",
    "[:upper:]": "A-Z",
    "[:word:]": "A-Za-z0-9_",
    "[:xdigit:]": "0-9A-Fa-f",
}
_WORDS: Final = {r"\A": "^", r"\z": "$", r"\Z": "$"}
_UNNAMED: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?!\?)")
_CHARACTER: Final = re.compile(r"\\(?P<letter>[AzZ])|\\x(?P<hex>[0-9A-Fa-f]{2})|\\.|(?P<other>[^ -~])")


def translated(text: str) -> tuple[str, bool]:
    """A pattern in Portico's words, and whether it ignores case. It may still be one that there is not here."""
    ignores_case = False
    while flags := re.match(r"(\^?)\(\?([imsxU]+)\)", text):
        ignores_case = ignores_case or "i" in flags[2]
        text = flags[1] + text[flags.end() :]
    text = re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", text)
    for name, characters in _POSIX.items():
        text = text.replace(name, characters)
    text = _CHARACTER.sub(_character, text)
    return re.sub(r"([*+?}])\+", r"\1", text), ignores_case  # possessive repeats take the same


def _character(found: re.Match[str]) -> str:
    if found["letter"]:
        return _WORDS[found[0]]
    if found["hex"]:
        letter = chr(int(found["hex"], 16))
        return letter if letter.isalnum() else f"\\{letter}"
    if found["other"]:
        return "".join(f"%{byte:02X}" for byte in found[0].encode())
    return found[0]


def why_not(text: str, *, is_path: bool = True, ignores_case: bool = False) -> str:
    """Why this is no pattern here; empty where it is one."""
    try:
        (path_pattern if is_path else value_pattern)(text, ignores_case=ignores_case)
    except (ValueError, RecursionError) as error:
        return str(error) or "it is nested too deep"
    return ""


def with_names(text: str) -> str:
    """The same with a name for each group that captures: g1, g2 and so on by their numbers."""
    number = 0

    def name(found: re.Match[str]) -> str:
        nonlocal number
        if found[0] != "(":
            return found[0]
        number += 1
        return f"(?P<g{number}>"

    named = re.compile(r"\(\?P?<[A-Za-z_]\w*>")
    pieces, at = [], 0
    for group in named.finditer(text):  # a group with a name has a number, too
        pieces.append(_UNNAMED.sub(name, text[at : group.start()]))
        pieces.append(group[0])
        number += 1
        at = group.end()
    return "".join([*pieces, _UNNAMED.sub(name, text[at:])])


def without_names(text: str, keep: set[str]) -> str:
    """The same where the groups with other names than these have none."""
    return re.sub(r"\(\?P?<(\w+)>", lambda found: found[0] if found[1] in keep else "(?:", text)
