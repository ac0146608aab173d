"""Kong's paths, and what becomes of them on the way to the service."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from portico.core.placeholders import RESERVED
from portico.imports.order import Matching, literal
from portico.imports.patterns import LONGEST, translated, why_not, with_names, without_names

_PLAIN_BEFORE_3: Final = re.compile(r"[A-Za-z0-9._~/%-]*")
"""What Kong 2 took for a prefix; all else was a pattern."""
LOOKS_LIKE_PATTERN: Final = re.compile(r"[*+?^$()\[\]{}|\\]")
_CAPTURE: Final = re.compile(r"\$\(\s*uri_captures(?:\[\s*[\"']?(\w+)[\"']?\s*\]|\.(\w+))(?:\s+or\s+(?:\"\"|''))?\s*\)")
_EXACT: Final = re.compile(r"((?:[\w/%~@!,;:=&-]|\\[^A-Za-z0-9])+)\$")
"""A pattern that is one path."""
_WITH_REST: Final = re.compile(r"\^((?:[\w/%~@!,;:=&-]|\\[^A-Za-z0-9])+)\(\?:/\(\?P?<path>\.\*\)\)\?\$")
"""A prefix by whole segments, as a pattern that captures what follows."""
_REST: Final = "rest"


@dataclass(slots=True)
class Path:
    """One path of a route. `why` says that it cannot be said here."""

    matching: Matching
    is_pattern: bool
    why: str = ""


def is_pattern(text: str, version: str) -> bool:
    """Whether a path is a pattern. Raises ValueError for one that Kong refuses."""
    if version == "3.0":
        if not text.startswith(("/", "~/")):
            raise ValueError("a path begins with / or, as a pattern, with ~/")
        return text.startswith("~")
    if not text.startswith("/"):
        raise ValueError('a path begins with /; a pattern with ~ needs _format_version "3.0"')
    return not _PLAIN_BEFORE_3.fullmatch(text)


def read_path(text: str, version: str) -> Path:
    """A path as Kong takes it: a prefix by letters, or a pattern from the beginning. Raises ValueError."""
    if not is_pattern(text, version):
        path = "".join(each if "!" <= each <= "~" else _encoded(each) for each in text)
        matching = Matching("prefix", re.sub(r"//+", "/", path))
        if LOOKS_LIKE_PATTERN.search(path):
            matching.become_pattern()
        return Path(matching, is_pattern=False)
    if len(text) > LONGEST:
        return Path(Matching("pattern", "^/"), is_pattern=True, why=f"a pattern of more than {LONGEST} characters")
    flagged = re.sub(r"^(/+)(\(\?i\))", r"\2\1", text.removeprefix("~").removeprefix("^"))  # a slash has no case
    pattern, ignores_case = translated(flagged)
    if not ignores_case and (exact := _EXACT.fullmatch(pattern)):
        return Path(Matching("exact", exact[1].replace("\\", "")), is_pattern=True)
    pattern = f"^{pattern}" if "|" not in _outside(pattern) else f"^(?:{pattern})"
    matching = Matching("pattern", pattern, ignores_case)
    why = why_not(without_names(pattern, set()), ignores_case=ignores_case)
    return Path(matching, is_pattern=True, why=why)


def whole_segments(texts: list[str]) -> dict[str, str]:
    """The prefixes by whole segments among paths, by both ways to write a half of them: `/x/` and `~/x$`."""
    found = {}
    for text in texts:
        prefix = text.removesuffix("/")
        exact = f"~{literal(prefix)}$"
        if text.endswith("/") and prefix and exact in texts:
            found[text] = found[exact] = prefix
    return found


def _encoded(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode())


def _outside(pattern: str) -> str:
    """A pattern without what is in groups and classes."""
    text = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "", pattern)
    while (shorter := re.sub(r"\([^()]*\)", "", text)) != text:
        text = shorter
    return text


@dataclass(frozen=True, slots=True)
class Written:
    """The path and the rewrite of a route; `rewrite` is empty where it is what holds anyway.

    `changed` says what it means that it did not mean, `note` what is worth knowing.
    """

    path: str
    rewrite: str = ""
    changed: str = ""
    note: str = ""


def written(path: Path, *, strips: bool, base: str, uri: str = "") -> Written:
    """A path as it is written here. `base` is the path of the service, `uri` one that takes the place of all.

    Raises ValueError where the service would get another path than from Kong.
    """
    base = base.rstrip("/")
    if uri:
        return _replaced(path, uri)
    matching = path.matching
    if matching.kind == "exact":
        rewrite = (base or "/") if strips else (f"{base}{matching.path}" if base else "")
        return Written(f"= {matching.path}", rewrite)
    if matching.kind != "pattern":
        return _of_prefix(matching, strips=strips, base=base)
    if not strips:
        pattern = without_names(matching.path, set())
        return Written(_marked(matching, pattern), f"{base}/{{path}}" if base else "")
    return _stripped(path, base)


def _of_prefix(matching: Matching, *, strips: bool, base: str) -> Written:
    prefix = "" if matching.prefix == "/" else matching.prefix
    if strips:
        rewrite = f"{base}/{{path}}" if base else ""
    else:
        rewrite = f"{base}{prefix}/{{path}}" if base else ("keep" if prefix else "")
    return Written(matching.prefix, rewrite)


def _marked(matching: Matching, pattern: str) -> str:
    return f"{'~*' if matching.ignores_case else '~'} {pattern}"


def _stripped(path: Path, base: str) -> Written:
    """What matched goes, as `strip_path` has it: of a pattern that goes to the end, all."""
    matching = path.matching
    pattern = without_names(matching.path, set())
    if path.is_pattern and re.search(r"(?<!\\)\$$|\.\*$|\(\.\*\)$|\(\.\+\)$|\(\?:\.\*\)$|\.\+$", pattern):
        note = f"strip_path takes off all that the pattern takes: the service gets {base or '/'}"
        return Written(_marked(matching, pattern), base or "/", note=note)
    if matching.was_prefix == "/":
        return Written(_marked(matching, pattern), f"{base}/{{path}}" if base else "")
    slash = "" if (matching.was_prefix or pattern).endswith("/") else "/?"
    whole = f"{pattern}{slash}(?P<{_REST}>.*)$"
    rewrite = f"{base}/{{{_REST}}}"
    if not why_not(whole, ignores_case=matching.ignores_case):
        return Written(_marked(matching, whole), rewrite)
    whole = f"{pattern}(?:/(?P<{_REST}>.*)|$)"
    if why := why_not(whole, ignores_case=matching.ignores_case):
        raise ValueError(why)
    return Written(_marked(matching, whole), rewrite, "it ends with a whole segment")


def _replaced(path: Path, uri: str) -> Written:
    """`replace.uri` of request-transformer, with what the path captured."""
    matching = path.matching
    if (rest := _WITH_REST.fullmatch(matching.path)) and uri.count("uri_captures") == 1:
        return Written(rest[1].replace("\\", ""), _CAPTURE.sub("{path}", uri))
    named = with_names(matching.path) if path.is_pattern else matching.path
    used: set[str] = set()

    def name(found: re.Match[str]) -> str:
        key = found[1] or found[2]
        used.add(f"g{key}" if key.isdigit() else key)
        return f"{{{f'g{key}' if key.isdigit() else key}}}"

    text = _CAPTURE.sub(name, uri)
    if "$(" in text:
        raise ValueError(f"{uri}: a path is made of what the path captured, and of nothing else")
    if matching.kind != "pattern":
        return Written(f"= {matching.path}" if matching.kind == "exact" else matching.prefix, text)
    pattern = without_names(named, used)
    if missing := sorted(each for each in used if f"(?P<{each}>" not in pattern.replace("(?<", "(?P<")):
        raise ValueError(f"{uri}: the path captures no {missing[0].removeprefix('g')}")
    for each in RESERVED & used:
        pattern = pattern.replace(f"<{each}>", f"<{each}_>")
        text = text.replace(f"{{{each}}}", f"{{{each}_}}")
    if why := why_not(pattern, ignores_case=matching.ignores_case):
        raise ValueError(why)
    return Written(_marked(matching, pattern), text)
