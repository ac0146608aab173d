"""JSON Merge Patch (RFC 7396) on text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from portico.core.json_text.pointers import EVERY, Level, Names, plain
from portico.core.json_text.syntax import check_json
from portico.core.json_text.tree import Child, Object, Value, value_of
from portico.core.json_text.values import Value as Written
from portico.core.json_text.values import checked, json_value, text_of

LEVELS: Final = 100
"""How deep a patch may be nested."""

MergeValue: TypeAlias = "Written | Mapping[str, MergeValue]"
"""A patch as a value, or by its members: it costs least where their names are known beforehand."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch that is an object: what becomes of its members."""

    members: Mapping[bytes, tuple[bytes, Filled]]
    """By name: how the name is written, and what the member is merged with."""
    text: bytes
    """What a patch makes of nothing: itself without members that are null."""


@dataclass(frozen=True, slots=True)
class Template:
    """A patch whose members, or theirs, are made for each text."""

    members: Mapping[bytes, tuple[bytes, Made]]


Filled: TypeAlias = "Patch | bytes | None"
"""What is merged: an object, or what takes the place of all that is there; None for null."""
Made: TypeAlias = "Template | Callable[[Any], bytes] | Filled"


def patch_of(patch: MergeValue) -> Made:
    """A patch compiled. Raises ValueError for text that is no JSON or nested too deep."""
    if callable(patch):
        return patch
    if isinstance(patch, Mapping):
        return Template({plain(name): (json_value(name), patch_of(value)) for name, value in patch.items()})
    return _read(checked(patch))


def names_in(patch: Made) -> Iterator[Names]:
    """Pointers to all that is known to be changed."""
    if isinstance(patch, Patch | Template):
        for name, (_, below) in patch.members.items():
            yield (name,)
            yield from ((name, *names) for names in names_in(below))


def filled(patch: Made, context: Any) -> Filled:
    """What is to be merged. Raises JsonEditError where what was made is no JSON, or nested too deep."""
    if isinstance(patch, Template):
        return _patch({name: (key, filled(below, context)) for name, (key, below) in patch.members.items()})
    return _read(text_of(patch, context)) if callable(patch) else patch


def _read(text: bytes) -> Filled:
    check_json(text, LEVELS)
    return _split(value_of(text))


def _split(value: Value) -> Filled:
    if value.kind == b"n":
        return None
    container = value.container(EVERY)
    if not isinstance(container, Object):
        return value.text()
    return _patch({name: (child.key, _split(child.value)) for name, child in container.members()})


def _patch(members: Mapping[bytes, tuple[bytes, Filled]]) -> Patch:
    kept = (key + b":" + _new(below) for key, below in members.values() if below is not None)
    return Patch(members, b"{" + b",".join(kept) + b"}")


def _new(patch: Filled) -> bytes:
    """What a patch makes of nothing."""
    return patch.text if isinstance(patch, Patch) else patch or b"null"


def merge(target: Child, patch: Filled, level: Level) -> None:
    """Merge a patch into a value; into each of the members that have the same name."""
    container = target.value.container(level) if isinstance(patch, Patch) else None
    if not isinstance(container, Object) or not isinstance(patch, Patch):
        target.value = value_of(_new(patch))
        return
    for name, (key, below) in patch.members.items():
        found = container.find(name)
        for child in found:
            if below is None:
                child.gone = True
            else:
                merge(child, below, level.at(name))
        if not found and below is not None:
            container.append(name, key, value_of(_new(below)))
