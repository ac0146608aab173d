"""A document that was shown and comes back, as it is written into the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from portico.config.document import Document, Node
from portico.config.masks import NAMES, Known, paired
from portico.config.problems import ConfigError, Finding, KeyPath
from portico.config.substitution import raw_data

_LEFT_OUT: Final = object()


def written_document(new: Mapping[str, Any], shown: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """What to write for `new`, which somebody has made of `shown`.

    What is as it was shown is written as it is in the file, or not at all where it is not there: variables stay
    variables, and defaults are left out. What other files contain is theirs, unless `new` says itself what it includes.
    Raises ConfigError where that was changed.
    """
    writing = _Writing(known, is_whole="include" not in new)
    document: dict[str, Any] = writing.merged(new, shown, known.document.root, (), ())
    writing.find_removed()
    if writing.findings:
        raise ConfigError([known.document.problem(finding) for finding in writing.findings])
    include = known.document.at(("include",))
    if include is not None and "include" not in new:
        document = {"include": raw_data(Document("", include)), **document}
    return document


class _Writing:
    def __init__(self, known: Known, *, is_whole: bool) -> None:
        self.left = dict(known.document.files) if is_whole else {}
        self.findings: list[Finding] = []

    def merged(self, new: Any, shown: Any, node: Node | None, path: KeyPath, place: KeyPath) -> Any:
        """What to write at `path`; `place` is where it was."""
        if place in self.left:
            file = self.left.pop(place)
            if new != shown:
                self._theirs(place, file)
            return _LEFT_OUT
        if new == shown and not any(each[: len(place)] == place for each in self.left):
            return _LEFT_OUT if node is None else raw_data(Document("", node), place)
        if isinstance(new, Mapping) and isinstance(shown, Mapping):
            content = node.content if node is not None and isinstance(node.content, dict) else {}
            merged = {
                key: self.merged(part, shown[key], _value(content, key), (*path, key), (*place, key))
                if key in shown
                else part
                for key, part in new.items()
            }
            kept = {key: part for key, part in merged.items() if part is not _LEFT_OUT}
            return kept if kept or node is not None or not merged else _LEFT_OUT
        if isinstance(new, list) and isinstance(shown, list):
            return self._list(new, shown, node, path, place)
        return new

    def _list(self, new: list[Any], shown: list[Any], node: Node | None, path: KeyPath, place: KeyPath) -> list[Any]:
        nodes = node.content if node is not None and isinstance(node.content, list) else []
        merged = []
        for index, (part, was) in enumerate(zip(new, paired(_names(new), _names(shown)), strict=True)):
            if was is None or was >= len(nodes):
                merged.append(part)
                continue
            found = self.merged(part, shown[was], nodes[was], (*path, index), (*place, was))
            if found is not _LEFT_OUT:
                merged.append(found)
        return merged

    def find_removed(self) -> None:
        """What other files contain, and is not in the new document as it was."""
        for place, file in self.left.items():
            self._theirs(place, file)

    def _theirs(self, place: KeyPath, file: str) -> None:
        message = f"is written in {file}, which is left alone: change it there, and reload"
        self.findings.append(Finding(place, message, at_key=True))


def _value(content: Mapping[str, Any], key: str) -> Node | None:
    return content[key].value if key in content else None


def _names(values: Sequence[Any]) -> list[str]:
    return [_name(value) for value in values]


def _name(value: Any) -> str:
    if isinstance(value, Mapping):
        return next((f"{key} {value[key]}" for key in NAMES if isinstance(value.get(key), str)), "keys")
    return repr(value)
