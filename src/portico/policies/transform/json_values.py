"""JSON values as they are written in the configuration, with templates for texts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias

from pydantic import PlainValidator

from portico.core.exchange import Exchange
from portico.policies.templates import NO_OTHERS, Read
from portico.policies.transform.values import Text

Made: TypeAlias = "bytes | Callable[[Exchange], bytes]"
"""JSON text, or what makes it for an exchange."""

_NULL: Final = b"null"


def _value(value: Any) -> Any:
    """Plain data as YAML and JSON have it."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("JSON has no such number")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _value(each)
    return value


JsonValue: TypeAlias = Annotated[Any, PlainValidator(_value, json_schema_input_type=Any)]


def compiled(value: Any, captures: Mapping[str, Read] = NO_OTHERS) -> Made:
    """The JSON text of a value in which texts are templates. Raises ValueError for one that is none.

    A text that is one name alone stands for what that holds: a number stays one, a list stays a list. A name without a
    value is null, also as a part of a text, so that nothing of the client's own is left in its place.
    """
    pieces: list[bytes | Callable[[Exchange], bytes]] = []
    for piece in _pieces(value, captures):
        if isinstance(piece, bytes) and pieces and isinstance(pieces[-1], bytes):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    if len(pieces) == 1:
        return pieces[0]
    parts = tuple(pieces)
    return lambda exchange: b"".join([part if isinstance(part, bytes) else part(exchange) for part in parts])


def _pieces(value: Any, captures: Mapping[str, Read]) -> Iterator[Made]:
    if isinstance(value, str):
        yield _text(Text(value, captures))
    elif isinstance(value, Mapping):
        start = b"{"
        for name, member in value.items():
            yield start + encoded(str(name)) + b":"
            yield from _pieces(member, captures)
            start = b","
        yield b"}" if value else b"{}"
    elif isinstance(value, Sequence):
        start = b"["
        for member in value:
            yield start
            yield from _pieces(member, captures)
            start = b","
        yield b"]" if value else b"[]"
    else:
        yield encoded(value)


def _text(text: Text) -> Made:
    if text.fixed is not None:
        return encoded(text.fixed)
    alone = text.alone
    if alone is None:

        def rendered(exchange: Exchange) -> bytes:
            value = text.render(exchange)
            return _NULL if value is None else encoded(value)

        return rendered
    read, default = alone

    def held(exchange: Exchange) -> bytes:
        value = read(exchange)
        return encoded(default if value is None or value == "" else value)

    return held


def encoded(value: Any) -> bytes:
    """JSON text in UTF-8; half a surrogate pair, which UTF-8 cannot hold, stays an escape."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> Any:
    """A claim's mapping, which is read-only."""
    return dict(value)
