"""Purges: what was stored before one of them, and matches it, is not served any more.

A purge looks for nothing. It is remembered, and an entry that is found is compared with the purges that are newer than
it; sweeps of the stores remove what nobody asks for, and then the purge is forgotten.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import getrandbits
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

import msgspec

from portico.proxy.cache.purge_urls import origin_of, purge_url, spellings
from portico.proxy.cache.query import NoVarySearch, QuerySelection
from portico.proxy.cache.stored import Resource, Stored

Kind: TypeAlias = Literal["url", "prefix", "tag", "group", "service", "all"]
Verdict: TypeAlias = Literal["soft", "gone"]

_MOST: Final = 100_000
"""Purges that are known for another store's sake, at most."""
UNCHECKED: Final = -1
"""What `Stored.checked` is of a variant from a store that knows no numbers: then the time counts."""
_IGNORES: Final = b"\nno-vary-search "
"""What is in keys that tell nothing of parameters which do not matter by a response's word."""
_BY_URL, _BY_TAG, _OTHERWISE = range(3)
_GLANCES: Final = 16
_ENDS: Final = ("", "/", "?")
"""What follows a whole segment of a URL."""


class Purge(msgspec.Struct, frozen=True, gc=False):
    """One purge; `value` is the URL, prefix, tag, group or service, in the spelling in which it is compared.

    `origin` (`https://host`) narrows a group, which is one of an origin (RFC 9875, section 2). A `soft` one turns what
    it matches stale. `at` is the time at which it was made, `id` what it is recognised by when it comes twice.
    """

    kind: Kind
    value: str = ""
    origin: str = ""
    soft: bool = False
    at: float = msgspec.field(default_factory=time.time)
    id: int = msgspec.field(default_factory=lambda: getrandbits(63))

    @classmethod
    def of(cls, kind: Kind, value: str = "", *, origin: str = "", soft: bool = False) -> Self:
        """What a user asks for. Raises ValueError, which says how it is written."""
        if kind == "url":
            value = purge_url(value)
        elif kind == "prefix":
            value = _prefix(value)
        elif kind != "all" and not value:
            raise ValueError(f"a {kind} is not empty")
        elif kind in ("tag", "group"):
            value = value.encode().decode("latin-1")  # as fields have it
        return cls(kind, value, origin_of(origin) if origin else "", soft)


class Outcome(NamedTuple):
    """What a purge came to: `entries` went in those that have confirmed it; `late` workers have not yet."""

    entries: int
    late: int


class _Mark:
    """When something was purged last: by number, by the clock, and, softly, by the monotonic one."""

    __slots__ = ("gone", "gone_at", "soft", "soft_at", "soft_moment")

    def __init__(self) -> None:
        self.gone = self.soft = 0
        self.gone_at = self.soft_at = self.soft_moment = -math.inf

    def note(self, purge: Purge, number: int, moment: float) -> None:
        if not purge.soft:
            self.gone, self.gone_at = number, max(self.gone_at, purge.at)
        else:
            self.soft, self.soft_at, self.soft_moment = number, max(self.soft_at, purge.at), moment

    def is_over(self, number: int, before: float) -> bool:
        return max(self.gone, self.soft) <= number and max(self.gone_at, self.soft_at) < before


class _Urls:
    """Marks of URLs: by the path in their spelling, then by the query with its question mark."""

    def __init__(self) -> None:
        self.by_path: dict[str, dict[str, _Mark]] = {}

    def mark(self, url: str) -> _Mark:
        path, query = _split(url)
        return self.by_path.setdefault(path, {}).setdefault(query, _Mark())

    def matching(self, url: str, selections: Sequence[Callable[[bytes], bytes]]) -> Iterator[_Mark]:
        """Those of this URL, and of all that a key does not tell from it, where that takes a selection of the query."""
        path, query = _split(url)
        marks = self.by_path.get(path)
        if marks is None:
            return
        if query in marks:
            yield marks[query]
        for selection in selections:
            selected = selection(query.encode("latin-1"))
            yield from (mark for own, mark in marks.items() if selection(own.encode("latin-1")) == selected)


