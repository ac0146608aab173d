"""Which filters workers are given, for whom, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.exceptions import HTTPException

from portico.observe.record_filter import RecordFilter
from portico.processes.control.live.exchanges import Exchanges
from portico.processes.control.live.watcher import LINES
from portico.processes.ipc import channel
from support.waiting import others_end

SHOP, CART = RecordFilter(services=("shop",)), RecordFilter(services=("cart",))


class Scene:
    """Keeps what workers are sent."""

    def __init__(self) -> None:
        self.sent: list[dict[int, RecordFilter]] = []
        self.exchanges = Exchanges(self.changed, lambda: 1)

    async def changed(self) -> None:
        self.sent.append(self.exchanges.wanted())

    async def begin(self, wanted: RecordFilter) -> AsyncGenerator[bytes, None]:
        stream = self.exchanges.stream(wanted, LINES)
        assert await anext(stream) == b""
        return stream


def test_two_who_want_the_same_share_a_filter_which_goes_with_the_last_of_them() -> None:
    async def play() -> None:
        scene = Scene()
        first, second, other = [await scene.begin(wanted) for wanted in (SHOP, SHOP, CART)]
        assert [[*sent.values()] for sent in scene.sent] == [[SHOP], [SHOP, CART]]
        await first.aclose()
        await others_end()
        assert len(scene.sent) == 2
        await second.aclose()
        await other.aclose()
        await others_end()
        assert scene.sent[-1] == {}

    asyncio.run(play())


def test_each_gets_what_passes_its_filter() -> None:
    async def play() -> None:
        scene = Scene()
        shop, cart = [await scene.begin(wanted) for wanted in (SHOP, CART)]
        (one, other) = scene.exchanges.wanted()
        scene.exchanges.received(channel.Watched({one: ([b"1", b"2"], 0), other: ([b"3"], 4), 99: ([b"5"], 0)}))
        assert await anext(shop) == b"1\n2\n"
        assert await anext(cart) == b'{"left_out": 4}\n3\n'

    asyncio.run(play())


def test_there_is_a_bound_on_filters_and_those_in_use_can_be_shared() -> None:
    async def play() -> None:
        scene = Scene()
        streams = [await scene.begin(RecordFilter(path=f"/{number}")) for number in range(32)]
        with pytest.raises(HTTPException) as refused:
            await scene.begin(SHOP)
        assert refused.value.status_code == 503
        await scene.begin(RecordFilter(path="/7"))
        await streams[0].aclose()
        await scene.begin(SHOP)

    asyncio.run(play())
