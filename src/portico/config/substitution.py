"""A document as plain data, with `${NAME}` and `${NAME:-default}` replaced from the environment.

Only values are replaced, never keys, and a replacement is never read as YAML: it cannot add keys or lists. Text that is
just one `${NAME}` stays text, so that a secret such as 0123 is not turned into a number; settings that want
a number or a yes/no read it from text. Empty counts as unset, as `:-` has it in a shell.

`${file:PATH}` is what is in a file, without the newline at its end.

Values of header fields and query parameters are text as it is written (`X-Accel-Buffering: no`), but for `false`,
which is no value. In them, and in other templates, `{env.NAME}` and `{env.NAME:-default}` are replaced as well, and
nothing in such a variable, or in a file, is taken for one of the names in braces that stand for what is known of a
request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from portico.config.document import Document, Node, scalar
from portico.config.environment import is_text
from portico.config.problems import Finding, KeyPath
from portico.config.secret_files import SecretFiles

_REFERENCE = re.compile(
    r"\$\$|\{\{|\$\{file:(?P<file>[^{}]*)\}"
    r"|(?P<start>\$\{|\{env\.)(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\})?"
)
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
_WITH_TEXTS = frozenset(("headers", "transform"))
"""One of these keys is in the path of each of them."""
_NO_VALUE = {"false": False, "": None, "null": None, "~": None}


class _UnsetError(LookupError):
    """A variable or file without a value and without a default, or with one that cannot be used."""


def plain_data(
    document: Document, environ: Mapping[str, str], files: SecretFiles | None = None
) -> tuple[Any, list[Finding]]:
    """Mappings, lists and scalars as YAML means them, and a finding for each variable or file that has no value."""
    reader = _Reader(environ, files or SecretFiles(Path()))
    return reader.read(document.root, ()), reader.findings


def raw_data(document: Document, path: KeyPath = ()) -> Any:
    """The same with each variable and file still named as it is written; `path` is where the document stands."""
    return _Reader({}, SecretFiles(Path()), is_raw=True).read(document.root, path)


def names_others(text: str, path: KeyPath) -> bool:
    """Whether a text names a file, or, where it is part of a template, a variable: what these hold may be a secret."""
    return "${file:" in text or (_is_template(path) and ("${" in text or _IN_TEMPLATE in text))


def is_text_as_written(path: KeyPath) -> bool:
    """Whether a value at that path is text, whatever word it looks like."""
    return _is_below(_TEXTS, path)


def escaped(text: str) -> str:
    """Text that stands for itself, as it is written where variables are replaced."""
    return re.sub(r"\$(?=[${])", "$$", text)


def variables_at(document: Document, path: KeyPath, environ: Mapping[str, str]) -> list[str]:
    """The variables whose values are part of the text at `path`."""
    node = document.at(path)
    if node is None or not isinstance(node.content, str):
        return []
    matches = _REFERENCE.finditer(node.content)
    found = [match["name"] for match in matches if match["start"] != _IN_TEMPLATE or _is_template(path)]
    return [name for name in found if name and environ.get(name)]


def files_at(document: Document, path: KeyPath) -> list[str]:
    """The files, as written, whose contents are part of the text at `path`."""
    node = document.at(path)
    if node is None or not isinstance(node.content, str):
        return []
    return [match["file"] for match in _REFERENCE.finditer(node.content) if match["file"]]


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
    def __init__(self, environ: Mapping[str, str], files: SecretFiles, *, is_raw: bool = False) -> None:
        self.is_raw = is_raw
        self.environ = environ
        self.files = files
        self.findings: list[Finding] = []
        self.done: dict[int, Any] = {}

    def read(self, node: Node, path: KeyPath) -> Any:
        """A node that several aliases name is read once."""
        if type(node.content) is str and "$" not in node.content and _WITH_TEXTS.isdisjoint(path):
            return scalar(node.content) if node.plain else node.content  # nearly all there is in a large file
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
        if self.is_raw:
            return node.content
        try:
            text = _REFERENCE.sub(partial(self._value, is_template), node.content)
        except _UnsetError as unset:
            self.findings.append(Finding(path, str(unset.args[0])))
            return None
        return text or (None if node.plain and not is_as_written else "")

    def _value(self, is_template: bool, match: re.Match[str]) -> str:
        file, start, name, default = match.group("file", "start", "name", "default")
        if match[0] == "$$":
            return "$"
        if file is not None:
            return self._from_file(is_template, file.strip())
        if start is None or (start == _IN_TEMPLATE and (name is None or not is_template)):
            return match[0]
        if name is None:
            raise _UnsetError(
                "`${` starts a variable: write ${NAME}, ${NAME:-default} or ${file:PATH}, and $$ for a dollar sign"
            )
        value = self.environ.get(name) or default
        if value is None:
            remedy = f"set it or write {start}{name}:-default}}"
            raise _UnsetError(f"the environment variable {name} is not set; {remedy}")
        if not is_text(value):
            raise _UnsetError(f"the environment variable {name} is not UTF-8 text")
        return _without_names(value) if start == _IN_TEMPLATE else value

    def _from_file(self, is_template: bool, path: str) -> str:
        if not path:
            raise _UnsetError("name a file: ${file:/run/secrets/NAME}")
        try:
            value = self.files.value(path)
        except ValueError as error:
            raise _UnsetError(str(error)) from None
        return _without_names(value) if is_template else value


def _without_names(value: str) -> str:
    return value.replace("{", "{{").replace("}", "}}")