class _Prefixes:
    """Marks of the texts that URLs begin with, by their lengths: however many there are, few lengths are looked up."""

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole
        """Whether what follows has to be another segment, or the query."""
        self.by_length: dict[int, dict[str, _Mark]] = {}

    def mark(self, text: str) -> _Mark:
        return self.by_length.setdefault(len(text), {}).setdefault(text, _Mark())

    def matching(self, url: str) -> Iterator[_Mark]:
        for length, marks in self.by_length.items():
            mark = marks.get(url[:length])
            if mark is not None and (not self.whole or url[length : length + 1] in _ENDS):
                yield mark


class Purges:
    """The purges that something stored may still be subject to."""

    def __init__(self) -> None:
        self.number = 0
        """That of the last purge: what was compared with it needs no further look."""
        self.forgotten = 0
        """The last one that is not known any more: of what is older nobody can say whether it was purged."""
        self.selections: Mapping[bytes, QuerySelection] = {}
        """What belongs to keys of a query, by the scope of those to which not all of it does."""
        self._named: dict[tuple[str, str], _Mark] = {}
        """Those of tags, groups, services and everything, by kind and value."""
        self._urls = _Urls()
        self._segments, self._beginnings = _Prefixes(whole=True), _Prefixes(whole=False)
        self._ids: dict[int, int] = {}
        """The number of each purge, by its id."""
        self._glances: list[tuple[int, bytes]] = []
        """What everything has that one of the last purges may take, in their order."""
        self.spread: Callable[[Sequence[Purge]], None] = lambda _: None
        """Called with the purges that come of requests to this worker: others have to know of them."""

    def __len__(self) -> int:
        """How many are known."""
        return len(self._ids)

    def invalidate(self, urls: Iterable[bytes], origin: bytes = b"", groups: Iterable[bytes] = ()) -> None:
        """Purge what a change has made invalid (RFC 9111, section 4.4; RFC 9875), here at once, elsewhere soon.

        URLs are as those of resources are, `https://host/path?query`; the groups are those of the `origin`.
        """
        of = origin.decode("latin-1")
        purges = [Purge("url", spellings(url)[2]) for url in urls]
        purges += [Purge("group", group.decode("latin-1"), of) for group in groups]
        self.add(purges)
        self.spread(purges)

    def add(self, purges: Iterable[Purge]) -> None:
        """Have them apply from now on; one that is known already changes nothing."""
        now = time.monotonic()
        for purge in purges:
            if purge.id not in self._ids:
                self.number += 1
                self._ids[purge.id] = self.number
                self._mark(purge).note(purge, self.number, now)
                self._glances.append(_glance(purge))
        del self._glances[:-_GLANCES]

    def passed(self, stored: Stored, resource: Resource) -> Stored | None:
        """What the purges leave of a variant that was compared with all up to `stored.checked`: the same, a stale one
        in its place, or nothing. What is left is remembered as compared with all.
        """
        if self._is_untouched(stored, resource):
            stored.checked = self.number
            return stored
        verdict = self.verdict(stored, resource, stored.checked)
        if verdict == "gone":
            return None
        if verdict == "soft":
            stored = stored.made_stale(self.stale_since(stored, resource))
        stored.checked = self.number
        return stored

    def verdict(self, stored: Stored, resource: Resource, since: int) -> Verdict | None:
        """What became of a response by the purges behind number `since`, which was the last when it was asked for.

        Where that is `UNCHECKED`, those count that were made since it was `born`.
        """
        if since == UNCHECKED:
            return self._verdict_by_time(stored, resource)
        if since == self.number:
            return None
        if since < self.forgotten:
            return "gone"
        marks = [*self._matching(stored, resource)]
        if any(mark.gone > since for mark in marks):
            return "gone"
        return "soft" if any(mark.soft > since for mark in marks) else None

    def _is_untouched(self, stored: Stored, resource: Resource) -> bool:
        """Whether that is seen at a glance, as it mostly is where few purges came since: a busy service changes much,
        and what is found often must not cost much for that.
        """
        newer = self.number - stored.checked
        url, tags = resource.url, stored.tags
        if newer > len(self._glances) or stored.checked < self.forgotten or b"%" in url:
            return False
        for kind, hint in self._glances[-newer:] if newer else ():
            if hint in url if kind == _BY_URL else hint in tags if kind == _BY_TAG else True:
                return False
        return True

    def _verdict_by_time(self, stored: Stored, resource: Resource) -> Verdict | None:
        if not (self._named or self._urls.by_path or self._segments.by_length or self._beginnings.by_length):
            return None
        marks = [*self._matching(stored, resource)]
        if any(mark.gone_at >= stored.born for mark in marks):
            return "gone"
        return "soft" if any(mark.soft_at >= stored.born for mark in marks) else None

    def stale_since(self, stored: Stored, resource: Resource) -> float:
        """The monotonic moment from which on a response with the verdict `soft` is stale."""
        return max(mark.soft_moment for mark in self._matching(stored, resource))

    def forget(self, number: int, before: float = math.inf) -> None:
        """Drop the purges up to `number`: nothing that is older is left in memory.

        Those that were not made `before` a time stay known for what another store has.
        """
        self.forgotten = max(self.forgotten, number)
        self._ids = {known: own for known, own in self._ids.items() if own > number}
        self._forget(number, before)
        if self._size() > _MOST:  # the other store is out of reach: what is in there counts as purged
            self._forget(number, math.inf)
            self._named.setdefault(("all", ""), _Mark()).gone_at = time.time()

    def _forget(self, number: int, before: float) -> None:
        _forget(self._named, number, before)
        for marks in (self._urls.by_path, self._segments.by_length, self._beginnings.by_length):
            _forget_below(marks, number, before)

    def _size(self) -> int:
        tables = (self._urls.by_path, self._segments.by_length, self._beginnings.by_length)
        return len(self._named) + sum(len(marks) for table in tables for marks in table.values())

    def _mark(self, purge: Purge) -> _Mark:
        kind, value = purge.kind, purge.value
        if kind == "url":
            return self._urls.mark(value)
        if kind == "prefix":
            text = value.removesuffix("*")
            return (self._segments if text == value and not text.endswith("/") else self._beginnings).mark(text)
        return self._named.setdefault((kind, f"{purge.origin} {value}" if purge.origin else value), _Mark())

    def _matching(self, stored: Stored, resource: Resource) -> Iterator[_Mark]:
        urls = spellings(resource.url)
        selections = self._selections(stored, resource)
        for url in urls:
            yield from self._urls.matching(url, selections)
            yield from self._segments.matching(url)
            yield from self._beginnings.matching(url)
        origin = urls[2][: -len(urls[0])]
        names = [("all", ""), ("service", resource.service)]
        for kind, name in map(_kind_and_name, stored.tags):
            names.append((kind, name))
            if kind == "group":
                names.append((kind, f"{origin} {name}"))
        yield from (mark for name in names if (mark := self._named.get(name)) is not None)

    def _selections(self, stored: Stored, resource: Resource) -> list[Callable[[bytes], bytes]]:
        """What belongs to its key of a query, where that is not all: by the settings, or by the response's own word.

        A resource without its key may have any of these.
        """
        key = resource.key
        if _IGNORES in key or not key:
            said = NoVarySearch.of(stored.head.fields)
            if said is not None:
                return [said.of_query]
        if not key:
            return [selection.of for selection in self.selections.values()]
        selection = self.selections.get(key.partition(b" ")[0]) if self.selections else None
        return [selection.of] if selection is not None else []


