"""In which order routes are asked that may take the same requests.

Portico asks the routes of one pattern together, where that stands first in the file: named hosts first, then those
with more conditions. nginx knows no such thing. So a pattern that has to be asked in another place, or after a route
with fewer conditions, is written in another way that means the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

from portico.imports.nginx.narrowing import Narrow
from portico.imports.nginx.patterns import is_taken

_SLASHES = ("/{1}", "[/]", "[/]{1}", "/{1,1}", "[/]{1,1}", "(?:/)", "(?:/){1}", "(?:[/])")


@dataclass(slots=True)
class Turns:
    """What has been asked: `_first` has for each pattern of all servers its place."""

    _first: dict[str, int] = field(default_factory=dict)
    _now: int = -1
    """The place of the last pattern of this server."""
    _weight: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """Of the last route of this server for a path."""
    _all: dict[str, set[str]] = field(default_factory=dict)
    """For paths of this server, the hosts of which every request is taken; `*` is any host."""
    _asked: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """The next server."""
        self._now = -1
        self._weight.clear()
        self._all.clear()
        self._asked.clear()

    def left(self, path: str, narrow: Narrow) -> Narrow | None:
        """What routes before it have left of a route's requests."""
        key = f"{path} {replace(narrow, chosen=())}"
        taken = self._all.setdefault(path, set())
        if key in self._asked or "*" in taken:
            return None
        self._asked.add(key)
        hosts = tuple(host for host in narrow.hosts if host not in taken)
        if narrow.hosts and not hosts:
            return None
        if narrow.weight == (0, False):
            taken |= {*hosts} or {"*"}
        return replace(narrow, hosts=hosts)

    def path(self, path: str, narrow: Narrow) -> str:
        """The path as it is written, so that the route is asked after all before it."""
        if not path.startswith("~"):
            return path
        for candidate in chain((path,), _variants(path)):  # whose others few need
            turn = self._first.get(candidate)
            weighs = self._weight.get(candidate)
            if turn is None or (turn >= self._now and (weighs is None or narrow.weight <= weighs)):
                self._now = self._first.setdefault(candidate, len(self._first))
                self._weight[candidate] = narrow.weight
                return candidate
        return path


def _variants(path: str) -> Iterator[str]:
    mark, _, text = path.partition(" ")
    if text.startswith("^/") and text[2:3] not in ("*", "+", "?", "{"):
        candidates = [f"^{slash}{text[2:]}" for slash in _SLASHES]
    else:
        candidates = [f"(?:){text}", f"(?:)(?:){text}", f"(?:{text})", f"^.*(?:{text})"]
    return (written for each in candidates if is_taken(written := f"{mark} {each}"))
