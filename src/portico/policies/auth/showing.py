"""Where clients show credentials: a field, a cookie, or a parameter of the query."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from portico.core.errors import Answer
from portico.core.exchange import Exchange
from portico.core.messages import Fields

Shown: TypeAlias = "bytes | Answer | None"
"""Credentials; a verdict where they are shown more than once; None where there are none."""


def first_of(finders: list[Callable[[Fields], Shown]]) -> Callable[[Fields], Shown]:
    """What the first of these finds that finds anything."""
    if len(finders) == 1:
        return finders[0]

    def find(fields: Fields) -> Shown:
        for finder in finders:
            if (shown := finder(fields)) is not None:
                return shown
        return None

    return find


def in_cookie(name: str, twice: Answer) -> Callable[[Fields], Shown]:
    """Finds the value of a cookie; one that is sent twice gets the verdict `twice`: a service may read the other."""
    wanted = name.encode()

    def find(fields: Fields) -> Shown:
        if b"cookie" not in fields.names:
            return None
        pairs = (pair.strip().partition(b"=") for line in fields.all(b"cookie") for pair in line.split(b";"))
        values = [value for own, _, value in pairs if own == wanted]
        if not values or values == [b""]:
            return None
        return values[0] if len(values) == 1 else twice

    return find


def taken_parameter(exchange: Exchange, name: bytes) -> list[bytes]:
    """The values of a parameter of the query, which goes on without it: nobody behind may see, keep or log it."""
    query = exchange.query
    if len(query) <= len(name):
        return []
    kept, values = [], []
    for pair in query[1:].split(b"&"):
        own, _, value = pair.partition(b"=")
        if own == name or (b"%" in own and unquote_to_bytes(own) == name):
            values.append(unquote_to_bytes(value))
        else:
            kept.append(pair)
    if values:
        exchange.query = b"?" + b"&".join(kept) if kept else b""
    return values
