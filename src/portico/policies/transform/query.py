"""Queries edited as text: what no rule names stays byte for byte, in its order."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import quote

from portico.core.exchange import Exchange
from portico.core.query_names import BEFORE, END, VALUE, removing, spelled
from portico.policies.templates import Read
from portico.policies.transform.settings import QueryEdits
from portico.policies.transform.values import Text

QueryEdit: TypeAlias = Callable[[bytes, Exchange], bytes]
"""Makes a query, with its question mark, of another; both may be empty."""

_SAFE: Final = "-._~!$()*,:@/"
"""What needs no encoding in a parameter, beside letters and digits."""


def query_edit(edits: QueryEdits, captures: Mapping[str, Read]) -> Callable[[Exchange], None]:
    """What removes, renames, sets and adds parameters of an exchange's query, in this order."""
    steps = [_removing(edits.remove)] if edits.remove else []
    steps += [_renaming(old, new) for old, new in edits.rename.items()]
    steps += [_setting(name, [Text(text, captures) for text in texts]) for name, texts in edits.set.items()]
    steps += [_adding(name, [Text(text, captures) for text in texts]) for name, texts in edits.add.items()]
    if len(steps) == 1:
        (only,) = steps

        def edit_once(exchange: Exchange) -> None:
            exchange.query = only(exchange.query, exchange)

        return edit_once

    def edit(exchange: Exchange) -> None:
        query = exchange.query
        for step in steps:
            query = step(query, exchange)
        exchange.query = query

    return edit


_PLAIN: Final = re.compile(r"[A-Za-z0-9\-._~!$()*,:@/]*").fullmatch


def encoded(text: str) -> str:
    """A name or value as it is sent."""
    return text if _PLAIN(text) else quote(text, safe=_SAFE)


def _removing(names: Sequence[str]) -> QueryEdit:
    without = removing(names)
    return lambda query, exchange: without(query)  # noqa: ARG005


def _renaming(old: str, new: str) -> QueryEdit:
    all_of = re.compile(BEFORE + spelled(old) + rb"(?=[=&]|\Z)").sub
    name = encoded(new).encode()

    def rename(query: bytes, exchange: Exchange) -> bytes:  # noqa: ARG001
        return all_of(name, query)

    return rename


def _setting(name: str, values: Sequence[Text]) -> QueryEdit:
    first = re.compile(BEFORE + spelled(name) + VALUE + END).search
    others = re.compile(rb"&" + spelled(name) + VALUE + END)
    has_others, without_others = others.search, others.sub
    remove = _removing([name])
    pairs_of = _pairs(name, values)

    def set_parameter(query: bytes, exchange: Exchange) -> bytes:
        pairs = pairs_of(exchange)
        if not pairs:  # a value that says who the client is must not be the client's own
            return remove(query, exchange)
        found = first(query)
        if found is None:
            return _appended(query, pairs)
        start, end = found.span()
        rest = query[end:]
        if has_others(query, end):
            rest = without_others(b"", rest)
        return query[:start] + pairs + rest

    return set_parameter


def _adding(name: str, values: Sequence[Text]) -> QueryEdit:
    pairs_of = _pairs(name, values)

    def add(query: bytes, exchange: Exchange) -> bytes:
        pairs = pairs_of(exchange)
        return _appended(query, pairs) if pairs else query

    return add


def _appended(query: bytes, pairs: bytes) -> bytes:
    return query + b"&" + pairs if len(query) > 1 else b"?" + pairs


def _pairs(name: str, values: Sequence[Text]) -> Callable[[Exchange], bytes]:
    """What gives the parameters with these values; nothing where none of them has a value."""
    start = encoded(name) + "="
    if all(value.fixed is not None for value in values):
        fixed = "&".join(start + encoded(value.fixed or "") for value in values).encode()
        return lambda exchange: fixed  # noqa: ARG005

    if len(values) == 1:
        (only,) = values

        def one(exchange: Exchange) -> bytes:
            text = only.render(exchange, encoded)
            return b"" if text is None else (start + text).encode()

        return one

    def made(exchange: Exchange) -> bytes:
        texts = [value.render(exchange, encoded) for value in values]
        return "&".join(start + text for text in texts if text is not None).encode()

    return made
