"""The link that a URL means."""

from __future__ import annotations

from typing import Any, Final

from portico.net.redis.cluster_link import CONNECTIONS, ClusterLink
from portico.net.redis.connection import connect
from portico.net.redis.link import Link, RedisLink

_CONNECT_TIMEOUT: Final = 2.0


def link_to(url: str) -> Link:
    """A link to one server, to the master that Sentinels name, or to a Cluster; nothing is connected yet."""
    client: Any = connect(url, timeout=_CONNECT_TIMEOUT, connections=CONNECTIONS)
    return ClusterLink(client) if hasattr(client, "keyslot") else RedisLink(client)
