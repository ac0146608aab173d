"""Forms (application/x-www-form-urlencoded) as JSON."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from portico.core.json_text.errors import JsonEditError
from portico.core.json_text.values import json_value

CHARSETS: Final = frozenset(
    [
        *("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "iso-8859-2", "iso-8859-5", "iso-8859-7"),
        *("iso-8859-9", "iso-8859-15", "windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254"),
        *("koi8-r", "koi8-u", "shift_jis", "euc-jp", "euc-kr", "gbk", "gb18030", "big5"),
    ]
)
"""What forms are read in. Of all that Python knows, some take quadratic time, and any name makes it look for files."""


_MOST: Final = 10_000
"""Fields of a form: half a million of them, which fit into 1 MiB, would take as long as 10 MiB of JSON."""


def form_to_json(body: bytes, charset: str = "utf-8") -> bytes:
    """The fields of a form as an object of strings, in the order of their first appearance.

    A name that comes again has an array of its values. Names are taken as they are, `a[]` and `a.b` too; a field
    without `=` is empty. Raises JsonEditError for a charset that is not in `CHARSETS`, bytes that are none of it, and
    more than 10,000 fields.
    """
    charset = charset.lower()
    if charset not in CHARSETS:
        raise JsonEditError("forms are not read in its charset")
    if body.count(b"&") >= _MOST:
        raise JsonEditError(f"it has more than {_MOST:,} fields")
    fields: dict[str, list[str]] = {}
    for field in body.split(b"&"):
        if field:
            name, _, value = field.replace(b"+", b" ").partition(b"=")
            try:
                fields.setdefault(_text(name, charset), []).append(_text(value, charset))
            except UnicodeDecodeError:
                raise JsonEditError(f"it is not in {charset}") from None
    return json_value({name: values[0] if len(values) == 1 else values for name, values in fields.items()})


def _text(encoded: bytes, charset: str) -> str:
    return (unquote_to_bytes(encoded) if b"%" in encoded else encoded).decode(charset)
