"""What health checks ask, instances that answer as they are told, and whom they report to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from portico.config import Config, load_text
from portico.processes.control.health import HealthChecks
from portico.processes.control.instance_states import InstanceStates


class Instance:
    """Answers each GET with a status, or not at all for as long as it hangs."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0
        self.arrived = asyncio.Condition()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    async def asked_times(self, count: int) -> None:
        """Until it was asked so often."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: self.asked >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError, EOFError, asyncio.CancelledError):
            while await reader.readuntil(b"\r\n\r\n"):
                async with self.arrived:
                    self.asked += 1
                    self.arrived.notify_all()
                await self.answers.wait()
                writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\n\r\n".encode())
        self._writers.discard(writer)
        writer.close()


class World:
    """Health checks and what they report to the workers."""

    def __init__(self) -> None:
        self.turned: asyncio.Queue[tuple[str, str, bool]] = asyncio.Queue()
        self.passed: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()
        self.health = HealthChecks(self._changed, self._states, lambda *passed: self.passed.put_nowait(passed))

    def _changed(self, states: list[tuple[str, str, bool]]) -> None:
        for state in states:
            self.turned.put_nowait(state)

    async def _states(self) -> InstanceStates:
        return InstanceStates()


def configured(
    check: str, *instances: str, more: str = "", services: str = "", environment: Mapping[str, str] | None = None
) -> Config:
    """A service `s` with these instances, and other services."""
    settings = f"instances: [{', '.join(instances)}], health_check: {check}{more}"
    return load_text(f"services: {{s: {{{settings}}}{services}}}", "portico.yaml", environment or {})
