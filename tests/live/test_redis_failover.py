"""Another Redis takes over behind the address that stays: open connections are to the one that was demoted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from portico.net.redis.connection import connect
from portico.net.redis.link import RedisLink, argument
from portico.policies.counters.shared_limits import SharedLimits
from support.client import ask
from support.fleet import Fleet
from support.redis_process import SlowWay
from support.redis_servers import RedisServer, fail_over, master_and_replica, watched_pair
from support.service import UvicornService
from support.world import Gateway, until

_WITHIN = 8.0
"""Seconds within which everybody has to be with the new server: after ten a demoted one knows itself."""


def demote(old: RedisServer, new: RedisServer) -> None:
    new.ask("REPLICAOF", "NO", "ONE")
    old.ask("REPLICAOF", "127.0.0.1", new.port)


def config(url: str) -> dict[str, object]:
    return {"gateway": {"redis_url": url}, "services": {"orders": {"discover": "redis", "health_check": False}}}


def put(gateway: Gateway, name: str, url: str) -> int:
    body = json.dumps({"url": url}).encode()
    return ask(gateway.admin_port, "PUT", f"/admin/registry/orders/{name}", "Host: localhost", body=body).status


def is_up(gateway: Gateway) -> bool:
    return b"gateway_registry_up 1" in gateway.get("/metrics").body


@contextmanager
def registered(way: SlowWay, ttl: str) -> Iterator[tuple[Gateway, UvicornService, Fleet]]:
    """A gateway under load, and a service that registers for `ttl` seconds at a time, with one Redis by this way."""
    url = f"redis://127.0.0.1:{way.port}"
    env = {"SERVICE_REGISTERS": ttl, "REDIS_URL": url}
    with Fleet() as fleet, Gateway(config(url)) as gateway, UvicornService(env, "registered_plain") as service:
        until(lambda: gateway.get("/api/orders/x").status == 200, "requests reach it")
        fleet.load([gateway.port], "/api/orders/x")
        yield gateway, service, fleet


def test_a_failover_behind_a_stable_address_costs_no_request_and_no_registration() -> None:
    with (
        master_and_replica() as (old, new),
        SlowWay(old.port) as way,
        registered(way, "3") as (gateway, service, fleet),
    ):
        demote(old, new)
        old.ask("REPLICAOF", "127.0.0.1", 1)  # it learns nothing of the new one
        new.ask("FLUSHALL")
        way.to = new.port
        assert put(gateway, "other", service.url) == 201, "the first attempt counts"
        until(lambda: len(new.ask("KEYS", "service:orders:*")) == 2, "both are there", _WITHIN)
        until(lambda: is_up(gateway), timeout=_WITHIN)
        until(lambda: len(new.ask("PUBSUB", "CHANNELS")) == 1, "the gateway listens there")
        until(lambda: old.ask("CLIENT", "LIST").count("\n") == 2, "the old one has its own client alone")
        assert set(fleet.settle()) == {"200"}
        assert "cannot register" not in service.said()


def test_a_server_that_hangs_is_left_for_the_one_that_took_over() -> None:
    with (
        master_and_replica() as (old, new),
        SlowWay(old.port) as way,
        registered(way, "6") as (gateway, service, fleet),
        old.stopped(),
    ):
        new.ask("REPLICAOF", "NO", "ONE")
        new.ask("FLUSHALL")
        way.to = new.port
        until(lambda: new.ask("KEYS", "service:orders:*"), "it is registered there")
        until(lambda: put(gateway, "other", service.url) in (200, 201), "the gateway writes there")
        until(lambda: is_up(gateway), "and reads")
        assert set(fleet.settle()) == {"200"}


def test_limits_are_counted_by_the_master_that_sentinels_name() -> None:
    """The deposed one goes on taking commands: what it counted would be lost."""

    async def scenario(url: str, sentinel: RedisServer, replica: RedisServer) -> None:
        client = connect(url, timeout=2)
        limits = SharedLimits(RedisLink(client), 1.0, {}, asyncio.get_running_loop())
        try:
            await limits.start()
            async with asyncio.timeout(_WITHIN):
                while not limits.is_up:
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(fail_over, sentinel, replica)
            async with asyncio.timeout(_WITHIN):
                while not replica.ask("KEYS", "portico:limit:here"):
                    await asyncio.sleep(0.05)
                    if limits.is_up:
                        limits.ask(_Question())
        finally:
            limits.close()
            await client.aclose()

    with watched_pair("pw") as (_, replica, sentinel):
        url = f"redis+sentinel://:pw@127.0.0.1:1,127.0.0.1:{sentinel.port}/main"  # the first of them is away
        uvloop.run(scenario(url, sentinel, replica))


class _Question:
    """What one request asks."""

    def __init__(self) -> None:
        self.keys = [argument(b"portico:limit:here")]
        self.arguments = [b"".join(map(argument, (b"1000000", b"9", b".")))]

    def answered(self, left: list[int], clock: float) -> None: ...

    def unanswered(self) -> None: ...

    def faulted(self) -> None: ...


def test_a_replica_removes_no_instance_and_counts_as_unavailable() -> None:
    with master_and_replica() as (old, new), SlowWay(old.port) as way:
        url = f"redis://127.0.0.1:{way.port}"
        with Gateway(config(url)) as gateway, UvicornService() as service:
            assert put(gateway, "a", service.url) == 201
            until(lambda: gateway.get("/api/orders/health").status == 200, "requests reach it")
            demote(old, new)
            until(lambda: not is_up(gateway), "nobody can register there")
            assert put(gateway, "b", service.url) == 503
            new.ask("FLUSHALL")  # and so does its replica
            until(
                lambda: any(event["event"].startswith("Redis has lost") for event in gateway.events()), "it is noticed"
            )
            assert gateway.get("/api/orders/health").status == 200
            way.to = new.port
            until(lambda: is_up(gateway), timeout=_WITHIN)
            assert put(gateway, "b", service.url) == 201
