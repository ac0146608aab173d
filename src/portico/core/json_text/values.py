"""Values that an edit writes, as text of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from portico.core.json_text.errors import JsonEditError
from portico.core.json_text.syntax import BYTE_ORDER_MARK, SPACE, check_json

Value: TypeAlias = bytes | Callable[[Any], bytes]
"""Text of JSON, or what makes it of the context that `JsonEdit.apply` is given."""

_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def json_value(value: object) -> bytes:
    """The compact text of a value of strings, numbers, booleans, None, lists and dictionaries, in UTF-8.

    Raises ValueError for what JSON has not: other types, infinite numbers, and nesting that does not end.
    """
    try:
        text = _encode(value)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"it cannot be written as JSON: {error}") from None
    if not text.isascii():
        text = _SURROGATE.sub(lambda surrogate: f"\\u{ord(surrogate[0]):04x}", text)
    return text.encode()


def text_of(value: Value, context: Any) -> bytes:
    """The text to write. Raises JsonEditError where what was made is no JSON."""
    return checked(value(context)) if callable(value) else value


def checked(text: bytes) -> bytes:
    """The same without white space around it. Raises JsonEditError for what is no JSON."""
    try:
        if text.startswith(BYTE_ORDER_MARK):
            raise JsonEditError("it begins with a byte order mark")
        check_json(text)
    except JsonEditError as error:
        raise JsonEditError(f"a value to write is not right: {error.reason}") from None
    return text.strip(SPACE)
