"""Commands for keys that have moved already, of a slot that moves to another node of a Cluster.

They go out on one connection with ASKING, which holds for the next command alone. redis-py's asynchronous client sends
the two on different connections where it has several, and gives up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio.cluster import ClusterNode, PipelineCommand, RedisCluster
from redis.exceptions import AskError, MovedError


class Cluster(RedisCluster):  # type: ignore[type-arg,unused-ignore]
    """redis-py's client for asyncio."""

    async def aclose(self) -> None:
        """Close all connections: redis-py leaves them open after a failure, until it has looked for the nodes again."""
        await super().aclose()
        if self._lock is not None:  # else it never connected
            async with self._lock:
                if self._initialize:
                    await self.nodes_manager.aclose()
                    await self.nodes_manager.aclose("startup_nodes")

    async def _execute_command(self, target_node: Any, *command: Any, **options: Any) -> Any:
        node = _Node(self.nodes_manager, target_node)
        return await super()._execute_command(node, *command, **options)  # type: ignore[arg-type]


class _Node:
    """A node, which sends a command on to where its keys are by now."""

    def __init__(self, nodes: Any, node: Any) -> None:
        self._nodes = nodes
        self._node = node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    async def execute_command(self, *command: Any, **options: Any) -> Any:
        try:
            return await self._node.execute_command(*command, **options)
        except MovedError:  # an AskError, too
            raise
        except AskError as error:
            return await asking(self._nodes, error, command, options)


async def asking(nodes: Any, error: AskError, command: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """The reply of the node that an error names; `nodes` is the client's `nodes_manager`."""
    node = nodes.get_node(host=error.host, port=error.port)
    if node is None:  # it has no slots of its own yet
        node = ClusterNode(error.host, error.port, "primary", **nodes.connection_kwargs)
        nodes.set_nodes(nodes.nodes_cache, {node.name: node})
    own = {name: value for name, value in options.items() if name != "asking"}
    both = [PipelineCommand(0, "ASKING"), PipelineCommand(1, *command, **own)]
    await node.execute_pipeline(both)
    if isinstance(both[1].result, Exception):
        raise both[1].result
    return both[1].result
