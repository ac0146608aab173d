"""The claims of a token, decoded where they are read: kept decoded, they would take several times its memory."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

_LEVELS: Final = 100
"""How deep claims may be nested: few enough that what was read once can be read anew from deeper in a call stack."""


def claims_of(token: bytes) -> Mapping[str, Any]:
    """The claims of a token in compact form (RFC 7519, section 3), whatever stands before it on its field line.

    Policies of one exchange share them, so nobody can change them: lists are tuples and mappings read-only. It verifies
    nothing. Raises ValueError or RecursionError where it cannot be read.
    """
    claims: Mapping[str, Any] = _frozen(json_of(token.split(b".")[1]), _LEVELS)
    return claims


def json_of(part: bytes) -> Any:
    """What a part of a token says: JSON in UTF-8 (RFC 7519, section 7.2), in base64url without padding.

    Raises ValueError for the rest of what Python reads and other readers take differently: UTF-16, UTF-32, a byte
    order mark, NaN and Infinity.
    """
    return _DECODER.decode(urlsafe_b64decode(part + b"==").decode())


def no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=no_constant)


def claim_path(written: str) -> tuple[str, ...]:
    """The way to a claim, written as its name or, where that begins with a slash, as its JSON pointer (RFC 6901)."""
    if not written.startswith("/"):
        return (written,)
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in written[1:].split("/"))


def value_at(claims: Any, path: tuple[str, ...]) -> Any:
    """What is at the end of a path; None where there is nothing."""
    for part in path:
        if isinstance(claims, Mapping):
            claims = claims.get(part)
        elif isinstance(claims, Sequence) and not isinstance(claims, str) and _is_index(part, len(claims)):
            claims = claims[int(part)]
        else:
            return None
    return claims


def _is_index(part: str, count: int) -> bool:
    return (
        part.isascii() and part.isdecimal() and len(part) < _INDEX_SIZE and str(int(part)) == part and int(part) < count
    )


_INDEX_SIZE: Final = 6


def _frozen(value: Any, levels: int) -> Any:
    if levels < 0:
        raise ValueError(f"it is nested more than {_LEVELS} levels deep")
    if isinstance(value, dict):
        return MappingProxyType({name: _frozen(member, levels - 1) for name, member in value.items()})
    if isinstance(value, list):
        return tuple([_frozen(member, levels - 1) for member in value])
    return value
