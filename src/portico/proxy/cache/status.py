"""What is said of how a request was handled: `Cache-Status` (RFC 9211)."""

from __future__ import annotations

from collections.abc import Iterable
from math import floor
from typing import Final

NAME: Final = b"Cache-Status: portico"
_HIT: Final = NAME + b"; hit"


def hit_line(ttl: float, detail: str = "") -> bytes:
    """The field line of a response from the cache; `ttl` is negative for a stale one, `detail` one word."""
    line = b"%b; hit; ttl=%d" % (NAME, floor(ttl))
    return line + b"; detail=" + detail.encode() if detail else line


def forward_line(
    forwarded: str,
    *,
    status: int | None = None,
    is_stored: bool = False,
    is_collapsed: bool = False,
    detail: str = "",
) -> bytes:
    """The field line of a response for which the service was asked.

    `forwarded` says why: uri-miss, vary-miss, stale, bypass, request, method, partial or miss; `status` is what the
    service answered, where the client gets another; `detail` is one word.
    """
    members = [NAME, b"fwd=" + forwarded.encode()]
    if status is not None:
        members.append(b"fwd-status=%d" % status)
    if is_stored:
        members.append(b"stored")
    if is_collapsed:
        members.append(b"collapsed")
    if detail:
        members.append(b"detail=" + detail.encode())
    return b"; ".join(members)


def says_hit(lines: Iterable[bytes]) -> bool:
    """Whether one of these lines says that the response is from the cache."""
    return any(line.startswith(_HIT) for line in lines)


def says_stored(lines: Iterable[bytes]) -> bool:
    """Whether one of these lines says that the response goes into the cache."""
    return any(line.startswith(NAME) and b"; stored" in line for line in lines)
