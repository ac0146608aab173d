"""Routes in another system's order of precedence, written so that the same one wins here.

Here exact paths come first, then patterns in the order of the file, then the longest prefix by whole segments. A prefix
that has to come before something that would win over it becomes a pattern, which keeps its place in the file.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeVar

_ALL: Final = "all"
_ANY: Final = ""
_LITERAL: Final = re.compile(r"\^((?:[\w/~@!,;:=&%'-]|\\[^A-Za-z0-9])*)")


@dataclass(slots=True, eq=False)
class Matching:
    """Which requests a route takes. `path` is a beginning of paths, a whole path, or a pattern, by `kind`.

    `guard` is what protects it, and `target` where it leads: a path just beside a protected prefix must not get to the
    same target by a route without that guard.
    """

    kind: Literal["prefix", "exact", "pattern"]
    path: str
    ignores_case: bool = False
    hosts: tuple[str, ...] = ()
    conditions: int = 0
    has_methods: bool = False
    guard: frozenset[str] = frozenset()
    target: Hashable = None
    form: Hashable = None
    """What its pattern says beside the path: where two differ in it, so do their texts."""
    was_prefix: str = ""
    """The prefix that it was before it became a pattern."""

    @property
    def prefix(self) -> str:
        """The prefix without a slash at its end."""
        return self.path.rstrip("/") or "/"

    @property
    def specificity(self) -> tuple[int, int, bool]:
        """What decides between routes with the same path here."""
        rank = 0 if not self.hosts else 1 if any(host.startswith("*") for host in self.hosts) else 2
        return rank, self.conditions, self.has_methods

    def become_pattern(self) -> None:
        """A prefix or an exact path as the pattern that takes the same."""
        if self.kind != "pattern":
            end = "$"
            if self.kind == "prefix":
                self.was_prefix, end = self.path, ""
            self.kind, self.path = "pattern", f"^{literal(self.path)}{end}"


def literal(path: str) -> str:
    """The text of a pattern that is just this path."""
    return re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", path)


def settle(matchings: Sequence[Matching]) -> None:
    """Make patterns of those that would lose to one that they come before; `matchings` are in order of precedence."""
    unguarded = _Unguarded(matchings)
    later = _Later()
    for matching in reversed(matchings):
        if matching.kind == "prefix" and (later.would_win(matching) or unguarded.beside(matching)):
            matching.become_pattern()
        later.add(matching)
    earlier = _Patterns()
    least: dict[str, tuple[int, int, bool]] = {}
    for matching in matchings:
        if matching.kind == "exact":
            general = least.setdefault(matching.path, matching.specificity)
            least[matching.path] = min(general, matching.specificity)
            if general < matching.specificity or earlier.may_take(matching, matching.path):
                matching.become_pattern()
        if matching.kind == "pattern":
            earlier.add(matching)
    _tell_apart([matching for matching in matchings if matching.kind == "pattern"])


class _HasMatching(Protocol):
    @property
    def matching(self) -> Matching: ...


_Route = TypeVar("_Route", bound=_HasMatching)


def in_file_order(written: Sequence[_Route], ranked: Sequence[_Route]) -> list[_Route]:
    """Routes as they were written, but those whose order in the file counts in order of precedence."""
    queues: dict[str, list[_Route]] = {}
    for route in reversed(ranked):
        queues.setdefault(_queue(route.matching), []).append(route)
    return [queues[_queue(route.matching)].pop() for route in written]


def _queue(matching: Matching) -> str:
    return "" if matching.kind == "pattern" else matching.path


def _tell_apart(patterns: Sequence[Matching]) -> None:
    """Patterns with the same text are one here, at the place of the first: where that is too early, another text.

    Two with the same path and another form may have the same text in the end, or not.
    """
    known: dict[tuple[str, bool], Matching] = {}
    forms: set[tuple[str, bool, Hashable]] = set()
    last = form = None
    for pattern in patterns:
        while True:
            key = (pattern.path, pattern.ignores_case)
            own = (*key, pattern.form)
            is_early = key in known and (key != last or pattern.specificity > known[key].specificity)
            if not is_early and (own == form or own not in forms):
                break
            begins = "^" if pattern.path.startswith("^") else ""
            pattern.path = f"{begins}(?:{pattern.path.removeprefix('^')})"
        known[key] = pattern
        forms.add(own)
        last, form = key, own


def _asked(hosts: tuple[str, ...]) -> Iterator[str]:
    """The keys under which routes stand that may take a request for one of these hosts."""
    if not hosts or any(host.startswith("*") for host in hosts):
        yield _ALL
        return
    yield _ANY
    for host in hosts:
        yield host.lower()
        rest = host.lower()
        while "." in rest:
            rest = rest.partition(".")[2]
            yield f"*.{rest}"


def _stored(hosts: tuple[str, ...]) -> Iterator[str]:
    yield _ALL
    if not hosts:
        yield _ANY
    yield from (host.lower() for host in hosts)


def _above(path: str) -> Iterator[str]:
    """The prefixes of whole segments above a path."""
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        yield path


def beginning_of(matching: Matching) -> str:
    """What every path begins with that it takes."""
    if matching.kind != "pattern":
        return matching.prefix if matching.kind == "prefix" else matching.path
    found = None if matching.ignores_case else _LITERAL.match(matching.path)
    if found is None or "|" in matching.path:
        return "/"
    text, rest = found[1], matching.path[found.end() :]
    if rest[:1] in ("?", "*", "{"):  # the last letter may be missing
        text = text[:-1].rstrip("\\")
    return text.replace("\\", "") or "/"


@dataclass(slots=True)
class _Patterns:
    """Patterns by the first segment that their paths begin with, and by hosts."""

    _beginnings: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, matching: Matching) -> None:
        beginning = beginning_of(matching)
        for host in _stored(matching.hosts):
            for segment in {_first(beginning), _ALL}:
                known = self._beginnings.setdefault((host, segment), [])
                if beginning not in known[-8:]:
                    known.append(beginning)

    def may_take(self, matching: Matching, path: str) -> bool:
        """Whether one of them may take a path that begins so."""
        segment = _first(path)
        segments = {segment, _ANY} if segment else {_ALL}
        return any(
            path.startswith(known) or known.startswith(path)
            for host in _asked(matching.hosts)
            for each in segments
            for known in self._beginnings.get((host, each), ())
        )


def _first(path: str) -> str:
    """The first segment, where it is whole; nothing where a path may go on otherwise."""
    segment, slash, _ = path[1:].partition("/")
    return segment if slash else _ANY


@dataclass(slots=True)
class _Later:
    """The routes that come after the one that is looked at."""

    below: set[tuple[str, str]] = field(default_factory=set)
    same: dict[tuple[str, str], tuple[int, int, bool]] = field(default_factory=dict)
    patterns: _Patterns = field(default_factory=_Patterns)

    def add(self, matching: Matching) -> None:
        if matching.kind == "pattern":
            self.patterns.add(matching)
            return
        above = list(_above(matching.prefix))
        if matching.kind == "exact":
            above.append(matching.prefix)
        prefix, own = matching.prefix, matching.specificity
        for host in _stored(matching.hosts):
            self.below.update((path, host) for path in above)
            if matching.kind == "prefix":
                self.same[prefix, host] = max(self.same.get((prefix, host), own), own)

    def would_win(self, matching: Matching) -> bool:
        """Whether one of them would take a request from a prefix."""
        path, own = matching.prefix, matching.specificity
        for host in _asked(matching.hosts):
            if (path, host) in self.below or self.same.get((path, host), own) > own:
                return True
        return self.patterns.may_take(matching, path)


class _Unguarded:
    """The routes by their prefixes, to be asked for those that lack a guard."""

    def __init__(self, matchings: Sequence[Matching]) -> None:
        self._routes: dict[tuple[str, str, Hashable], set[frozenset[str]]] = {}
        for matching in matchings:
            if matching.kind == "prefix":
                for host in _stored(matching.hosts):
                    self._routes.setdefault((matching.prefix, host, matching.target), set()).add(matching.guard)

    def beside(self, matching: Matching) -> bool:
        """Whether what begins like a guarded prefix, and is no segment of it, would get to its target unguarded."""
        if not matching.guard or matching.target is None:
            return False
        return any(
            not matching.guard <= guard
            for path in _above(matching.prefix)
            for host in _asked(matching.hosts)
            for guard in self._routes.get((path, host, matching.target), ())
        )
