"""Limits in a Redis Cluster: what becomes of one slot, or one node, is nothing to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager

import pytest
from redis.crc import key_slot

from portico.net.redis.cluster_link import CONNECTIONS, ClusterLink
from portico.net.redis.connection import connect
from portico.net.redis.link import argument
from portico.policies.counters.shared_limits import SharedLimits
from support.redis_servers import RedisServer, cluster, migrating
from support.waiting import others_end

_LIMIT = 100
_BOUNDS = (5461, 10923, 16384)


class Question:
    """One client's, of one limit or two."""

    def __init__(self, client: str, limits: Sequence[str] = ("rate",)) -> None:
        self.keys = [argument(f"portico:limit:{limit}:{{{client}}}".encode()) for limit in limits]
        signs = [b"+"] * (len(limits) - 1) + [b"."]
        self.arguments = [b"".join(map(argument, (b"%d" % _LIMIT, b"1e-12", sign))) for sign in signs]
        self.left: asyncio.Future[list[int] | None] = asyncio.get_running_loop().create_future()

    def answered(self, left: list[int], clock: float) -> None:
        self.left.set_result(left)

    def unanswered(self) -> None:
        self.left.set_result(None)

    def faulted(self) -> None:
        self.left.set_result(None)


async def ask(limits: SharedLimits, *questions: Question) -> list[list[int] | None]:
    """The answer to each; all sent in one turn of the loop."""
    for question in questions:
        limits.ask(question)
    return await asyncio.gather(*(question.left for question in questions))


@asynccontextmanager
async def limits_in(nodes: list[RedisServer], timeout: float = 5.0) -> AsyncIterator[SharedLimits]:
    client = connect(f"redis+cluster://127.0.0.1:{nodes[0].port}", timeout=2, connections=CONNECTIONS)
    limits = SharedLimits(ClusterLink(client), timeout, {}, asyncio.get_running_loop())
    try:
        await limits.start()
        assert limits.is_up
        yield limits
    finally:
        limits.close()
        await others_end()


def client_of(node: int, start: int = 0) -> str:
    """A client whose keys are on this node, of the three of `cluster()`."""
    first = (0, *_BOUNDS)[node]
    return next(
        name for n in range(start, start + 1000) if first <= key_slot((name := f"c{n}").encode()) < _BOUNDS[node]
    )


def test_only_keys_of_a_slot_that_moves_may_go_without_an_answer() -> None:
    async def scenario(nodes: list[RedisServer]) -> None:
        moving, others = client_of(0), [client_of(node, 500) for node in range(3)]
        both = ("rate", "hour")
        async with limits_in(nodes) as limits:
            assert await ask(limits, Question(moving)) == [[_LIMIT - 1]]
            with migrating(nodes, key_slot(moving.encode())):
                for number in range(1, 6):
                    questions = [Question(moving, both), *(Question(other, both) for other in others)]
                    first, *rest = await ask(limits, *questions)
                    assert first is None, "one of its keys is there, the other one is not (TRYAGAIN)"
                    assert rest == [[_LIMIT - number] * 2] * 3
                assert await ask(limits, Question(moving)) == [[_LIMIT - 2]]
                assert nodes[0].ask("DEL", f"portico:limit:rate:{{{moving}}}")
                for number in range(1, 20):  # it is at the other node from here on (ASK)
                    assert await ask(limits, Question(moving), Question(moving)) == [
                        [_LIMIT - 2 * number + 1],
                        [_LIMIT - 2 * number],
                    ]
            assert await ask(limits, Question(moving)) == [[_LIMIT - 39]], "the slot has moved (MOVED)"
            assert limits.is_up

    with cluster() as nodes:
        asyncio.run(scenario(nodes))


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_only_keys_of_a_node_that_is_down_go_without_an_answer(way: str) -> None:
    async def scenario(nodes: list[RedisServer]) -> None:
        clients = [client_of(node) for node in range(3)]
        async with limits_in(nodes, timeout=0.3) as limits:
            await ask(limits, *map(Question, clients))
            with ExitStack() as stack:
                if way == "killed":
                    nodes[2].kill()
                else:
                    stack.enter_context(nodes[2].stopped())
                for number in range(2, 40):
                    *answers, last = await ask(limits, *map(Question, clients))
                    assert answers == [[_LIMIT - number]] * 2
                    assert last is None
                assert limits.is_up
            if way == "killed":
                for node in nodes:
                    node.kill()
                async with asyncio.timeout(20):
                    while limits.is_up:
                        await ask(limits, Question(clients[0]))
                for node in nodes:
                    node.start()
            async with asyncio.timeout(20):
                while await ask(limits, *map(Question, clients)) == [None] * 3 or not limits.is_up:
                    await asyncio.sleep(0.05)

    options = {"cluster_require_full_coverage": "no"}
    with cluster(**options) as nodes:
        asyncio.run(scenario(nodes))
