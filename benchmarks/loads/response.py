"""Reading a small response, for the generators that count responses themselves."""

from __future__ import annotations

import re

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)


def status_of(received: bytes) -> int | None:
    """The status once head and Content-Length body are whole, None before; raises ValueError without a length."""
    end = received.find(b"\r\n\r\n") + 4
    if end < 4:
        return None
    length = _LENGTH.search(received, 0, end)
    if not length:
        raise ValueError("a response without Content-Length")
    return int(received[9:12]) if len(received) >= end + int(length[1]) else None
