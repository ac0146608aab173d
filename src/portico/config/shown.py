"""The document of a configuration in force, as it may be shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from portico.config.document import Document, Node
from portico.config.environment import OVERRIDES
from portico.config.masks import Known, hidden, inside, is_secret, secrets
from portico.config.model import Config
from portico.config.problems import KeyPath
from portico.config.substitution import escaped, names_others


def known_of(config: Config, environ: Mapping[str, str]) -> Known:
    """What is in force, with its secrets. A configuration that is from no file has an empty document."""
    document = config.source.document() if config.source is not None else Document("", Node(1, 1, {}))
    return Known(document, {path: name for name, path in OVERRIDES.items() if environ.get(name)})


def shown_document(config: Config, known: Known) -> dict[str, Any]:
    """The configuration as keys and values: with what is from the environment and from included files, but without
    secrets. As a file it means the same, but for the secrets.
    """
    written = {key: value for key, value in config.written.items() if key != "include"}
    shown: dict[str, Any] = _Showing(known).show(written, known.document.root, (), (Config,))
    return shown


_LEFT_OUT: Final = object()
_NUMBERS: Final = frozenset(("port", "workers", "requests_per_minute", "burst"))
"""Keys that variables stand for, and that are numbers."""


class _Showing:
    def __init__(self, known: Known) -> None:
        self.variables = known.variables
        self.secret = {id(node) for _, node in secrets(known.document)}

    def show(self, value: Any, node: Node | None, path: KeyPath, kinds: tuple[Any, ...]) -> Any:
        if isinstance(value, Mapping):
            return {key: part for key, part in self._parts(value.items(), node, path, kinds) if part is not _LEFT_OUT}
        if isinstance(value, (list, tuple)):
            return [part for _, part in self._parts(enumerate(value), node, path, kinds) if part is not _LEFT_OUT]
        if is_secret(path, kinds) or id(node) in self.secret:
            return self._secret(value, node, path)
        if node is not None and isinstance(node.content, str) and names_others(node.content, path):
            return node.content
        if isinstance(value, str):
            is_number = path in self.variables and path[-1] in _NUMBERS and value.isdecimal()
            return int(value) if is_number else escaped(value)
        return value

    def _parts(
        self, parts: Iterable[tuple[Any, Any]], node: Node | None, path: KeyPath, kinds: tuple[Any, ...]
    ) -> Iterator[tuple[Any, Any]]:
        for part, value in parts:
            yield part, self.show(value, _below(node, part), (*path, part), inside(kinds, part))

    def _secret(self, value: Any, node: Node | None, path: KeyPath) -> Any:
        """What is from the environment without a variable of its own, such as an embedded Redis, is left out."""
        if path in self.variables:
            return f"${{{self.variables[path]}}}"
        if node is not None and isinstance(node.content, str):
            return hidden(node.content)
        return value if value is None else _LEFT_OUT


def _below(node: Node | None, part: str | int) -> Node | None:
    content = node.content if node is not None else None
    if isinstance(content, dict) and isinstance(part, str) and part in content:
        return content[part].value
    if isinstance(content, list) and isinstance(part, int) and part < len(content):
        return content[part]
    return None
