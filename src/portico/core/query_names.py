"""Parameters of a query by their names, in every spelling.

Names are compared decoded, as forms send them (WHATWG URL, application/x-www-form-urlencoded). The expressions match
all spellings of a name, so that nothing has to be decoded, and what is not named stays byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

BEFORE: Final = rb"(?:(?<=\A\?)|(?<=&))"
"""Where a parameter begins: a question mark may stand in a value too."""
END: Final = rb"(?=&|\Z)"
"""Where a parameter ends."""
VALUE: Final = rb"(?:=[^&]*)?"
"""An expression for its value, with the sign before it."""


def spelled(name: str) -> bytes:
    """An expression for a name in every spelling."""
    return b"".join(_byte(byte) for byte in name.encode())


def _byte(byte: int) -> bytes:
    escape = b"%" + b"".join(
        b"[%c%c]" % (digit, digit + 32) if digit > 64 else b"%c" % digit for digit in b"%02X" % byte
    )
    if byte == 0x20:
        return b"(?:\\+|%b| )" % escape
    if byte == 0x25:
        return b"(?:%25|%(?![0-9A-Fa-f]{2}))"
    if byte == 0x2B:  # as it stands it is a space
        return escape
    return b"(?:%b|%b)" % (re.escape(bytes((byte,))), escape)


def removing(names: Sequence[str]) -> Callable[[bytes], bytes]:
    """What gives a query, with its question mark, without the parameters of these names; both may be empty."""
    all_of = re.compile(rb"(?:\A\?|&)(?:%b)" % b"|".join(map(spelled, names)) + VALUE + END).sub

    def remove(query: bytes) -> bytes:
        rest = all_of(b"", query)
        if len(rest) == len(query):
            return query
        return b"?" + rest[1:] if rest else b""

    return remove


def values_of(name: str) -> Callable[[bytes], list[bytes]]:
    """What gives every value of a parameter in a query, in order, as it was sent; one without a value is empty."""
    return re.compile(BEFORE + spelled(name) + rb"(?:=([^&]*))?" + END).findall
