"""What Sentinels publish, and what a connection makes of it; with a real Sentinel: tests/live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from portico.net.redis.link import RedisLink
from portico.net.redis.master_watch import Address, MasterWatch

OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)


class Sentinel:
    """Publishes what it is given, and then nothing more."""

    def __init__(self, master: Address, *published: str) -> None:
        self.master = master
        self.published = [*published]
        self.is_closed = False
        self.over = asyncio.Event()

    def pubsub(self, **_: Any) -> Sentinel:
        return self

    async def subscribe(self, channel: str) -> None:
        assert channel == "+switch-master"

    async def sentinel_get_master_addr_by_name(self, name: str) -> Address:
        assert name == "main"
        return self.master

    async def get_message(self, timeout: float) -> dict[str, str] | None:
        if self.published:
            return {"data": self.published.pop(0)}
        self.over.set()
        await asyncio.sleep(timeout)
        return None

    async def aclose(self) -> None:
        self.is_closed = True


async def received(sentinel: Sentinel, others: list[Sentinel], named: Callable[[Address], None]) -> list[Sentinel]:
    """The Sentinels in the order in which they are asked, once one has published everything."""
    asked = [*others, sentinel]
    manager = SimpleNamespace(sentinels=asked)
    watch = MasterWatch(manager, "main", named)
    task = asyncio.create_task(watch.follow(sentinel))
    await sentinel.over.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sentinel.is_closed
    return asked


def test_the_master_of_now_and_each_new_one_are_named() -> None:
    async def scenario() -> None:
        named: list[Address] = []
        sentinel = Sentinel(OLD, "other 10.0.0.1 6379 10.0.0.9 6379", "main 10.0.0.1 6379 10.0.0.2 6379")
        other = Sentinel(OLD)
        assert await received(sentinel, [other], named.append) == [sentinel, other], (
            "the one that knows first is asked first"
        )
        assert named == [OLD, NEW]

    asyncio.run(scenario())


def test_a_connection_to_another_server_than_the_master_ends() -> None:
    link = RedisLink(None)
    losses: list[Exception] = []
    link.lost = losses.append
    writer = SimpleNamespace(transport=SimpleNamespace(abort=lambda: None))
    link._writer, link._server = writer, OLD
    link._follow(OLD)
    assert (link.is_open, losses) == (True, [])
    link._follow(NEW)
    assert (link.is_open, [str(loss) for loss in losses]) == (False, ["Sentinels name another master"])
    link._follow(NEW)
    assert len(losses) == 1, "there is none any more"


def test_a_master_that_is_replaced_while_a_connection_is_made() -> None:
    class Pool:
        """Connects to the old one, which was named just before the switch."""

        master_address = OLD

        async def get_connection(self) -> Any:
            link._follow(NEW)
            transport = SimpleNamespace(set_protocol=lambda _: None, abort=lambda: None)
            return SimpleNamespace(_writer=SimpleNamespace(transport=transport), _reader=None)

        async def release(self, connection: Any) -> None:
            pass

    link = RedisLink(SimpleNamespace(connection_pool=Pool()))
    with pytest.raises(ConnectionError, match="another master"):
        asyncio.run(link.open())
    assert not link.is_open
