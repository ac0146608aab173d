"""Many small instances of one service, and clients that ask for it all the time, on an event loop of their own."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from portico.client.registry import AsyncServiceRegistry
from portico.testing.loop_thread import LoopThread

from .client import TIMEOUT
from .instance import Instance


class Fleet(LoopThread):
    """Instances and clients on one loop; `outcomes` counts what clients met."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: Counter[str] = Counter()
        self.members: list[Instance] = []
        self._clients: list[asyncio.Task[None]] = []
        self._over = False

    async def closing(self) -> None:
        await self._end_clients()
        for member in self.members:
            await member.stop()

    def member(self, name: str) -> Instance:
        """An instance that answers with its name, until the fleet ends."""
        member = Instance(name, name)
        self.members.append(member)
        self.run(member.start())
        return member

    def begin(self, doing: Coroutine[Any, Any, None]) -> None:
        """Have it run until it ends, or the fleet does."""
        self.run(self._begin(doing))

    async def _begin(self, doing: Coroutine[Any, Any, None]) -> None:
        self._clients.append(asyncio.get_running_loop().create_task(doing))

    def load(self, ports: list[int], path: str, clients: int = 4, pause: float = 0.005) -> None:
        """Have clients ask for `path` until `settle`."""
        for number in range(clients):
            self.begin(self._ask_on(ports[number % len(ports)], path, pause))

    def settle(self) -> Counter[str]:
        """End the clients with their last answer, and give what all of them met."""
        self._over = True
        self.run(self._end_clients())
        return self.outcomes

    async def _end_clients(self) -> None:
        self._over = True
        _, late = await asyncio.wait(self._clients, timeout=TIMEOUT) if self._clients else (None, set())
        for task in late:
            task.cancel()

    @property
    def over(self) -> bool:
        return self._over

    async def _ask_on(self, port: int, path: str, pause: float) -> None:
        request = f"GET {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n".encode()
        while not self._over:
            writer = None
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                while not self._over:
                    writer.write(request)
                    async with asyncio.timeout(TIMEOUT):
                        head = await reader.readuntil(b"\r\n\r\n")
                        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
                    self.outcomes[head[9:12].decode()] += 1
                    if b"connection: close" in head.lower():
                        break
                    await asyncio.sleep(pause)
            except (OSError, EOFError, TimeoutError) as error:
                self.outcomes[type(error).__name__] += 1
                await asyncio.sleep(0.05)
            finally:
                if writer is not None:
                    writer.close()


async def keep_registered(fleet: Fleet, redis_url: str, service: str, member: Instance, ttl: int) -> None:
    """Heartbeats, whatever becomes of Redis."""
    registry = AsyncServiceRegistry(redis_url, timeout=1.0)
    known = False
    while not fleet.over:
        with suppress(Exception):
            if not known:
                await registry.register(service, member.url, ttl, id=member.name)
                known = True
            else:
                await registry.heartbeat(service, ttl, id=member.name)
        await asyncio.sleep(ttl / 4)
    await registry.close()


async def churn(fleet: Fleet, redis_url: str, service: str, size: int, seconds: float) -> list[Instance]:
    """Some `size` instances that join and leave all the time; every third leaves without a word, by its TTL."""
    registry = AsyncServiceRegistry(redis_url)
    members: list[Instance] = []
    lives = asyncio.TaskGroup()
    end = asyncio.get_running_loop().time() + seconds

    async def live(number: int) -> None:
        while asyncio.get_running_loop().time() < end:
            name = f"m{number}-{len(members)}"
            member = Instance(name, name)
            members.append(member)
            await member.start()
            await registry.register(service, member.url, 2, id=member.name)
            for _ in range(random.randint(2, 8)):
                await asyncio.sleep(0.4)
                await registry.heartbeat(service, 2, id=member.name)
            if number % 3:
                await registry.deregister(service, id=member.name)
                await asyncio.sleep(1.0)
            else:
                await asyncio.sleep(3.5)
            await member.stop()

    async with lives:
        for number in range(size):
            lives.create_task(live(number))
            await asyncio.sleep(min(1.0, seconds / 4) / size)
    await registry.close()
    return members
