"""A bound on concurrent requests to the endpoints that ask the workers."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.exceptions import HTTPException


class Bound:
    """A dependency (FastAPI's) of the endpoints that share one bound; beyond it they answer 503 at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running = 0

    async def __call__(self) -> AsyncIterator[None]:
        if self._running >= self._most:
            raise HTTPException(503, "too many ask for this at once; try again soon", {"Retry-After": "1"})
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
