"""Paths of requests and routes, cut into segments that compare equal when they mean the same (RFC 3986, section 6.2.2).

A gateway that routes by one reading of a path and forwards another lets clients bypass its policies. So an encoded
letter matches the letter, an encoded slash is never a separator, and a path in which a service might go upwards
(`..`, also encoded) is refused. `readings` lists what services may make of what remains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from portico.core.caches import remembered
from portico.core.errors import MessageError

_ENCODED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_BAD_ENCODING: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SEPARATORS: Final = re.compile(rb"[/\\]|%2F|%5C")
_PARAMETERS: Final = re.compile(rb";|%3B")


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of an origin-form target; the query keeps its question mark, so that an empty one survives."""
    mark = target.find(b"?")
    return (target, b"") if mark < 0 else (target[:mark], target[mark:])


def normalised(text: bytes) -> bytes:
    """A path or query without needless percent-encoding, its hexadecimal digits in upper case."""
    return _ENCODED.sub(_normal, text) if b"%" in text else text


def segments_of(path: bytes) -> tuple[bytes, ...]:
    """The normalised segments of a path that begins with a slash: `/api/%67emini/` is `(b"api", b"gemini", b"")`.

    Raises MessageError for a broken percent-encoding, a NUL, a fragment, or a dot segment in any disguise.
    """
    return _remembered(path) if len(path) <= _REMEMBERED_SIZE else _cut(path)


def _cut(path: bytes) -> tuple[bytes, ...]:
    if b"#" in path:
        raise MessageError("malformed_request", "a fragment in the request target")
    if b"%" in path:
        if _BAD_ENCODING.search(path):
            raise MessageError("malformed_request", "a percent sign without two hexadecimal digits in the path")
        path = normalised(path)
        if b"%00" in path:
            raise MessageError("malformed_request", "a NUL in the path: some services would end it there")
    if b"." in path:
        for part in _SEPARATORS.split(path):
            if part.startswith(b".") and _PARAMETERS.split(part, 1)[0] in (b".", b".."):
                raise MessageError("malformed_request", "a dot segment in the path")
    return tuple(path[1:].split(b"/"))


_REMEMBERED_SIZE: Final = 256
_remembered: Final = remembered(1024)(_cut)


def _normal(match: re.Match[bytes]) -> bytes:
    byte = int(match[1], 16)
    return bytes((byte,)) if byte in _UNRESERVED else match[0].upper()


# ---- what services may read


def readings(segments: tuple[bytes, ...], encoded_slashes: bool = False) -> set[tuple[bytes, ...]]:
    """What a service may take a path for, other than these normalised segments.

    Services decode the path, some of them twice; merge slashes; take a backslash for a slash; drop parameters (`;v=1`),
    spaces at the end of a segment, tabs and line ends (as `urlsplit` does; a `$` in Python matches before a line end);
    or end the path at a decoded `?` or `#`. Each may do some of this, so all combinations count. With
    `encoded_slashes` they leave `%2F` alone.

    Raises MessageError for a path in which a service may go upwards.
    """
    decode = _decoded_but_slashes if encoded_slashes else unquote_to_bytes
    path = b"/" + b"/".join(segments)
    once = decode(path)
    texts = {path, once, decode(once) if b"%" in once else once}
    if any(_MEANS_MORE.search(text) for text in texts):
        if len(path) > _LONGEST:
            detail = f"a path of more than {_LONGEST} bytes with parameters, backslashes, or encoded ? # or line ends"
            raise MessageError("malformed_request", detail)
        texts = {path}
        for read in (_without_parameters, decode, decode, _first_part, _with_slashes, _without_parameters, _trimmed):
            texts |= {read(text) for text in texts}
    if any(b"." in text and _DOT_SEGMENT.search(text) for text in texts):
        raise MessageError("malformed_request", "a dot segment in the path, once it is decoded")
    found = {_merged(text) for text in texts}
    found.discard(segments)
    return found


def decoded_segments(path: bytes) -> tuple[bytes, ...]:
    """The segments of a path, once it is decoded."""
    return _merged(unquote_to_bytes(path))


def folded(segments: Iterable[bytes]) -> tuple[bytes, ...]:
    """The segments for a service to which case means nothing, nor do dots and spaces at the end, as on Windows."""
    return tuple(
        segment.decode("utf-8", "surrogateescape").casefold().rstrip(". ").encode("utf-8", "surrogateescape")
        for segment in segments
    )


def folded_segments(path: bytes) -> tuple[bytes, ...]:
    """The same for those of a path, once it is decoded."""
    return folded(decoded_segments(path))


_LONGEST: Final = 4096
"""Bytes of a path that may have dozens of readings: each costs as much time as the path is long."""
_MEANS_MORE: Final = re.compile(rb"[;\\?#\0\t\r\n]|\s(?:/|$)")
_ENCODED_SLASH: Final = re.compile(rb"%2[Ff]")
_PARAMETER: Final = re.compile(rb";[^/]*")
_PART_END: Final = re.compile(rb"[?#\0]")
_DOT_SEGMENT: Final = re.compile(rb"(?:[/\\]|%2[Ff]|%5[Cc])\.\.?(?:[/\\;]|%2[Ff]|%5[Cc]|%3[Bb]|$)")


def _decoded_but_slashes(text: bytes) -> bytes:
    return unquote_to_bytes(_ENCODED_SLASH.sub(b"%252F", text))


def _without_parameters(text: bytes) -> bytes:
    return _PARAMETER.sub(b"", text)


def _first_part(text: bytes) -> bytes:
    return _PART_END.split(text, 1)[0]


def _with_slashes(text: bytes) -> bytes:
    return text.replace(b"\\", b"/")


def _trimmed(text: bytes) -> bytes:
    return b"/".join(segment.rstrip() for segment in text.translate(None, b"\t\r\n").split(b"/"))


def _merged(text: bytes) -> tuple[bytes, ...]:
    """Its segments, without empty ones but for the last, which says that the path ends with a slash."""
    *before, last = text.split(b"/")
    return (*(segment for segment in before if segment), last)