def _glance(purge: Purge) -> tuple[int, bytes]:
    """What is in the URL, or among the tags, of all that a purge may take, where URLs are not percent-encoded."""
    if purge.kind in ("url", "prefix"):
        return _BY_URL, purge.value.removesuffix("*").partition("?")[0].encode("latin-1", "replace")
    if purge.kind in ("tag", "group"):
        return _BY_TAG, f"{purge.kind}:{purge.value}".encode("latin-1")
    return _OTHERWISE, b""


def _split(url: str) -> tuple[str, str]:
    path, mark, query = url.partition("?")
    return path, mark + query


def _forget(marks: dict[Any, _Mark], number: int, before: float) -> None:
    for name in [name for name, mark in marks.items() if mark.is_over(number, before)]:
        del marks[name]


def _forget_below(tables: dict[Any, dict[str, _Mark]], number: int, before: float) -> None:
    for name, marks in [*tables.items()]:
        _forget(marks, number, before)
        if not marks:
            del tables[name]


def _kind_and_name(tag: bytes) -> tuple[str, str]:
    kind, _, name = tag.decode("latin-1").partition(":")
    return kind, name


def _prefix(text: str) -> str:
    """A prefix in the spelling in which it is compared. Raises ValueError."""
    star = "*" if text.endswith("*") else ""
    bare = purge_url(text.removesuffix("*"))
    if not star and "?" in bare:
        raise ValueError(f"a prefix ends with a segment of the path, or with *: write {text}*")
    return bare + star
