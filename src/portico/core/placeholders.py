"""`{name}` in the path of a rewrite or a redirect: what followed the route's prefix, or what a pattern captured."""

from __future__ import annotations

import re
from typing import Final

PATH: Final = "path"
QUERY: Final = "query"
HOST: Final = "host"
RESERVED: Final = frozenset({PATH, QUERY, HOST})
"""The names that no group of a pattern can have."""

_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_]\w*)\}", re.ASCII)


def pieces_of(text: str) -> tuple[bytes | str, ...]:
    """The literal parts of a text, as bytes, and the names between them."""
    parts = _PLACEHOLDER.split(text)
    return tuple(part if index % 2 else part.encode() for index, part in enumerate(parts) if part)


def names_in(text: str) -> list[str]:
    """The names in a text, in order. Raises ValueError for a brace that belongs to none."""
    if re.search(r"[{}]", _PLACEHOLDER.sub("", text)):
        raise ValueError("braces are written around a name only, such as {path}")
    return _PLACEHOLDER.findall(text)
