"""JSON Pointers (RFC 6901), and which of them lead through the same places."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from portico.core.json_text.syntax import members_but

Names: TypeAlias = tuple[bytes, ...]
"""What a pointer says: the names of members and numbers of elements from the whole down, in UTF-8."""

_MOST: Final = 100
_INDEX: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
END: Final = b"-"
"""The element behind the last one of an array."""


def names_of(pointer: str) -> Names:
    """Raises ValueError for what is no pointer."""
    if not pointer:
        return ()
    if pointer[0] != "/":
        raise ValueError(f"{pointer!r} is no JSON Pointer: one begins with a slash, such as /user/name")
    if re.search("~(?![01])", pointer):
        raise ValueError(f"{pointer!r} is no JSON Pointer: a ~ in a name is written ~0, a slash ~1")
    names = pointer[1:].split("/")
    if len(names) > _MOST:
        raise ValueError(f"{pointer[:40]!r}… has more than {_MOST} names")
    return tuple(plain(name.replace("~1", "/").replace("~0", "~")) for name in names)


def inner_names_of(pointer: str) -> Names:
    """Those of a pointer that may not mean the whole document."""
    if names := names_of(pointer):
        return names
    raise ValueError("an empty pointer means the whole document; name a part of it, such as /user")


def plain(name: str) -> bytes:
    """A name as `syntax.name_of` tells it."""
    return name.encode("utf-8", "surrogatepass")


def index_of(name: bytes) -> int | None:
    """The element that a name means in an array: `01` and `-` are no index (section 4)."""
    return int(name) if _INDEX.fullmatch(name) else None


_nothing: Final = re.compile(b"").match


class Level:
    """What the pointers of an edit lead to from one value: only that is split off when its text is.

    `close` it once all pointers are added.
    """

    __slots__ = ("below", "match_rest")

    def __init__(self) -> None:
        self.below: dict[bytes, Level] = {}
        self.match_rest = _nothing
        """Matches members, in a shape, that no pointer leads to."""

    def add(self, names: Names) -> tuple[Level, ...]:
        """One more pointer; gives the levels at which its names are looked for."""
        levels = [self]
        for name in names:
            levels.append(levels[-1].below.setdefault(name, Level()))
        return tuple(levels[:-1])

    def close(self) -> None:
        """Compile what reads over the rest."""
        if self.below:
            self.match_rest = members_but(frozenset(self.below)).match
            for level in self.below.values():
                level.close()

    def knows(self, name: bytes) -> bool:
        """Whether a member of that name is split off."""
        return name in self.below

    def at(self, name: bytes) -> Level:
        """The level below."""
        return self.below.get(name, EVERY)


class _Every(Level):
    """All members are split off: for what no pointer says beforehand."""

    __slots__ = ()

    def knows(self, name: bytes) -> bool:  # noqa: ARG002
        return True

    def at(self, name: bytes) -> Level:  # noqa: ARG002
        return self


EVERY: Final = _Every()
