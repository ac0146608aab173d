"""From the text of a document, JSON or YAML, to plain data of a bounded size.

The YAML is that of JSON's values (https://yaml.org/spec/1.2.2/#103-core-schema), as OpenAPI asks for: `no` and
`2024-01-01` are text, and so is every key. It is read from events, with a stack that no depth can exhaust.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from portico.core.slices import Steps, at_once
from portico.openapi.errors import DocumentError

MOST_BYTES: Final = 8 << 20
MOST_VALUES: Final = 1_000_000
"""Values in a document, with every alias written out."""
MOST_DEPTH: Final = 100

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")


def read_data(text: bytes) -> Any:
    """The data that a text is. Raises DocumentError."""
    return at_once(reading(text))


def reading(text: bytes) -> Steps[Any]:
    """The same in steps. Raises DocumentError."""
    if len(text) > MOST_BYTES:
        raise DocumentError(f"it has more than {MOST_BYTES >> 20} MiB")
    text = text.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise DocumentError("nothing is in it")
    if text.startswith(b"<"):
        raise DocumentError("it is HTML or XML, not JSON or YAML")
    try:
        data = _json(text) if text.startswith((b"{", b"[")) else _yaml(text.decode())
    except UnicodeDecodeError as error:
        raise DocumentError(f"it is not UTF-8: the byte {text[error.start]:#04x} does not belong there") from None
    yield
    yield from _checking_size(data)
    return data


def _json(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise DocumentError(f"it is nested more than {MOST_DEPTH} deep") from None
    except msgspec.DecodeError as wrong:
        reason = str(wrong)
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        reason = f"{error.msg}, line {error.lineno}, column {error.colno}"
    except RecursionError:
        pass
    raise DocumentError(f"it is not valid JSON: {reason}")


def _checking_size(data: Any) -> Steps[None]:
    """Raises DocumentError for more than the bounds."""
    count = 0
    coming = [(data, 1)]
    while coming:
        value, depth = coming.pop()
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        count += 1 + len(inner)
        if count > MOST_VALUES:
            raise _too_many()
        if depth > MOST_DEPTH:
            raise DocumentError(f"it is nested more than {MOST_DEPTH} deep")
        yield
        coming.extend((each, depth + 1) for each in inner if isinstance(each, (dict, list)))


def _too_many() -> DocumentError:
    return DocumentError(f"it holds more than {MOST_VALUES:,} values")


def _yaml(text: str) -> Any:
    try:
        return _Composer().compose(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise DocumentError(f"it is not valid YAML: {error.problem or error.context}{where}") from None
    except yaml.YAMLError:
        raise DocumentError("it is not valid YAML") from None


class _Weight(NamedTuple):
    """What is in a value, with every alias in it written out: a few words may stand for more than any memory holds."""

    values: int
    characters: int

    def plus(self, other: _Weight) -> _Weight:
        """Both together. Raises DocumentError for more than the bounds."""
        both = _Weight(self.values + other.values, self.characters + other.characters)
        if both.values > MOST_VALUES:
            raise _too_many()
        if both.characters > MOST_BYTES:
            raise DocumentError(f"it has more than {MOST_BYTES >> 20} MiB, with every alias written out")
        return both


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not been read; `key` is that of the value to come."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    key: str | None = None
    merged: list[Any] = field(default_factory=list)
    weight: _Weight = field(default_factory=lambda: _Weight(1, 0))


class _Composer:
    def __init__(self) -> None:
        self.open: list[_Open] = []
        self.anchors: dict[str, tuple[Any, _Weight]] = {}
        self.roots: list[Any] = []

    def compose(self, text: str) -> Any:
        for event in yaml.parse(text, _LOADER):
            match event:
                case yaml.ScalarEvent():
                    self._scalar(event)
                case yaml.AliasEvent():
                    if event.anchor not in self.anchors:
                        raise _wrong(event, f"*{event.anchor} refers to no anchor above it")
                    self._add(*self.anchors[event.anchor], event)
                case yaml.MappingStartEvent():
                    self.open.append(_Open({}, event.anchor))
                case yaml.SequenceStartEvent():
                    self.open.append(_Open([], event.anchor))
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._end(event)
                case yaml.DocumentStartEvent() if self.roots:
                    raise _wrong(event, "there is a second document in it")
        return self.roots[0] if self.roots else None

    def _scalar(self, event: Any) -> None:
        is_key = self.open and isinstance(self.open[-1].value, dict) and self.open[-1].key is None
        value = event.value if is_key or not event.implicit[0] else _plain(event.value)
        weight = _Weight(1, len(event.value))
        if event.anchor:
            self.anchors[event.anchor] = value, weight
        self._add(value, weight, event)

    def _end(self, event: Any) -> None:
        done = self.open.pop()
        if isinstance(done.value, dict):
            for other in done.merged:
                if not isinstance(other, dict):
                    raise _wrong(event, "<< takes a mapping, or a list of them")
                done.value.update({key: each for key, each in other.items() if key not in done.value})
        if done.anchor:
            self.anchors[done.anchor] = done.value, done.weight
        self._add(done.value, done.weight, event)

    def _add(self, value: Any, weight: _Weight, event: Any) -> None:
        if not self.open:
            self.roots.append(value)
            return
        parent = self.open[-1]
        parent.weight = parent.weight.plus(weight)
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.key is None:
            if not isinstance(value, str):
                raise _wrong(event, "a key has to be a word")
            if value in parent.value:
                raise _wrong(event, f'the key "{value}" is written twice')
            parent.key = value
        else:
            if parent.key == "<<":
                parent.merged += value if isinstance(value, list) else [value]
            else:
                parent.value[parent.key] = value
            parent.key = None


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _wrong(event: Any, message: str) -> DocumentError:
    return DocumentError(f"it is not valid YAML: {message}, line {event.start_mark.line + 1}")
