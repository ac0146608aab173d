"""Which part of a query belongs to the key, by the configuration or by a response's own word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from portico.core.caches import remembered
from portico.core.messages import Fields
from portico.policies.cache import AllBut
from portico.proxy.cache.structured import NotStructuredError, Value, parse_dictionary

_DOUBTFUL: Final = re.compile(rb";|%(?![0-9A-Fa-f]{2})|%00|[^!-~]")
"""What servers read differently: another separator, half an escape, the end of a string in C."""
_OTHER: Final = re.compile(rb"[^0-9a-z\x80-\xff]")


def _parameters(query: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The decoded name and the text of each parameter of a query without its question mark."""
    for text in query.split(b"&"):
        if text:
            yield _decoded(text.partition(b"=")[0]), text


def _decoded(name: bytes) -> bytes:
    """The name of a parameter as servers read it (application/x-www-form-urlencoded)."""
    return unquote_to_bytes(name.replace(b"+", b" "))


def _folded(name: bytes) -> bytes:
    """What is the same for all names that some server takes for one: without case, marks, and `[…]` behind it."""
    return _OTHER.sub(b"_", name.partition(b"[")[0].strip().lower())


@dataclass(frozen=True, slots=True, eq=False)
class QuerySelection:
    """Which parameters of a query belong to the key.

    A server may read more as one of the parameters in `only` than is one to the letter: `%69d`, `ID`, `id[]`. That
    belongs to the key as it is written, so that no such request gets, or gives, the response of another.
    """

    keeps_all: bool = True
    only: tuple[bytes, ...] | None = None
    """Names, folded, in the order in which they stand in the key; None: all but the others."""
    but: frozenset[bytes] = frozenset()
    but_prefixes: tuple[bytes, ...] = ()

    @staticmethod
    def written(query: Literal["all", "none"] | list[str] | AllBut) -> QuerySelection:
        """What the settings say."""
        if query == "all":
            return QuerySelection()
        if isinstance(query, AllBut):
            names = [name.encode() for name in query.all_but]
            prefixes = tuple(name[:-1] for name in names if name.endswith(b"*"))
            return QuerySelection(False, None, frozenset(name for name in names if name[-1:] != b"*"), prefixes)
        names = [] if query == "none" else [_folded(name.encode()) for name in query]
        return QuerySelection(False, tuple(dict.fromkeys(names)))

    def of(self, query: bytes) -> bytes:
        """What of `b"?a=b"` belongs to the key; all of it where it can be read in more than one way."""
        if self.keeps_all or not query:
            return query
        if self.only == ():
            return b""
        return _selected(self, query) if len(query) <= _REMEMBERED_SIZE else self._select(query)

    def _select(self, query: bytes) -> bytes:
        if _DOUBTFUL.search(query):
            return query
        parameters = _parameters(query[1:])
        if self.only is None:
            kept = [text for name, text in parameters if not self._is_left_out(name)]
        else:
            found: dict[bytes, list[bytes]] = {name: [] for name in self.only}
            for name, text in parameters:
                if (folded := _folded(name)) in found:
                    found[folded].append(text)
            kept = [text for texts in found.values() for text in texts]
        return b"?" + b"&".join(kept) if kept else b""

    def _is_left_out(self, name: bytes) -> bool:
        return name in self.but or name.startswith(self.but_prefixes)


_REMEMBERED_SIZE: Final = 256
_selected: Final = remembered(4096)(QuerySelection._select)


@dataclass(frozen=True, slots=True)
class NoVarySearch:
    """Which parameters do not matter, by a response's own word (No-Vary-Search, draft 10).

    A response that says so is stored under `keys.key_without` instead, and a request for its path is looked for there
    as well; but only where the settings do not select from the query themselves.
    """

    ignores_order: bool
    ignored: frozenset[bytes] | None
    """Decoded names; None: all but those in `kept`."""
    kept: frozenset[bytes] = frozenset()

    @staticmethod
    def of(fields: Fields) -> NoVarySearch | None:
        """What a response says; None where it says nothing, or nothing unambiguous.

        `params` as a Boolean means something only by drafts before the fifth, so it does not here.
        """
        if b"no-vary-search" not in fields.names:
            return None
        try:
            said = parse_dictionary(fields.all(b"no-vary-search"))
        except NotStructuredError:
            return None
        order, params, excepted = said.get(b"key-order", False), said.get(b"params"), said.get(b"except")
        if not isinstance(order, bool) or (b"params" in said and b"except" in said):
            return None
        if b"except" in said:
            kept = _names(excepted)
            return None if kept is None else NoVarySearch(order, None, kept)
        ignored = _names(params) if b"params" in said else frozenset()
        return None if ignored is None or not (ignored or order) else NoVarySearch(order, ignored)

    @property
    def text(self) -> bytes:
        """What tells it from others."""
        word, names = (b"except", self.kept) if self.ignored is None else (b"params", self.ignored)
        order = b"key-order;" if self.ignores_order else b""
        return b"%b%b=%b" % (order, word, b",".join(map(_escaped, sorted(names))))

    def of_query(self, query: bytes) -> bytes:
        """What of `b"?a=b"` matters; all of it where it can be read in more than one way."""
        if _DOUBTFUL.search(query):
            return query
        kept = [parameter for parameter in _parameters(query[1:]) if self._matters(parameter[0])]
        if self.ignores_order:
            kept.sort(key=lambda parameter: parameter[0])
        return b"?" + b"&".join(text for _, text in kept) if kept else b""

    def _matters(self, name: bytes) -> bool:
        return name in self.kept if self.ignored is None else name not in self.ignored


def _names(value: Value | None) -> frozenset[bytes] | None:
    """The names in an inner list of strings, decoded; None where it is none."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return None
    return frozenset(_decoded(name.encode()) for name in value if isinstance(name, str))


def _escaped(name: bytes) -> bytes:
    return b"%d:%b" % (len(name), name.replace(b"\n", b" "))
