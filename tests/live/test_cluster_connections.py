"""No connection to a node of a Redis Cluster stays open when nobody will use it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis.crc import key_slot

from portico.net.redis.cluster_link import CONNECTIONS, ClusterLink
from portico.net.redis.connection import connect, failures
from portico.net.redis.link import argument
from portico.policies.counters.shared_limits import SCRIPT
from support.redis_servers import RedisServer, cluster
from support.waiting import others_end, until

_KEYS = {key_slot(name.encode()) // 5462: name for name in map(str, range(20))}
"""One key of each of the three nodes, by the node's index."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[RedisServer]]:
    with cluster() as own:
        yield own


def client_of(nodes: list[RedisServer], timeout: float) -> Any:
    return connect(f"redis+cluster://127.0.0.1:{nodes[0].port}", timeout=timeout, connections=CONNECTIONS)


def question(link: ClusterLink, node: int) -> asyncio.Future[list[int] | Exception]:
    """The outcome of a question about a limit that this node counts."""
    outcome: asyncio.Future[list[int] | Exception] = asyncio.get_running_loop().create_future()
    limits = [argument(_KEYS[node].encode())], [b"".join(map(argument, (b"100", b"1", b".")))]
    link.run(SCRIPT, *limits, 3, outcome.set_result)
    return outcome


async def nobody_is_connected(nodes: list[RedisServer]) -> None:
    def is_alone(node: RedisServer) -> bool:  # with the client that asks
        return bool(node.ask("INFO", "clients")["connected_clients"] == 1)

    await asyncio.to_thread(until, lambda: all(map(is_alone, nodes)), "all connections are closed")


def test_a_client_that_is_closed_after_a_failure(nodes: list[RedisServer]) -> None:
    async def scenario() -> None:
        client = client_of(nodes, timeout=0.2)
        try:
            for key in _KEYS.values():
                await client.set(key, "x")
            with nodes[2].stopped(), pytest.raises(failures()):
                await client.set(_KEYS[2], "y")
        finally:
            await client.aclose()
        await nobody_is_connected(nodes)

    asyncio.run(scenario())


def test_a_link_that_is_closed_while_it_looks_for_the_nodes(nodes: list[RedisServer]) -> None:
    async def scenario() -> None:
        link = ClusterLink(client_of(nodes, timeout=5))
        await link.open()
        with ExitStack() as stack:
            for node in nodes:
                stack.enter_context(node.stopped())
            assert isinstance(await question(link, 2), TimeoutError)
            link.close()
        await others_end()
        await nobody_is_connected(nodes)

    asyncio.run(scenario())


def test_a_link_that_is_closed_with_calls_under_way_and_opened_again(nodes: list[RedisServer]) -> None:
    async def scenario() -> None:
        link = ClusterLink(client_of(nodes, timeout=5))
        await link.open()
        given_up = [question(link, node) for node in range(3)]
        await asyncio.sleep(0)
        link.close()
        await link.open()
        for node in range(3):
            assert isinstance(await question(link, node), list)
        assert not any(outcome.done() for outcome in given_up)
        link.close()
        await others_end()
        await nobody_is_connected(nodes)

    asyncio.run(scenario())


def test_a_node_that_leaves_the_cluster_while_it_is_asked(nodes: list[RedisServer]) -> None:
    async def scenario() -> None:
        client = client_of(nodes, timeout=5)
        link = ClusterLink(client)
        await link.open()
        outcome = question(link, 0)
        known = client.nodes_manager.nodes_cache
        rest = {name: node for name, node in known.items() if node.port != nodes[0].port}
        client.nodes_manager.set_nodes(known, rest, remove_old=True)  # as after a look for the nodes
        client.nodes_manager.set_nodes(client.nodes_manager.startup_nodes, rest, remove_old=True)
        assert isinstance(await outcome, list)
        await nobody_is_connected(nodes[:1])
        link.close()
        await others_end()
        await nobody_is_connected(nodes)

    asyncio.run(scenario())
