"""Protocol Buffers as bytes: just what OTLP's messages are made of, and what reads a collector's answers.

Text has to be UTF-8: collectors refuse a whole batch for one value that is not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

Value: TypeAlias = str | bool | int | float
"""What an attribute may have as its value."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""
_ONE_BYTE: Final = [bytes([number]) for number in range(128)]
_DOUBLE: Final = struct.Struct("<d")
_FIXED: Final = struct.Struct("<Q")
_MOST_DIGITS: Final = 10
"""Bytes of the longest varint."""


def varint(number: int) -> bytes:
    """A number from 0 to 2^64 - 1, seven bits a byte."""
    if number < 128:
        return _ONE_BYTE[number]
    digits = bytearray()
    while number >= 128:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def tag(field: int, wire_type: int = _BYTES) -> bytes:
    """What stands before the value of a field."""
    return varint(field << 3 | wire_type)


def part(field: int, data: bytes) -> bytes:
    """A field with bytes, text or another message."""
    return b"".join((tag(field), varint(len(data)), data))


def number(field: int, value: int) -> bytes:
    """A field with an integer; one below 0 takes ten bytes."""
    return tag(field, _VARINT) + varint(value & 0xFFFFFFFFFFFFFFFF)


def fixed64(field: int, value: int) -> bytes:
    """A field with 64 bits, such as a time in nanoseconds since the epoch."""
    return tag(field, _FIXED64) + _FIXED.pack(value)


def double(field: int, value: float) -> bytes:
    """A field with a floating-point number."""
    return tag(field, _FIXED64) + _DOUBLE.pack(value)


def packed(field: int, form: str, values: Iterable[float]) -> bytes:
    """A repeated field whose values have a fixed size; `form` is that of `struct` for one of them."""
    found = [*values]
    return part(field, struct.pack(f"<{len(found)}{form}", *found))


def text_of(value: str) -> bytes:
    """UTF-8, whatever the text holds."""
    return value.encode("utf-8", "replace")


def any_value(value: Value) -> bytes:
    """`AnyValue`."""
    if isinstance(value, bool):
        return number(2, value)
    if isinstance(value, int):
        return number(3, value)
    if isinstance(value, float):
        return double(4, value)
    return part(1, text_of(value))


def key_value(key: str, value: Value) -> bytes:
    """`KeyValue`: one attribute."""
    return part(1, text_of(key)) + part(2, any_value(value))


def attributes(field: int, values: Mapping[str, Value | None]) -> bytes:
    """A field that repeats for each attribute; None: it does not apply."""
    return b"".join(part(field, key_value(key, value)) for key, value in values.items() if value is not None)


class Attribute:
    """A field with an attribute whose values are short texts that all differ: its beginnings are made in advance."""

    __slots__ = ("_field", "_key", "beginnings")

    SHORT: Final = 96
    """Bytes of UTF-8; each length within a byte of its own."""

    def __init__(self, field: int, key: str) -> None:
        self._field, self._key = field, key
        self.beginnings = [part(field, key_value(key, "x" * size))[: -size or None] for size in range(self.SHORT)]

    def of(self, value: bytes) -> bytes:
        """The field with a value in UTF-8."""
        size = len(value)
        if size < self.SHORT:
            return self.beginnings[size] + value
        return part(self._field, part(1, text_of(self._key)) + part(2, part(1, value)))


# ---- reading


def fields_of(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message, by their numbers. Raises ValueError for what is none."""
    position, end = 0, len(message)
    while position < end:
        key, position = _read_varint(message, position)
        field, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, position = _read_varint(message, position)
            yield field, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire_type)
        if wire_type == _BYTES:
            size, position = _read_varint(message, position)
        if size is None or position + size > end:
            raise ValueError("no message of protobuf")
        yield field, message[position : position + size]
        position += size


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for digit, byte in enumerate(message[position : position + _MOST_DIGITS]):
        value |= (byte & 0x7F) << (7 * digit)
        if byte < 128:
            return value, position + digit + 1
    raise ValueError("no message of protobuf")
