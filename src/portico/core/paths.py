"""Paths of requests and routes, cut into segments that compare equal when they mean the same (RFC 3986, section 6.2.2).

A gateway that routes by one reading of a path and forwards another lets clients bypass its policies. So an encoded
letter matches the letter, an encoded slash is never a separator, and a path that a service might walk upwards in
(`..`, also encoded) is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from portico.core.errors import MessageError

_ENCODED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_BAD_ENCODING: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SEPARATORS: Final = re.compile(rb"[/\\]|%2F|%5C")


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of an origin-form target; the query keeps its question mark, so that an empty one survives."""
    mark = target.find(b"?")
    return (target, b"") if mark < 0 else (target[:mark], target[mark:])


def segments_of(path: bytes) -> tuple[bytes, ...]:
    """The normalised segments of a path that begins with a slash: `/api/%67emini/` is `(b"api", b"gemini", b"")`.

    Raises MessageError for a broken percent-encoding, a fragment, or a dot segment in any disguise.
    """
    return _remembered(path) if len(path) <= _REMEMBERED_SIZE else _cut(path)


def _cut(path: bytes) -> tuple[bytes, ...]:
    if b"#" in path:
        raise MessageError("malformed_request", "a fragment in the request target")
    if b"%" in path:
        if _BAD_ENCODING.search(path):
            raise MessageError("malformed_request", "a percent sign without two hexadecimal digits in the path")
        path = _ENCODED.sub(_normal, path)
    if b"." in path:
        for part in _SEPARATORS.split(path):
            if part.startswith(b".") and part.partition(b";")[0] in (b".", b".."):
                raise MessageError("malformed_request", "a dot segment in the path")
    return tuple(path[1:].split(b"/"))


_REMEMBERED_SIZE: Final = 256
_remembered: Final = lru_cache(maxsize=4096)(_cut)


def _normal(match: re.Match[bytes]) -> bytes:
    byte = int(match[1], 16)
    return bytes((byte,)) if byte in _UNRESERVED else match[0].upper()
