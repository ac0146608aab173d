"""Applications that are made when they are first asked.

FastAPI and what is built with it are a third of all memory of a small gateway, and most run for weeks without anybody
asking theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from portico.core.imports import kept

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class Deferred:
    """An ASGI application; `make` imports and makes it, in a thread: half a second in which other work goes on."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._made: ASGIApp | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._made is None:
            async with self._making:
                if self._made is None:
                    self._made = await asyncio.to_thread(self._kept)
        await self._made(scope, receive, send)

    def _kept(self) -> ASGIApp:
        with kept():
            return self._make()
