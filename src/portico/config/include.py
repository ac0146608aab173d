"""`include`: services, routes and consumers from more files, each with the positions of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any, Final

from portico.config.document import Document, Entry, Node, parse_document
from portico.config.problems import ConfigError, Finding, Problem, nearest
from portico.config.reading import read_text
from portico.config.substitution import plain_data

INCLUDE: Final = "include"
_NAMED: Final = ("services",)
"""Keys whose entries come from several files by name."""
_LISTED: Final = ("routes", "consumers")
"""Keys whose lists are joined: those of the file itself, then of the others in the order of their names."""
_PATTERN: Final = frozenset("*?[")


def add_included(document: Document, directory: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Add what the files contain that a document includes; their texts by path. Raises ConfigError."""
    texts: dict[str, str] = {}
    written = document.at((INCLUDE,))
    if written is None:
        return texts
    patterns, _ = plain_data(Document(document.filename, written), environ)
    problems: list[Problem] = []
    for path in _found(document, directory, patterns, problems):
        try:
            texts[str(path)] = read_text(path)
        except ConfigError as error:
            problems += error.problems
    add_texts(document, texts, problems)
    if problems:
        raise ConfigError(problems)
    return texts


def add_texts(document: Document, texts: Mapping[str, str], problems: list[Problem]) -> None:
    """Add what included files contain, by their paths; what is wrong with them goes to `problems`."""
    for path, text in texts.items():
        try:
            _add(document, parse_document(text, path), problems)
        except ConfigError as error:
            problems += error.problems


def included_files(patterns: Iterable[str], directory: Path) -> list[Path]:
    """The files that patterns name now, each once, and the folders in which more of them may appear."""
    files = [path for pattern in patterns for path in _matches(directory, pattern)]
    folders = [(directory / pattern).parent for pattern in patterns if not _PATTERN.isdisjoint(pattern)]
    return list(dict.fromkeys([*files, *folders]))


def _found(document: Document, directory: Path, patterns: object, problems: list[Problem]) -> Iterator[Path]:
    """The files in the order of the patterns; one that is named in full has to exist."""
    seen: set[Path] = set()
    for index, pattern in enumerate(patterns if isinstance(patterns, list) else [patterns]):
        if not isinstance(pattern, str):
            continue  # that is reported with all other wrong types
        paths = _matches(directory, pattern)
        if not paths and _PATTERN.isdisjoint(pattern):
            key = (INCLUDE, index) if isinstance(patterns, list) else (INCLUDE,)
            problems.append(document.problem(Finding(key, f"there is no file {pattern}")))
        for path in paths:
            if path not in seen:
                seen.add(path)
                yield path


def _matches(directory: Path, pattern: str) -> list[Path]:
    """Relative to the folder of the file that includes; names that begin with a dot only where the pattern's does."""
    return [directory / name for name in sorted(glob(pattern, root_dir=directory))]  # noqa: PTH207 - it takes no absolute ones


def _add(document: Document, more: Document, problems: list[Problem]) -> None:
    own, added = document.root.content, more.root.content
    if not isinstance(own, dict):
        return
    if not isinstance(added, dict):
        problems.append(more.problem(Finding((), "expected keys and values at the top, such as services:")))
        return
    for key, entry in added.items():
        if key not in (*_NAMED, *_LISTED):
            problems.append(more.problem(_misplaced(key)))
            continue
        node, content = entry.value, entry.value.content
        if isinstance(content, str) and not content:
            continue  # nothing is written there
        wanted = dict if key in _NAMED else list
        if not isinstance(content, wanted):
            expected = "names and their settings" if key in _NAMED else "a list"
            problems.append(more.problem(Finding((key,), f"expected {expected}")))
            continue
        into = own.setdefault(key, Entry(entry.line, entry.column, Node(node.line, node.column, wanted()))).value
        if isinstance(into.content, str) and not into.content:
            into.content = wanted()
        if isinstance(into.content, dict) and isinstance(content, dict):
            _add_named(document, into.content, more, key, content, problems)
        elif isinstance(into.content, list) and isinstance(content, list):
            _add_listed(document, into.content, more, key, content)


def _add_named(
    document: Document,
    own: dict[str, Entry],
    more: Document,
    key: str,
    added: Mapping[str, Entry],
    problems: list[Problem],
) -> None:
    for name, entry in added.items():
        if name in own:
            first = document.problem(Finding((key, name), "", at_key=True))
            message = f"is written at {first.file}:{first.line} already: one of the two has to go, or have another name"
            problems.append(more.problem(Finding((key, name), message, at_key=True)))
        else:
            own[name] = entry
            document.files[key, name] = more.filename


def _add_listed(document: Document, own: list[Node], more: Document, key: str, added: Sequence[Node]) -> None:
    for index, node in enumerate(added, len(own)):
        document.files[key, index] = more.filename
        own.append(node)


def _misplaced(key: str) -> Finding:
    """A key that an included file does not have."""
    allowed = (*_NAMED, *_LISTED)
    if key == INCLUDE:
        return Finding((key,), "an included file includes no others; name them all in the first one", at_key=True)
    suggestion: Any = nearest(key, allowed)
    message = f"an included file has {', '.join(allowed)}; all else is for the file that includes it"
    return Finding((key,), message, suggestion, at_key=True)
