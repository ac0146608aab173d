"""Fields of the Model Context Protocol (2026-07-28), by which requests say what is in their bodies."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error
from typing import Final

METHOD: Final = b"mcp-method"
NAME: Final = b"mcp-name"
DISCOVER: Final = b"server/discover"
"""A client's first request. An error makes it speak the protocol of 2025-11-25 from then on."""

_CODED: Final = re.compile(rb"=\?base64\?(.*)\?=", re.DOTALL)


def is_coded(name: bytes) -> bool:
    """Whether values of a field, named in lower case, may stand in base64."""
    return name.startswith(b"mcp-")


def decoded(value: bytes) -> bytes:
    """What a value means: `=?base64?…?=` is for what a field cannot hold, and may stand for everything else, too.

    One that no server takes either (malformed, not canonical, no UTF-8) stays as it is.
    """
    match = _CODED.fullmatch(value)
    if match is None:
        return value
    try:
        plain = b64decode(match[1], validate=True)
        plain.decode("utf-8")
    except (Error, UnicodeDecodeError):
        return value
    return plain if b64encode(plain) == match[1] else value
