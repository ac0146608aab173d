"""`If-Match`: a change is made to what its author has seen (RFC 9110, section 13.1.1; RFC 6585, section 3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST: Final = re.compile(rf"[ \t]*(?:,[ \t]*)*{_TAG}(?:[ \t]*,[ \t]*(?:{_TAG})?)*[ \t]*")
ANY: Final = "*"


def read_if_match(fields: Sequence[str]) -> frozenset[str] | None:
    """The strong tags that are named, with their quotes, `*` among them for any; None where there is no field.

    A weak tag never matches, so it is left out. Raises ValueError for what is none of these.
    """
    if not fields:
        return None
    value = ", ".join(fields)
    if value.strip() == ANY:
        return frozenset((ANY,))
    if not _LIST.fullmatch(value):
        raise ValueError('If-Match: expected "TAG" as ETag had it, with its quotes, or *')
    return frozenset(tag for tag in re.findall(_TAG, value) if not tag.startswith("W/"))
