"""Instances at an IPv6 address, by every way in which a gateway comes to know of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from portico.client import register
from portico.client.registry import ServiceRegistry
from portico.testing.loop_thread import LoopThread
from support.backend import Backend
from support.portico import run_portico
from support.redis_process import SlowWay
from support.redis_servers import RedisServer
from support.world import Gateway, until

NAME = "six"


@pytest.fixture
def instance(backend: Backend) -> Iterator[SlowWay]:
    """The backend, at ::1."""
    with SlowWay(backend.port, "::1") as way:
        yield way


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(bind="::1") as server:
        server.url = f"redis://[::1]:{server.port}"
        yield server


def gateway_of(redis: RedisServer | None = None, path: str | None = "/x", **service: Any) -> Gateway:
    """With its admin API at ::1, too."""
    more = {} if redis is None else {"redis_url": redis.url}
    check = {"path": path, "interval": "100ms"} if path else {"interval": "100ms"}
    services = {NAME: {"health_check": check, "preserve_host": False, **service}}
    return Gateway({"gateway": {"admin": "[::1]:0", **more}, "services": services})


def serves(gateway: Gateway, instance: SlowWay) -> None:
    """Requests, checks, the log, metrics and the admin API: all of them name it in the same way."""
    authority = f"[::1]:{instance.port}"
    until(lambda: gateway.get(f"/api/{NAME}/x").status == 200, "requests reach it")
    answer = gateway.get(f"/api/{NAME}/x")
    assert ["Host", authority] in answer.json()["fields"]
    assert gateway.logged(answer.get("x-request-id"))["upstream"] == authority
    healthy = f'gateway_instance_healthy{{instance="http://{authority}",service="{NAME}"}} 1.0'
    until(lambda: healthy in gateway.get("/metrics").body.decode(), healthy)
    where = ("--config", str(gateway.file), "--admin", f"[::1]:{gateway.admin_port}")
    said = run_portico("services", *where)
    assert said.returncode == 0, said.stderr
    assert f"http://{authority}" in said.stdout
    (row,) = httpx.get(f"http://[::1]:{gateway.admin_port}/admin/services", trust_env=False).json()["services"]
    assert [each["url"] for each in row["instances"]] == [f"http://{authority}"]


@pytest.mark.parametrize(("host", "path"), [("[::1]", "/x"), ("[0:0:0:0:0:0:0:1]", None)])
def test_in_the_file(instance: SlowWay, host: str, path: str | None) -> None:
    with gateway_of(path=path, url=f"http://{host}:{instance.port}") as gateway:
        serves(gateway, instance)


def test_in_redis(instance: SlowWay, redis: RedisServer) -> None:
    registry = ServiceRegistry(redis.url)
    with gateway_of(redis, discover="redis") as gateway:
        registry.register(NAME, f"http://[::1]:{instance.port}", id="a")
        serves(gateway, instance)
        registry.deregister(NAME, id="a")
        registry.register(NAME, f"http://[0::0001]:{instance.port}")
        serves(gateway, instance)
    registry.close()


@pytest.mark.parametrize("source", ["redis", "admin"])
def test_over_the_admin_api(instance: SlowWay, redis: RedisServer, source: str) -> None:
    with gateway_of(redis, discover={"source": source, "allow": ["::1/128"]}) as gateway:
        where = f"http://[::1]:{gateway.admin_port}/admin/registry/{NAME}/a"
        refused = httpx.put(where, json={"url": "http://[2001:db8::1]:1"}, trust_env=False)
        assert (refused.status_code, refused.json()["detail"]) == (422, "url: it is in no network of allow")
        assert httpx.put(where, json={"url": f"http://[0::1]:{instance.port}"}, trust_env=False).status_code == 201
        serves(gateway, instance)


class Registering(LoopThread):
    """An application that `register` keeps registered."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._app = Starlette()
        register(self._app, name=NAME, leave_time=0, **options)

    async def opening(self) -> None:
        self._lifespan = self._app.router.lifespan_context(self._app)
        await self._lifespan.__aenter__()

    async def closing(self) -> None:
        await self._lifespan.__aexit__(None, None, None)


@pytest.mark.parametrize("source", ["redis", "admin"])
def test_by_register(instance: SlowWay, redis: RedisServer, source: str) -> None:
    with gateway_of(redis, discover=source) as gateway:
        gateway.wait_for_control()
        registry = {"redis_url": redis.url} if source == "redis" else {"gateway": f"http://[::1]:{gateway.admin_port}"}
        with Registering(url=f"http://[::1]:{instance.port}", **registry):
            serves(gateway, instance)
        until(lambda: gateway.get(f"/api/{NAME}/x").status == 503, "it has deregistered")
