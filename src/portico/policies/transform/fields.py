"""Header fields that rules change.

Those of a request are changed before anything is made of them, so that a cache sees what the service gets. Fields that
repeat from request to request are one object, which remembers what became of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeAlias

from portico.core.caches import remembered
from portico.core.exchange import Exchange
from portico.core.fields import plain_name
from portico.core.messages import Fields
from portico.policies.head import ResponseEdit
from portico.policies.templates import Read, Template
from portico.policies.transform.settings import FieldEdits

FieldsEdit: TypeAlias = Callable[[Exchange], None]
"""Changes the fields of an exchange's request."""
ResponseFieldsEdit: TypeAlias = Callable[[Exchange, ResponseEdit], None]


_Line: TypeAlias = tuple[bytes, bytes]
"""A field's lower-cased name, and its line."""


def _plain(names: Iterable[str]) -> frozenset[bytes]:
    return frozenset(plain_name(name.lower().encode()) for name in names)


class _Lines:
    """The lines that are set and added; a value that comes out empty has none."""

    __slots__ = ("_made", "fixed")

    def __init__(self, edits: FieldEdits, captures: Mapping[str, Read]) -> None:
        fields = [*edits.set.items(), *edits.add.items()]
        self._made = tuple(
            (name.lower().encode(), f"{name}: ", Template(text, captures)) for name, texts in fields for text in texts
        )
        self.fixed: tuple[_Line, ...] | None = None
        if all(value.fixed is not None for _, _, value in self._made):
            self.fixed = tuple((name, f"{start}{value.fixed}".encode()) for name, start, value in self._made)
            """The same for every exchange."""

    def of(self, exchange: Exchange) -> tuple[_Line, ...]:
        if self.fixed is not None:
            return self.fixed
        if len(self._made) == 1:
            name, start, value = self._made[0]
            text = value.render(exchange)
            return ((name, (start + text).encode()),) if text else ()
        values = [(name, start, value.render(exchange)) for name, start, value in self._made]
        return tuple([(name, (start + text).encode()) for name, start, text in values if text])


# ---- of requests


def fields_edit(edits: FieldEdits, captures: Mapping[str, Read]) -> FieldsEdit:
    """What changes a request's fields, also those that servers do not tell from them, such as `x_a` from `x-a`."""
    lines = _Lines(edits, captures)
    removed, replaced = _plain(edits.remove), _plain(edits.set)
    renamed = {plain_name(old.lower().encode()): new.encode() for old, new in edits.rename.items()}

    def edited(fields: Fields, added: tuple[_Line, ...]) -> Fields:
        moved = [
            renamed[plain] + line[len(name) :]
            for name, line in zip(fields.names, fields.lines, strict=True)
            if (plain := plain_name(name)) in renamed and plain not in removed
        ]
        moved = [line for line in moved if plain_name(line.partition(b":")[0].lower()) not in replaced]
        gone = {*removed, *replaced, *renamed, *(plain_name(line.partition(b":")[0].lower()) for line in moved)}
        return fields.changed(lambda name: plain_name(name) in gone, [*moved, *(line for _, line in added)])

    fixed = lines.fixed

    def edit_alike(exchange: Exchange) -> None:
        request = exchange.request
        assert request is not None
        fields = request.fields
        if fields.edited_by is not edit_alike:
            fields.edited, fields.edited_by = edited(fields, fixed or ()), edit_alike
        exchange.request = request.with_fields(fields.edited)

    def edit(exchange: Exchange) -> None:
        request = exchange.request
        assert request is not None
        fields, added = request.fields, lines.of(exchange)
        key = (edit, added)
        if fields.edited_by != key:
            fields.edited, fields.edited_by = edited(fields, added), key
        exchange.request = request.with_fields(fields.edited)

    return edit if fixed is None else edit_alike


def without_clients(names: Collection[str]) -> FieldsEdit:
    """What drops the fields that clients sent under these names, in any spelling."""
    gone = _plain(names)
    is_gone = remembered(4096)(lambda name: plain_name(name) in gone)

    def edit(exchange: Exchange) -> None:
        request = exchange.request
        assert request is not None
        fields = request.fields
        if any(map(is_gone, fields.names)):
            exchange.request = request.with_fields(fields.changed(is_gone, ()))

    return edit


# ---- of responses


def response_fields_edit(edits: FieldEdits, captures: Mapping[str, Read]) -> ResponseFieldsEdit:
    """What changes a response's fields."""
    lines = _Lines(edits, captures)
    removed, replaced = (frozenset(name.lower().encode() for name in names) for names in (edits.remove, edits.set))
    renames = [(old, old.lower().encode(), new) for old, new in edits.rename.items()]

    def edit(exchange: Exchange, response: ResponseEdit) -> None:
        headers = response.headers
        if removed:
            headers.drop(removed)
        for old, lower, new in renames:
            if values := headers.get_all(old):
                headers.drop((lower, new.lower().encode()))
                for value in values:
                    headers.add(new, value)
        if replaced:
            headers.drop(replaced)
        for name, line in lines.of(exchange):
            headers.append(name, line)

    return edit
