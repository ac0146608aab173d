"""Where a pointer leads in a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from portico.core.json_text.pointers import END, Level, Names
from portico.core.json_text.tree import Child, Container, value_of
from portico.core.json_text.values import json_value

Found: TypeAlias = tuple[Container, Sequence[Child]]
"""An object or array, and what of it a pointer means."""


class Place:
    """A pointer, and the levels that it leads through."""

    __slots__ = ("names", "keys", "_steps")

    def __init__(self, names: Names, level: Level) -> None:
        self.names = names
        self.keys = tuple(json_value(name.decode("utf-8", "surrogatepass")) for name in names)
        self._steps = tuple(zip(names, level.add(names), strict=True))

    def find(self, root: Child) -> list[Found]:
        """All that it means; nothing for an empty pointer."""
        holders: Sequence[Child] = (root,)
        found: list[Found] = []
        for name, level in self._steps:
            found = []
            for holder in holders:
                container = holder.value.container(level)
                if container is not None and (children := container.find(name)):
                    found.append((container, children))
            holders = found[0][1] if len(found) == 1 else [child for _, children in found for child in children]
        return found

    def put(self, root: Child, text: bytes) -> bool:
        """Write a value over what it means, or make that with the parents that are missing or null.

        Whether there was a place for it.
        """
        if not self._steps:
            root.value = value_of(text)
            return True
        holders: Sequence[Child] = (root,)
        is_put = False
        for depth, (name, level) in enumerate(self._steps, 1):
            following: list[Child] = []
            for holder in holders:
                if holder.value.kind == b"n":
                    holder.value = value_of(b"[]" if name == END else b"{}")
                container = holder.value.container(level)
                found = container.find(name) if container else ()
                following += found
                if container and not found:
                    is_put |= container.append(name, self.keys[depth - 1], value_of(self._made(depth, text)))
            holders = following
        for child in holders:
            child.value = value_of(text)
        return is_put or bool(holders)

    def _made(self, depth: int, text: bytes) -> bytes:
        """What holds the value where only so many names of the pointer lead to something."""
        for name, key in zip(self.names[: depth - 1 : -1], self.keys[: depth - 1 : -1], strict=True):
            text = b"[" + text + b"]" if name == END else b"{" + key + b":" + text + b"}"
        return text
