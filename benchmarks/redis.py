"""A Valkey or Redis for gateways that share a limit: on the cores of the load, for it is not what is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from portico.net.redis.server import find_server
from support.cores import LOAD
from support.redis_process import RedisProcess


@contextmanager
def redis() -> Iterator[str]:
    """The URL of a new one that keeps nothing; empty where there is no server."""
    if find_server() is None:
        yield ""
        return
    with RedisProcess(cores=LOAD) as store:
        yield f"{store.url}/0"
