"""A document as plain data, with `${NAME}` and `${NAME:-default}` replaced from the environment.

Only values are replaced, never keys, and a replacement is never read as YAML: it cannot add keys or lists. Text that is
just one `${NAME}` stays text, so that a secret such as 0123 is not turned into a number; settings that want
a number or a yes/no read it from text. Empty counts as unset, as `:-` has it in a shell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from portico.config.document import Document, Node, scalar
from portico.config.environment import is_text
from portico.config.problems import Finding, KeyPath

_REFERENCE = re.compile(r"\$\$|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(:-([^{}]*))?\})?")


class _UnsetError(LookupError):
    """A variable without a value and without a default, or with one that cannot be used."""


def plain_data(document: Document, environ: Mapping[str, str]) -> tuple[Any, list[Finding]]:
    """Mappings, lists and scalars as YAML means them, and a finding for each variable that is not set."""
    reader = _Reader(environ)
    return reader.read(document.root, ()), reader.findings


def variables_at(document: Document, path: KeyPath, environ: Mapping[str, str]) -> list[str]:
    """The variables whose values are part of the text at `path`."""
    node = document.at(path)
    if node is None or not isinstance(node.content, str):
        return []
    return [match[1] for match in _REFERENCE.finditer(node.content) if match[1] and environ.get(match[1])]


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.findings: list[Finding] = []
        self.done: dict[int, Any] = {}

    def read(self, node: Node, path: KeyPath) -> Any:
        """A node that several aliases name is read once."""
        if id(node) not in self.done:
            self.done[id(node)] = self._read(node, path)
        return self.done[id(node)]

    def _read(self, node: Node, path: KeyPath) -> Any:
        if isinstance(node.content, dict):
            return {name: self.read(entry.value, (*path, name)) for name, entry in node.content.items()}
        if isinstance(node.content, list):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.content)]
        if "$" not in node.content:
            return scalar(node.content) if node.plain else node.content
        try:
            text = _REFERENCE.sub(self._value, node.content)
        except _UnsetError as unset:
            self.findings.append(Finding(path, str(unset.args[0])))
            return None
        return text or (None if node.plain else "")

    def _value(self, match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name = match[1]
        if name is None:
            raise _UnsetError("`${` starts a variable: write ${NAME} or ${NAME:-default}, and $$ for a dollar sign")
        value = self.environ.get(name) or match[3]
        if value is None:
            raise _UnsetError(f"the environment variable {name} is not set; set it or write ${{{name}:-default}}")
        if not is_text(value):
            raise _UnsetError(f"the environment variable {name} is not UTF-8 text")
        return value
