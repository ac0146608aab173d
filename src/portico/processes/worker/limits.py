"""Whether a worker shares the counting of limits, and over which connection."""

from __future__ import annotations

import asyncio
from typing import Any

from portico.config import GatewaySettings
from portico.net.redis.connection import connect
from portico.policies.counters.cluster_link import CONNECTIONS, ClusterLink
from portico.policies.counters.redis_link import RedisLink
from portico.policies.counters.shared_buckets import BucketTable
from portico.policies.counters.shared_limits import SharedLimits
from portico.processes.ipc.runtime import Runtime

_CONNECT_TIMEOUT = 2.0


def bucket_table(gateway: GatewaySettings, runtime: Runtime) -> BucketTable | None:
    """The table in which all workers count limits that need no Redis, where the configuration names none."""
    url = gateway.redis_url
    return runtime.table if url is None or url.get_secret_value() == runtime.redis_url else None


def shared_limits(
    gateway: GatewaySettings, fallbacks: dict[str, int], loop: asyncio.AbstractEventLoop
) -> SharedLimits | None:
    """The limits in Redis where the configuration names one; nothing is connected yet.

    `fallbacks` counts, by service, the requests that are decided without it.
    """
    if gateway.redis_url is None:
        return None
    client: Any = connect(gateway.redis_url.get_secret_value(), timeout=_CONNECT_TIMEOUT, connections=CONNECTIONS)
    link = ClusterLink(client) if hasattr(client, "keyslot") else RedisLink(client)
    return SharedLimits(link, gateway.redis_timeout, fallbacks, loop)
