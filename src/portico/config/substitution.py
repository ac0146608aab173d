"""A document as plain data, with `${NAME}` and `${NAME:-default}` replaced from the environment.

Only values are replaced, never keys, and a replacement is never read as YAML: it cannot add keys or lists. Text that is
just one `${NAME}` stays text, so that a secret such as 0123 is not turned into a number; settings that want
a number or a yes/no read it from text. Empty counts as unset, as `:-` has it in a shell.

Values of header fields and query parameters are text as it is written (`X-Accel-Buffering: no`), but for `false`,
which is no value. In them, and in other templates, `{env.NAME}` and `{env.NAME:-default}` are replaced as well, and
nothing in such a variable is taken for one of the names in braces that stand for what is known of a request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from portico.config.document import Document, Node, scalar
from portico.config.environment import is_text
from portico.config.problems import Finding, KeyPath

_REFERENCE = re.compile(r"\$\$|\{\{|(\$\{|\{env\.)(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\})?")
_IN_TEMPLATE = "{env."
"""How a variable begins in a template."""
_WAYS, _VERBS = ("request", "response"), ("set", "add")
_TEXTS = {
    *(("policies", "headers", way, verb) for way in _WAYS for verb in _VERBS),
    *(("policies", "transform", way, part, verb) for way in _WAYS for part in ("query", "headers") for verb in _VERBS),
}
"""The keys, one in the other, below which values are text and templates (`policies/templates.py`)."""
_TEMPLATES = {
    *_TEXTS,
    *(("policies", "transform", way, "json", verb) for way in _WAYS for verb in ("set", "merge")),
    ("policies", "transform", "request", "path"),
}
"""The keys below which values are templates."""
_NO_VALUE = {"false": False, "": None, "null": None, "~": None}


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
    found = [match[2] for match in _REFERENCE.finditer(node.content) if match[1] != _IN_TEMPLATE or _is_template(path)]
    return [name for name in found if name and environ.get(name)]


def _is_template(path: KeyPath) -> bool:
    return _is_below(_TEMPLATES, path)


def _is_below(places: set[tuple[str, ...]], path: KeyPath) -> bool:
    """Whether a path is that of a value below one of the places, in which elements of lists are not counted."""
    for start, part in enumerate(path):
        if part == "policies":
            keys = tuple(each for each in path[start:] if isinstance(each, str))
            if keys[:4] in places or keys[:5] in places:
                return True
    return False


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
        is_template, is_as_written = _is_template(path), _is_below(_TEXTS, path)
        if "$" not in node.content and not (is_template and _IN_TEMPLATE in node.content):
            if not node.plain:
                return node.content
            return _NO_VALUE.get(node.content, node.content) if is_as_written else scalar(node.content)
        try:
            text = _REFERENCE.sub(partial(self._value, is_template), node.content)
        except _UnsetError as unset:
            self.findings.append(Finding(path, str(unset.args[0])))
            return None
        return text or (None if node.plain and not is_as_written else "")

    def _value(self, is_template: bool, match: re.Match[str]) -> str:
        start, name, default = match.groups()
        if match[0] == "$$":
            return "$"
        if start is None or (start == _IN_TEMPLATE and (name is None or not is_template)):
            return match[0]
        if name is None:
            raise _UnsetError("`${` starts a variable: write ${NAME} or ${NAME:-default}, and $$ for a dollar sign")
        value = self.environ.get(name) or default
        if value is None:
            remedy = f"set it or write {start}{name}:-default}}"
            raise _UnsetError(f"the environment variable {name} is not set; {remedy}")
        if not is_text(value):
            raise _UnsetError(f"the environment variable {name} is not UTF-8 text")
        return value.replace("{", "{{").replace("}", "}}") if start == _IN_TEMPLATE else value
