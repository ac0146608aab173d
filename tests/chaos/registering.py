"""Registers instances of the service `chaos` by `portico.client.register`, until SIGTERM.

Arguments: the URL of the Redis, and the ports of the instances.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from typing import Final

from starlette.applications import Starlette

from portico.client import register

TTL: Final = 6
"""Seconds: without heartbeats at the Redis that took over, all instances are gone after these."""


async def _main(redis_url: str, ports: list[str]) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    async with AsyncExitStack() as stack:
        for port in ports:
            url = f"http://127.0.0.1:{port}"
            app = Starlette()
            register(app, name="chaos", url=url, redis_url=redis_url, ttl=TTL, id=port)
            await stack.enter_async_context(app.router.lifespan_context(app))
        await over.wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2:]))
