"""nginx's regular expressions and paths as paths of Portico's routes."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import quote

from portico.core.caches import remembered
from portico.core.paths import segments_of
from portico.core.patterns.pattern import path_text
from portico.core.patterns.pattern_set import PatternSet
from portico.core.placeholders import RESERVED
from portico.core.route_paths import pattern_of, route_path

_GROUP: Final = re.compile(
    r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\((?!\?)|\(\?P?<(?![=!])(\w+)>|\(\?'(\w+)'", re.DOTALL
)
_LOOK: Final = re.compile(r"\(\?<?[=!](?:\\.|\[(?:\\.|[^\]\\])*\]|[^()\\\[])*\)")
_LONGEST: Final = 2000
"""Letters of a pattern."""


def is_taken(path: str) -> bool:
    """Whether a route may have this path."""
    return why_not(path) is None


@remembered(65_536)  # thousands of locations are asked for several times, far apart
def why_not(path: str) -> str | None:
    """What Portico says against a path; None where it takes it."""
    if len(path) > _LONGEST:
        return f"it is longer than {_LONGEST} letters"
    try:
        route_path(path)
    except (ValueError, RecursionError, OverflowError, re.error) as error:
        return " ".join(str(error).split()) or "it is too large"
    return None


def group_names(expression: str) -> list[str]:
    """A name for each group that captures, by which routes know it: its own, or `p1` for the first."""
    names: list[str] = []
    for found in _GROUP.finditer(expression):
        if found[0][0] == "(":
            own = found[1] or found[2]
            names.append(own if own and own not in RESERVED else f"p{len(names) + 1}")
    return names


def pattern_path(expression: str, *, ignores_case: bool, used: Collection[str] = ()) -> str:
    """The path of a route for an expression, in which the groups that are `used` have names."""
    names = iter(group_names(expression))

    def named(found: re.Match[str]) -> str:
        if found[0][0] != "(":
            return found[0]
        name = next(names)
        return f"(?P<{name}>" if name in used else "("

    text = _GROUP.sub(named, expression).replace("\\/", "/").replace("\\-", "-" if "[" not in expression else "\\-")
    if used and not text.startswith("^"):
        text = f"^.*{text}"
    return f"{'~*' if ignores_case else '~'} {text}"


def wider(path: str) -> str | None:
    """A pattern that Portico takes, for all that another matches, and more."""
    mark, _, text = path.partition(" ")
    for candidate in (_LOOK.sub("", text), _beginning(text)):
        if candidate not in ("", "^", "^/") and is_taken(f"{mark} {candidate}"):
            return f"{mark} {candidate}"
    return None


def _beginning(text: str) -> str:
    found = re.match(r"\^(?:\\[^A-Za-z0-9]|[^\\\[\](){}*+?|^$.])+", text)
    if found is None or "|" in text:
        return ""
    following = text[found.end() : found.end() + 1]
    return found[0][:-1] if following in ("*", "?", "{") else found[0]


def exact_path(path: str) -> str:
    """`= /path` for a path as nginx compares it, decoded."""
    written = f"= {encoded(path)}"
    return written if is_taken(written) else f"~ ^{escaped(encoded(path))}$"


def prefix_path(path: str) -> str:
    """`/path` for a prefix, by whole segments."""
    written = encoded(path.rstrip("/") or "/")
    return written if is_taken(written) else f"~ ^{escaped(written)}(/|$)"


def encoded(path: str) -> str:
    """A decoded path as clients send it."""
    return quote(path, safe="/!$&'()*+,;=:@-._~%[]{}|^")


def escaped(text: str) -> str:
    """An expression for just this text."""
    return re.sub(r"[.\[\](){}*+?^$|\\]", lambda found: "\\" + found[0], text)


def matches(path: str, uri: str) -> bool:
    """Whether the pattern of a route matches a path; not, where Portico does not take it."""
    if not is_taken(path):
        return False
    try:
        return bool(PatternSet([pattern_of(path)]).matches(path_text(segments_of(uri.encode()))))
    except Exception:
        return False
