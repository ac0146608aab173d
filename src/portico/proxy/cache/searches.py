"""Which parameters do not matter for the URLs of a path, as responses have said (No-Vary-Search)."""

from __future__ import annotations

from typing import Final

from portico.proxy.cache.query import NoVarySearch

_MOST_PATHS: Final = 4096
_LONGEST: Final = 1024
"""Bytes of a path of which anything is remembered."""


class Searches:
    """The last word of a response for each path, by `keys.path_key`; what was said longest ago is forgotten first."""

    __slots__ = ("said",)

    def __init__(self) -> None:
        self.said: dict[bytes, NoVarySearch] = {}

    def __bool__(self) -> bool:
        return bool(self.said)

    def of(self, path: bytes) -> NoVarySearch | None:
        """What is known of a path."""
        return self.said.get(path)

    def note(self, path: bytes, said: NoVarySearch) -> None:
        """A response for this path has said so."""
        if len(path) > _LONGEST:
            return
        self.said.pop(path, None)
        self.said[path] = said
        if len(self.said) > _MOST_PATHS:
            del self.said[next(iter(self.said))]

    def forget(self, path: bytes) -> None:
        """A response for this path, which took the place of one that said so, does not."""
        self.said.pop(path, None)
