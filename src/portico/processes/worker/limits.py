"""What a worker shares with others over Redis, and over which connections: limits, the cache, sticky sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from portico.config import Config, GatewaySettings
from portico.net.redis.links import link_to
from portico.policies.cache import CacheSettings
from portico.policies.counters.shared_buckets import BucketTable
from portico.policies.counters.shared_limits import SharedLimits
from portico.processes.ipc.runtime import Runtime
from portico.proxy.cache.redis_store import RedisStore
from portico.upstreams.shared_bindings import SharedBindings


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
    return SharedLimits(link_to(gateway.redis_url.get_secret_value()), gateway.redis_timeout, fallbacks, loop)


def cache_store(config: Config, loop: asyncio.AbstractEventLoop) -> RedisStore | None:
    """The store of responses in Redis where a route has one; nothing is connected yet."""
    bounds, url = config.gateway.cache, config.gateway.redis_url
    if url is None or not any(_is_in_redis(route.policies) for route in config.all_routes):
        return None
    return RedisStore(link_to(url.get_secret_value()), bounds.redis_timeout, bounds.redis, loop)


def _is_in_redis(policies: Mapping[str, Any]) -> bool:
    settings, _ = policies.get("cache", (None, ""))
    return isinstance(settings, CacheSettings) and settings.store == "redis"


def bindings_url(config: Config) -> str | None:
    """The Redis in which workers share who issued the values of sticky services; None where they share nothing."""
    url = config.gateway.redis_url
    is_used = any(service.sticky is not None and service.sticky.issued for service in config.services.values())
    return url.get_secret_value() if is_used and url is not None else None


def shared_bindings(config: Config, loop: asyncio.AbstractEventLoop) -> SharedBindings | None:
    """What workers share of sticky services, where they do; nothing is connected yet."""
    url = bindings_url(config)
    return None if url is None else SharedBindings(link_to(url), config.gateway.redis_timeout, loop)
