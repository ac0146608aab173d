"""Requests to instances that registered under a name: they connect to its addresses, but only to allowed ones.

The client that registered a name decides what it resolves to, and may return another address for each lookup. So the
name is looked up once, and only an address that was screened is connected to.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import httpx

from portico.net.addresses import Network, screened
from portico.upstreams.host_name import look_up_few

T = TypeVar("T")

_REFUSED: Final = (OSError, httpx.ConnectError, httpx.ConnectTimeout)


async def ask_at_name(
    host: str, named: Sequence[Network], seconds: float, ask: Callable[[str, float], Awaitable[T]]
) -> T:
    """What `ask` returns for the first address of `host` that accepts a connection, each in its share of the time left.

    `ask` gets an address, to which it connects within so many seconds.

    Raises OSError or httpx.HTTPError where none does, or where the name has no allowed address.
    """
    end = time.monotonic() + seconds
    try:
        addresses = screened(dict.fromkeys(await look_up_few(host)), named)
    except UnicodeError:
        raise OSError("the name cannot be looked up") from None
    if not addresses:
        raise OSError("no service has an address of this name")
    return await ask_in_turn(addresses, end, ask)


async def ask_in_turn(addresses: Sequence[str], end: float, ask: Callable[[str, float], Awaitable[T]]) -> T:
    """What `ask` returns for the first address that accepts a connection, by the monotonic time `end`.

    Raises as `ask` does for the last one.
    """
    for left in range(len(addresses), 1, -1):
        try:
            return await ask(addresses[-left], max(0.0, end - time.monotonic()) / left)
        except _REFUSED:
            continue
    return await ask(addresses[-1], max(0.0, end - time.monotonic()))
