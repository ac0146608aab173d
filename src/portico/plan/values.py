"""Settings as flat values that can be compared and shown: a default that is written out is the default."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from portico.config.problems import KeyPath, dotted
from portico.observe.log_fields import is_secret_field

_LONGEST: Final = 80
"""Characters of a value that are shown."""
_NOTHING: Final = object()
_SETTING: Final = frozenset(("set", "add"))
"""Keys below which fields and parameters are named."""

Flat = dict[KeyPath, Any]


def flat(value: Any, without: Collection[str] = ()) -> Flat:
    """Each value of a model under its keys, but for the model's own keys in `without`."""
    return dict(_flat(value, (), without))


def differences(old: Any, new: Any, without: Collection[str] = ()) -> list[str]:
    """The lines that say what is other in `new`, in its order: `timeout.response: 30 → 5`."""
    if old == new:
        return []
    before, after = flat(old, without), flat(new, without)
    known = _beginnings(before), _beginnings(after)
    lines: dict[str, None] = {}
    for path in {**after, **before}:
        one, other = before.get(path, _NOTHING), after.get(path, _NOTHING)
        if one is _NOTHING or other is _NOTHING:
            if path in (known[0] if one is _NOTHING else known[1]):
                continue  # an empty list of one side, of which the elements of the other have lines
            whole = _missing(path, known[0] if one is _NOTHING else known[1])
            if whole != path:  # a part that is new or gone as a whole is one line
                lines[f"{_written(whole)}: {'added' if one is _NOTHING else 'removed'}"] = None
                continue
        if one is _NOTHING or other is _NOTHING or one != other:
            words = ("(a secret)" if _is_secret(path, value) else shown(value) for value in (one, other))
            lines[f"{_written(path)}: {' → '.join(words)}"] = None
    return [*lines]


def _is_secret(path: KeyPath, value: Any) -> bool:
    """Whether it is the value of a field or parameter whose name says so."""
    is_named = any(part in _SETTING for part in path) and is_secret_field(str(path[-1]))
    return is_named and value is not _NOTHING and not isinstance(value, bool)


def _beginnings(values: Flat) -> set[KeyPath]:
    """The parts of which there is something: nothing is below a key that has no value."""
    return {path[:length] for path, value in values.items() for length in range(len(path) + (value is not None))}


def _missing(path: KeyPath, there: set[KeyPath]) -> KeyPath:
    """The first part of a path of which there is nothing."""
    return next((path[:length] for length in range(1, len(path)) if path[:length] not in there), path)


def _written(path: KeyPath) -> str:
    return dotted(path) or "value"


def shown(value: Any) -> str:
    """A value in one line, cut where it is long; a secret is not shown."""
    if value is _NOTHING or value is None:
        return "none"
    if isinstance(value, SecretStr):
        return "(a secret)"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (tuple, list, set, frozenset)):
        inside = ", ".join(map(shown, sorted(value, key=str) if isinstance(value, (set, frozenset)) else value))
        return _cut(f"[{inside}]")
    if isinstance(value, (bool, int)):
        return json.dumps(value)
    text = str(value.value if isinstance(value, Enum) else value)
    return _cut(text if text.isprintable() and text else ascii(text))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _flat(value: Any, path: KeyPath, without: Collection[str]) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, BaseModel):
        for name, key in _fields(type(value)):
            if path or name not in without:
                yield from _flat(getattr(value, name), (*path, key), without)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _flat(getattr(value, field.name), (*path, field.name), without)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(part, (*path, str(key)), without)
    elif isinstance(value, (tuple, list)) and any(isinstance(part, (BaseModel, Mapping)) for part in value):
        for index, part in enumerate(value):
            yield from _flat(part, (*path, _name(part, index)), without)
    else:
        yield path, value


def _name(part: Any, index: int) -> str | int:
    """What an element of a list is called: its URL, name or label else its place in it."""
    for key in ("url", "name", "label"):
        named = getattr(part, key, None) if isinstance(part, BaseModel) else None
        if named:
            return str(named)
    return index


@cache
def _fields(kind: type[BaseModel]) -> tuple[tuple[str, str], ...]:
    """The fields of a model, each with its key in the file."""
    return tuple((name, str(field.alias or name)) for name, field in kind.model_fields.items())
