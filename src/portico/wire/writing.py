"""Writing to a transport with as few system calls as can be."""

from __future__ import annotations

import asyncio
from typing import Final

_JOIN_LIMIT: Final = 32 * 1024
"""Bytes up to which copying pieces into one costs less than handing several to the kernel."""


def write_pieces(transport: asyncio.Transport, pieces: list[bytes]) -> None:
    """Write what belongs together with one system call; small pieces are cheaper joined than gathered by the kernel."""
    if len(pieces) == 1:
        transport.write(pieces[0])
    elif len(pieces[-1]) <= _JOIN_LIMIT and len(pieces[1]) <= _JOIN_LIMIT:
        transport.write(b"".join(pieces))
    else:
        transport.writelines(pieces)
