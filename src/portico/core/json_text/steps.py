"""The kinds of changes, each compiled to a function of the whole document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from portico.core.json_text.merging import MergeValue, filled, merge, names_in, patch_of
from portico.core.json_text.places import Found, Place
from portico.core.json_text.pointers import Level, Names, inner_names_of, names_of, plain
from portico.core.json_text.tree import Child, Object, value_of
from portico.core.json_text.values import Value, checked, text_of

Step: TypeAlias = Callable[[Child, Any], None]
"""Changes a document; values are made of the context that comes with it."""


def picking(pointers: Sequence[str], level: Level) -> Step:
    """Leave out all that no pointer leads to."""
    picked: Picked = {}
    for names in sorted(map(inner_names_of, pointers), key=len):
        level.add(names)
        _add(names, picked)

    def pick(root: Child, _: Any) -> None:
        if not _pick(root, picked, level):
            root.value = value_of({b"{": b"{}", b"[": b"[]"}.get(root.value.kind, b"null"))

    return pick


Picked: TypeAlias = "dict[bytes, Picked]"
"""The names that are picked at a level, with what is picked below; all of it where that is empty."""


def _add(names: Names, picked: Picked) -> None:
    """One more pointer, after those that are shorter."""
    *parents, last = names
    for name in parents:
        if picked.get(name) == {}:
            return
        picked = picked.setdefault(name, {})
    picked[last] = {}


def _pick(child: Child, picked: Picked, level: Level) -> bool:
    """Whether anything is left."""
    container = child.value.container(level)
    if not container:
        return False
    kept = [
        each
        for name, below in picked.items()
        for each in container.find(name)
        if not below or _pick(each, below, level.at(name))
    ]
    container.keep(kept)
    return bool(kept)


def removing(pointers: Sequence[str], level: Level) -> Step:
    """Leave out what the pointers mean."""
    places = [Place(inner_names_of(pointer), level) for pointer in pointers]

    def remove(root: Child, _: Any) -> None:
        _remove([each for place in places for each in place.find(root)])

    return remove


def _remove(found: Sequence[Found]) -> None:
    for _, children in found:
        for child in children:
            child.gone = True


class _Renaming:
    """A pointer, and the name or pointer that takes its place."""

    def __init__(self, pointer: str, new: str, level: Level) -> None:
        old_names = inner_names_of(pointer)
        new_names = names_of(new) if new.startswith("/") or not new else (*old_names[:-1], plain(new))
        if new_names[: len(old_names)] == old_names and len(new_names) > len(old_names):
            raise ValueError(f"{pointer!r} cannot be moved into itself, to {new!r}")
        self._old = Place(old_names, level)
        self._new = Place(new_names, level)
        self._keeps_parent = old_names[:-1] == new_names[:-1] and bool(new_names)

    def find(self, root: Child) -> list[Found]:
        """What it is about."""
        return self._old.find(root)

    def rename(self, found: Sequence[Found]) -> list[Found]:
        """Give members that were found and removed the new name; what has to move for that is left over."""
        left = []
        for container, children in found:
            if self._keeps_parent and isinstance(container, Object):
                container.rename(self._old.names[-1], self._new.names[-1], self._new.keys[-1], children)
            else:
                left.append((container, children))
        return left

    def move(self, root: Child, found: Sequence[Found]) -> None:
        """Write the last of those that were removed where the new pointer leads; all go back if it leads nowhere."""
        if found and not self._new.put(root, found[-1][1][-1].value.text()):
            for container, children in found:
                container.restore(self._old.names[-1], children)


def renaming(pointers: Mapping[str, str], level: Level) -> Step:
    """Give what the pointers mean other names or pointers."""
    renamings = [_Renaming(pointer, new, level) for pointer, new in pointers.items()]

    def rename(root: Child, _: Any) -> None:
        old = [each.find(root) for each in renamings]
        for found in old:
            _remove(found)
        left = [each.rename(found) for each, found in zip(renamings, old, strict=True)]
        for each, found in zip(renamings, left, strict=True):
            each.move(root, found)

    return rename


def setting(pointers: Mapping[str, Value], level: Level) -> Step:
    """Write values, one after the other."""
    values = [
        (Place(inner_names_of(pointer), level), value if callable(value) else checked(value))
        for pointer, value in pointers.items()
    ]

    def set_(root: Child, context: Any) -> None:
        for place, value in values:
            place.put(root, text_of(value, context))

    return set_


def merging(patch: MergeValue, level: Level) -> Step:
    """Apply a JSON Merge Patch."""
    made = patch_of(patch)
    for names in names_in(made):
        level.add(names)
    return lambda root, context: merge(root, filled(made, context), level)
