"""The fields that name the consumer to a service, in visible ASCII whatever the name: reversible, and documented.

A name of visible ASCII stands as it is. Else its UTF-8 bytes are percent-encoded where they are not visible ASCII, as
is `%`; or the whole is an `ext-value` (RFC 8187, section 3.2): `UTF-8''%C5%81ukasz`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Literal, TypeAlias
from unicodedata import category, normalize
from urllib.parse import quote

from pydantic import AfterValidator, StringConstraints

NameEncoding: TypeAlias = Literal["percent", "rfc8187"]
"""How a name stands in a field that cannot hold it as it is."""

_PLAIN: Final = re.compile(r"(?!utf-8')[!-$&-~]+", re.ASCII | re.IGNORECASE)
"""Visible ASCII without `%`, and not what begins as an `ext-value` does."""
_VISIBLE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "%'")
_ATTR_CHARS: Final = "!#$&+-.^_`|~"
"""RFC 8187's `attr-char` beside letters and digits."""
_EXT: Final = "UTF-8''"
_NAME_LIMIT: Final = 1024
_SCOPES_LIMIT: Final = 8192
"""Bytes of a value, encoded; a longer one is left out, since servers refuse requests for it."""
_REFUSED: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of characters that are in no name: controls, halves of surrogate pairs, separators of lines."""


def consumer_name(text: str) -> str:
    """A name in the form in which names are compared (Unicode NFC). Raises ValueError for control characters."""
    if text.isascii() and text.isprintable():
        return text
    if any(category(character) in _REFUSED for character in text):
        raise ValueError("a name or scope has no control characters")
    return normalize("NFC", text)


def _scope_name(text: str) -> str:
    if text.split() != [text]:
        raise ValueError("a scope is one word; write several as a list")
    return consumer_name(text)


ConsumerName = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(consumer_name)]
"""A consumer as a configuration names it."""
ScopeName = Annotated[str, StringConstraints(min_length=1), AfterValidator(_scope_name)]


def consumer_lines(name: str, scopes: Sequence[str], encoding: NameEncoding) -> tuple[bytes, ...]:
    """`X-Consumer-Username` and `X-Consumer-Scopes`, where there is something to say and it is not too long."""
    encoded = _ENCODINGS[encoding]
    values = (
        (b"X-Consumer-Username: ", encoded(name), _NAME_LIMIT),
        (b"X-Consumer-Scopes: ", " ".join(map(encoded, scopes)), _SCOPES_LIMIT),
    )
    return tuple(start + value.encode("ascii") for start, value, limit in values if value and len(value) <= limit)


def percent_encoded(text: str) -> str:
    """Text in visible ASCII: as it is where it has nothing else and no `%`."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe=_VISIBLE)


def _rfc8187(text: str) -> str:
    return text if not text or _PLAIN.fullmatch(text) else _EXT + quote(text, safe=_ATTR_CHARS)


_ENCODINGS: Final[dict[NameEncoding, Callable[[str], str]]] = {"percent": percent_encoded, "rfc8187": _rfc8187}
