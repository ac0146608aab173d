"""A Valkey or Redis of one's own, on a free port, and a way there that can be made slow, or lead elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import redis

from portico.testing.loop_thread import LoopThread

from .redis_servers import RedisServer


class RedisProcess(RedisServer):
    """Starts empty, keeps nothing; with a `client` that has its connections open; `more` are further arguments."""

    def __init__(self, *more: str, cores: frozenset[int] | None = None) -> None:
        super().__init__(*more, appendonly="no", cores=cores)
        self.client: Any = redis.Redis(port=self.port, decode_responses=True)

    def is_ready(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    def end(self) -> None:
        self.client.close()
        super().end()

    def limit_keys(self) -> set[str]:
        """The names that are there, but for the one that gateways try Redis by."""
        return set(cast("list[str]", self.client.keys("portico:limit:*"))) - {"portico:limit:probe"}


class SlowWay(LoopThread):
    """A port that leads to another; what comes from there is held back for `delay` seconds.

    With another `to`, connections lead there from then on; those that are open stay where they are.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        super().__init__()
        self.delay = 0.0
        self._host = host
        self.to = port

    async def opening(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._host, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def closing(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.close()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(reader, server_writer, slow=False))
                both.create_task(self._copy(server_reader, writer, slow=True))
        except* OSError:
            pass
        finally:
            server_writer.close()
            writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool) -> None:
        """Each piece on its own: a delay is a way's length, not its width."""
        due = 0.0
        while data := await reader.read(65536):
            loop = asyncio.get_running_loop()
            due = max(due, loop.time() + (self.delay if slow else 0.0))
            loop.call_at(due, writer.write, data)
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        writer.close()
