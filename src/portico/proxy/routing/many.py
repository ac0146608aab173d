"""Many rules for one path and host, by the values that they ask for: a request is compared with those alone.

Rules that ask for values of the same fields and parameters are one table, and a request has one key in each. What is
left of a rule (a pattern, a method) is asked of those that are found.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from portico.core.conditions import Condition, parameter_values, value_of
from portico.core.mcp import decoded, is_coded
from portico.core.messages import Fields

if TYPE_CHECKING:
    from portico.proxy.routing.router import Rule

T = TypeVar("T")

_Entry: TypeAlias = "tuple[tuple[bool, int, bool], int, Rule[T]]"
"""A rule behind its rank and its number: in this order they are asked."""
_Names: TypeAlias = tuple[tuple[bytes, ...], tuple[bytes, ...]]
"""Of fields, and of parameters."""


def rank(rule: Rule[Any]) -> tuple[bool, int, bool]:
    """Rules with more conditions are first; equal ones stay in the order of the configuration."""
    return rule.fallback, -len(rule.headers) - len(rule.query), rule.methods is None


class Many(Generic[T]):
    """Rules that `among` finds; to iterate over them gives them all, in the order in which they are asked."""

    __slots__ = ("_count", "_first", "_open", "_tables")

    def __init__(self, rules: Iterable[Rule[T]]) -> None:
        self._count = 0
        self._open: list[_Entry[T]] = []
        """Those that ask for no value."""
        self._tables: dict[_Names, _Table[T]] = {}
        self._first: _Entry[T] | None = None
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule[T]) -> None:
        """Add one behind those of its rank."""
        entry = rank(rule), self._count, rule
        self._count += 1
        if self._first is None or entry < self._first:
            self._first = entry
        fields, parameters = _values(rule.headers), _values(rule.query)
        if not fields and not parameters:
            insort(self._open, entry)
            return
        names = tuple(name for name, _ in fields), tuple(name for name, _ in parameters)
        key = tuple(value for _, value in (*fields, *parameters))
        self._tables.setdefault(names, _Table(*names)).add(key, entry)

    @property
    def first(self) -> Rule[T]:
        """The one that is asked first."""
        assert self._first is not None
        return self._first[2]

    def __iter__(self) -> Iterator[Rule[T]]:
        entries = [*self._open]
        for table in self._tables.values():
            entries += table.all()
        return (rule for _, _, rule in sorted(entries))

    def among(self, fields: Fields, query: bytes) -> list[Rule[T]]:
        """The rules that these may fit, in the order in which they are asked: all others ask for another value.

        A field or parameter that comes more than once has each of its values.
        """
        found: Sequence[_Entry[T]] = self._open
        for table in self._tables.values():
            if more := table.among(fields, query):
                found = sorted((*found, *more)) if found else more
        return [rule for _, _, rule in found]


class _Table(Generic[T]):
    """Rules that ask for values of the same fields and parameters."""

    __slots__ = ("_alone", "_entries", "_fields", "_parameters")

    def __init__(self, fields: tuple[bytes, ...], parameters: tuple[bytes, ...]) -> None:
        self._fields, self._parameters = fields, parameters
        self._alone = fields[0] if len(fields) == 1 and not parameters and not is_coded(fields[0]) else None
        """The field, if they ask for nothing else."""
        self._entries: dict[tuple[bytes, ...], list[_Entry[T]]] = {}

    def add(self, key: tuple[bytes, ...], entry: _Entry[T]) -> None:
        insort(self._entries.setdefault(key, []), entry)

    def all(self) -> list[_Entry[T]]:
        return [entry for entries in self._entries.values() for entry in entries]

    def among(self, fields: Fields, query: bytes) -> Sequence[_Entry[T]]:
        """Those that ask for what a request has, in order; all where it has so many values that these are fewer."""
        if self._alone is not None and fields.names.count(self._alone) == 1:
            line = fields.lines[fields.names.index(self._alone)]
            return self._entries.get((line[len(self._alone) + 1 :].strip(),), ())
        each = []
        for name in self._fields:
            values = _field_values(fields, name)
            if not values:
                return ()
            each.append(values)
        for name in self._parameters:
            values = parameter_values(query, name)
            if not values:
                return ()
            each.append(values if len(values) == 1 else [*dict.fromkeys(values)])
        keys = prod(map(len, each))
        if keys == 1:
            return self._entries.get(tuple([values[0] for values in each]), ())
        if keys > len(self._entries):
            return sorted(self.all())
        return sorted(entry for key in product(*each) for entry in self._entries.get(key, ()))


def _values(conditions: Sequence[tuple[bytes, Condition]]) -> list[tuple[bytes, bytes]]:
    """The names of which a rule asks for a value, in order, each with that."""
    return sorted((name, value) for name, condition in conditions if (value := value_of(condition)) is not None)


def _field_values(fields: Fields, name: bytes) -> Sequence[bytes]:
    """What a rule may take for the value of a field: all lines as one, and each of them."""
    value = fields.get(name)
    if value is None:
        return ()
    values = [value] if fields.names.count(name) == 1 else [value, *fields.all(name)]
    if is_coded(name):
        values = [*map(decoded, values)]
    return values if len(values) == 1 else [*dict.fromkeys(values)]
