"""The path of a route as it is written: a prefix, `= /exact`, or `~ pattern`."""

from __future__ import annotations

import re
from typing import Final

from portico.core.caches import remembered
from portico.core.errors import MessageError
from portico.core.paths import segments_of
from portico.core.patterns.pattern import Pattern, path_pattern
from portico.core.placeholders import RESERVED

_WRITTEN: Final = re.compile(r"\s*(=|~\*?)\s*(.*)", re.DOTALL)
_USUAL: Final = re.compile(r"(?:/[A-Za-z0-9_-]+)+")
"""Prefixes that stand for themselves, as nearly all of thousands do."""
_MARK: Final = re.compile(r"\s*\^~\s*|\^")
"""What other gateways write before a prefix, and what begins a pattern."""
_PATTERN: Final = re.compile(r"[*{}\[\]^|<>]|\\[A-Za-z.]|\.\+|\(\?|\$$|(?<=/):(?=[A-Za-z])")
_EVERYTHING: Final = re.compile(r"(?:\.?\*\*?|\(\.\*\)|\{\w*\*\w*\}|\*\w+)")
_STAR: Final = re.compile(r"(?<=/)\*(?=/)")
_PLACEHOLDER: Final = re.compile(r"\{(\w+)(?::\w+)?\}|<(?:(\w+):)?(\w+)>|(?<=/):([A-Za-z]\w*)", re.ASCII)
_KINDS: Final = {"int": "[0-9]+", "path": ".+"}


def route_path(text: str) -> str:
    """A path as routes hold it: `/prefix`, `= /exact`, `~ pattern` or `~* pattern`. Raises ValueError."""
    written = _WRITTEN.fullmatch(text)
    if written is None:
        return path_prefix(text)
    mark, rest = written.groups()
    if mark == "=":
        check_characters(rest)
        return "= /" + b"/".join(checked_segments(rest)).decode()
    if reserved := RESERVED & {*pattern_of(f"{mark} {rest}").names}:
        name = min(reserved)
        raise ValueError(f"a group cannot be called {name}: {{{name}}} means something else in rewrite and redirect")
    return f"{mark} {rest}"


def is_prefix(path: str) -> bool:
    """Whether a path of a route is a prefix."""
    return path.startswith("/")


def is_exact(path: str) -> bool:
    """Whether it is the whole path of requests."""
    return path.startswith("=")


def is_pattern(path: str) -> bool:
    """Whether it is a pattern."""
    return path.startswith("~")


def literal_of(path: str) -> str:
    """The prefix, or the whole path, without its mark."""
    return path.removeprefix("= ")


def beginning_of(path: str) -> str:
    """The whole segments with which every path begins that it takes."""
    return pattern_of(path).prefix if is_pattern(path) else literal_of(path)


def names_of(path: str) -> tuple[str, ...]:
    """The names of what a path captures."""
    return pattern_of(path).names if is_pattern(path) else ()


@remembered(2048)
def pattern_of(path: str) -> Pattern:
    """The pattern in a path that is one. Raises ValueError."""
    mark, _, text = path.partition(" ")
    return path_pattern(text, ignores_case=mark == "~*")


def path_prefix(text: str) -> str:
    """A path prefix in the form that is compared. Raises ValueError."""
    if _USUAL.fullmatch(text):
        return text
    _no_pattern(text)
    check_characters(text)
    return "/" + b"/".join(checked_segments(text.rstrip("/") or "/")).decode()


def check_characters(text: str) -> None:
    """Raises ValueError for what no path has."""
    if not text.startswith("/"):
        raise ValueError("expected a path that starts with /")
    if wrong := re.search(r"[^!-~]", text):
        raise ValueError("a path has no spaces" if wrong[0].isspace() else "characters beyond ASCII are written as %XX")
    if wrong := re.search(r"[?#\\]", text):
        raise ValueError(f"a path has no {wrong[0]}")
    if any(part in (".", "..") for part in text.split("/")):
        raise ValueError("a path has no . and .. segments")
    if "//" in text:
        raise ValueError("a path has no empty segments")


def checked_segments(path: str) -> tuple[bytes, ...]:
    """The segments of a path. Raises ValueError for one that no request could have."""
    try:
        return segments_of(path.encode())
    except MessageError as error:
        raise ValueError(f"not a path that a request could have: {error.detail}") from None


def _no_pattern(text: str) -> None:
    """Refuse what would be compared as it stands although it is meant as a pattern."""
    mark = _MARK.match(text)
    plain = "/" + text[mark.end() if mark else 0 :].lstrip("/")
    found = _PATTERN.search(plain)
    if not mark and not found:
        return
    prefix = plain[: found.start()] if found else plain
    if found and found[0] != "$":
        prefix = prefix.rpartition("/")[0] or "/"
    ways = [prefix, *_as_patterns(plain, found)]
    raise ValueError(f"a path is a prefix by whole segments: write {', or '.join(ways)}")


def _as_patterns(plain: str, found: re.Match[str] | None) -> list[str]:
    """What is written as a pattern where a prefix is expected, in the spelling of patterns."""
    if found is None or _EVERYTHING.fullmatch(plain[found.start() :].removesuffix("$")):
        return []
    if found[0] == "$":
        return [f"= {plain[:-1]}"]
    if _STAR.search(plain) or _PLACEHOLDER.search(plain):
        parts = _STAR.sub("[^/]+", _PLACEHOLDER.sub(_group, plain.replace(".", r"\.")))
        pattern = f"~ ^{parts}$"
    else:
        pattern = f"~ ^{plain}"
    try:
        return [route_path(pattern)]
    except ValueError:
        return []


def _group(match: re.Match[str]) -> str:
    kind = _KINDS.get(match[2] or "", "[^/]+")
    return f"(?P<{match[1] or match[3] or match[4]}>{kind})"
