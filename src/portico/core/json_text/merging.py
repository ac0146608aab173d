"""JSON Merge Patch (RFC 7396) on text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from portico.core.json_text.pointers import EVERY, Level, Names
from portico.core.json_text.syntax import check_json
from portico.core.json_text.tree import Child, Object, Value, value_of

LEVELS: Final = 100
"""How deep a patch may be nested."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch that is an object: what becomes of its members."""

    members: dict[bytes, tuple[bytes, Patch | bytes | None]]
    """By name: how the name is written, and what the member is merged with, replaced by, or None if it goes."""
    text: bytes
    """What a patch makes of nothing: itself without members that are null."""

    def names(self) -> Iterator[Names]:
        """Pointers to all that it changes."""
        for name, (_, below) in self.members.items():
            yield (name,)
            if isinstance(below, Patch):
                yield from ((name, *names) for names in below.names())


def patch_of(text: bytes) -> Patch | bytes:
    """A patch by its text; one that is no object takes the place of whatever it is merged with.

    Raises JsonEditError where it is nested too deep.
    """
    check_json(text, LEVELS)
    return _patch_of(value_of(text)) or b"null"


def _patch_of(value: Value) -> Patch | bytes | None:
    if value.kind == b"n":
        return None
    container = value.container(EVERY)
    if not isinstance(container, Object):
        return value.text()
    members = {name: (child.key, _patch_of(child.value)) for name, child in container.members()}
    parts = [
        key + b":" + (below.text if isinstance(below, Patch) else below)
        for key, below in members.values()
        if below is not None
    ]
    return Patch(members, b"{" + b",".join(parts) + b"}")


def merge(target: Child, patch: Patch | bytes, level: Level) -> None:
    """Merge a patch into a value; into each of the members that have the same name."""
    if isinstance(patch, bytes):
        target.value = value_of(patch)
        return
    container = target.value.container(level)
    if not isinstance(container, Object):
        target.value = value_of(patch.text)
        return
    for name, (key, below) in patch.members.items():
        found = container.find(name)
        for child in found:
            if below is None:
                child.gone = True
            else:
                merge(child, below, level.at(name))
        if not found and below is not None:
            container.append(name, key, value_of(below.text if isinstance(below, Patch) else below))
