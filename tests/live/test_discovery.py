"""Services that register themselves, in a real Redis and over the admin API."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from portico.client.registry import ServiceRegistry
from support.backend import Backend
from support.client import ask
from support.fleet import Fleet, churn, keep_registered
from support.messages import Message
from support.redis_servers import RedisServer
from support.world import Gateway, alive, until


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as own:
        yield own


def discovering(server: RedisServer, **more: Any) -> dict[str, Any]:
    gateway = {"redis_url": server.url, **more.pop("gateway", {})}
    return {"gateway": gateway, "services": {"orders": {"discover": "redis"}}, **more}


def answers(gateway: Gateway, path: str, status: int = 200) -> None:
    until(lambda: gateway.get(path).status == status, f"{path} answers {status}")


def admin(gateway: Gateway, method: str, path: str, document: Any = None) -> Message:
    body = None if document is None else json.dumps(document).encode()
    return ask(gateway.admin_port, method, path, "Host: localhost", body=body)


class SeedRegistry:
    """What the seed's `ServiceRegistry` does, command by command."""

    def __init__(self, redis_url: str) -> None:
        self.redis = redis.from_url(redis_url)

    def register(self, service_name: str, url: str, ttl: int = 30) -> None:
        self.redis.setex(f"service:{service_name}", ttl, url)

    def heartbeat(self, service_name: str, ttl: int = 30) -> None:
        self.redis.expire(f"service:{service_name}", ttl)


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
def test_a_plain_registration_reaches_two_gateways_and_lapses(server: RedisServer, backend: Backend) -> None:
    with Gateway(discovering(server)) as one, Gateway(discovering(server)) as other:
        answer = one.get("/api/orders/x")
        assert (answer.status, answer.json()["reason"]) == (503, "no_healthy_upstream")
        assert answer.get("retry-after")
        registry = SeedRegistry(server.url)
        registry.register("orders", backend.url, ttl=2)
        for gateway in (one, other):
            answers(gateway, "/api/orders/x")
        end = time.monotonic() + 3
        while time.monotonic() < end:  # longer than its first time to live
            registry.heartbeat("orders", ttl=2)
            assert {gateway.get("/api/orders/x").status for gateway in (one, other)} == {200}
            time.sleep(0.2)
        for gateway in (one, other):
            answers(gateway, "/api/orders/x", 503)
        registry.redis.config_set("notify-keyspace-events", "Ex")  # as another program might, for its own needs
        until(lambda: flags_of(registry.redis) >= set("KExg$"), "both get what they need")
        registry.redis.close()


def flags_of(server: redis.Redis) -> set[str]:
    settings: Any = server.config_get("notify-keyspace-events")
    return set(settings["notify-keyspace-events"])


def test_a_registration_that_fits_the_pattern_gets_a_route(server: RedisServer, backend: Backend) -> None:
    config = discovering(server, services={"written": {"url": backend.url, "health_check": False}})
    config["discover"] = {
        "source": "redis",
        "services": ["team-*", "written"],
        "path": "/found/{name}",
        "allow": ["127.0.0.0/8"],
        "forget_after": 1,
        "service": {"policies": {"rate_limit": {"burst": 1, "requests_per_minute": 1}}},
    }
    with Backend(name="found") as found, Backend(name="other") as other, Gateway(config) as gateway:
        registry = ServiceRegistry(server.url)
        registry.register("team-a", found.url, id="1", weight=3, metadata={"zone": "a"}, openapi="sha256:0")
        registry.register("written", other.url)
        registry.register("stranger", other.url)
        server.ask("SET", "service:team-b:bad", '{"url": "http://10.0.0.9:1"}')
        server.ask("SET", "service:team-c", "ftp://h")
        server.ask("RPUSH", "service:team-d", "http://127.0.0.1:1")
        server.ask("SET", "service:team-a:2", '{"url": 5}')
        answers(gateway, "/found/team-a/x")
        assert gateway.get("/found/team-a/x").status == 429, "the policies that were written for it hold"
        assert gateway.get("/api/written/x").json()["backend"] == "backend"
        until(lambda: sum("ignored" in event["event"] for event in gateway.events()) == 4, "each is named once")
        for path in ("/found/team-b", "/found/team-c", "/found/stranger", "/found/written", "/api/stranger"):
            assert gateway.get(path).status == 404, path
        (service,) = admin(gateway, "GET", "/admin/registry").json()["services"]
        (instance,) = service["instances"]
        assert (instance["id"], instance["weight"], instance["metadata"]) == ("1", 3, {"zone": "a"})
        registry.deregister("team-a", id="1")
        answers(gateway, "/found/team-a/y", 404)
        registry.close()


def test_versions_are_those_that_instances_say(server: RedisServer) -> None:
    services = {"orders": {"discover": "redis", "health_check": False, "versions": {"v1": {}, "v2": {}}}}
    config = discovering(server, services=services)
    with Backend(name="b1") as b1, Backend(name="b2") as b2, Backend(name="any") as anyone, Gateway(config) as gateway:
        registry = ServiceRegistry(server.url)
        registry.register("orders", b1.url, id="1", version="v1")
        registry.register("orders", b2.url, id="2", version="v2")
        registry.register("orders", anyone.url, id="3", version="v3")
        for version in ("v1", "v2"):
            answers(gateway, f"/{version}/orders/x")
        assert {gateway.get("/v1/orders/x").json()["backend"] for _ in range(6)} == {"b1"}
        assert {gateway.get("/v2/orders/x").json()["backend"] for _ in range(6)} == {"b2"}
        assert gateway.get("/api/orders/x").status == 503, "none of them says that it is of no version"
        registry.register("orders", anyone.url)
        answers(gateway, "/api/orders/x")
        until(lambda: {gateway.get("/v1/orders/x").json()["backend"] for _ in range(6)} == {"b1", "any"})
        registry.close()


def test_registering_over_the_admin_api(backend: Backend) -> None:
    config = {"services": {"orders": {"discover": "admin"}, "fixed": backend}}
    instance = {"url": backend.url, "weight": 2, "ttl": 1.5}
    path = "/admin/registry/orders/a"
    with Gateway(config) as gateway:
        gateway.wait_for_control()
        assert admin(gateway, "POST", f"{path}/heartbeat").status == 404
        answer = admin(gateway, "PUT", path, instance)
        assert (answer.status, answer.json()) == (201, {"name": "orders", "id": "a", "expires_in": 1.5})
        answers(gateway, "/api/orders/x")
        assert admin(gateway, "PUT", path, instance).status == 200
        assert admin(gateway, "POST", f"{path}/heartbeat").status == 204
        os.kill(gateway.control(), signal.SIGKILL)
        gateway.wait_for_control()
        until(lambda: admin(gateway, "POST", f"{path}/heartbeat").status == 204, "a new control process knows it")
        assert gateway.get("/api/orders/x").status == 200
        answers(gateway, "/api/orders/x", 503)
        assert admin(gateway, "PUT", path, {**instance, "ttl": 60}).status == 201
        answers(gateway, "/api/orders/x")
        page = admin(gateway, "GET", "/admin/services").json()
        (shown,) = next(each for each in page["services"] if each["name"] == "orders")["instances"]
        assert (shown["source"], shown["id"]) == ("admin", "a")
        assert shown["expires_in"] > 30
        assert admin(gateway, "DELETE", path).status == 204
        answers(gateway, "/api/orders/x", 503)
        assert 'gateway_registry_instances{service="orders"} 0.0' in gateway.get("/metrics").body.decode()
        for wrong, document in {
            "orders/a": {"url": "http://169.254.169.254"},
            "orders/b": {"url": "http://2130706433:80"},
            "orders/c": {"url": "http://h/path"},
            "orders/d": {"url": "http://h", "wieght": 2},
            "orders/e:f": {"url": "http://h"},
            "fixed/a": {"url": "http://h"},
            "orders/g": ["http://h"],
            "orders/h": {"url": "http://[64:ff9b::a9fe:a9fe]"},
            "orders/i": {"url": "http://Metadata.Google.Internal.:80"},
            "orders/j": {"url": "http://[::1%\x1bc \x00X-Evil: 1]:17199"},
            "orders/k": {"url": "http://169.254.43518"},
        }.items():
            answer = admin(gateway, "PUT", f"/admin/registry/{wrong}", document)
            assert (answer.status, answer.get("content-type")) == (422, "application/problem+json"), wrong
            assert answer.json()["detail"].isprintable()
            assert "Evil" not in answer.json()["detail"]
        gateway.clean = False  # the killed process is an event


def test_a_registered_url_does_not_open_the_admin_api(server: RedisServer) -> None:
    with Gateway(discovering(server)) as gateway:
        ServiceRegistry(server.url).register("orders", f"http://127.0.0.1:{gateway.admin_port}")
        answers(gateway, "/api/orders/admin/status", 403)


def test_what_registers_where_there_is_no_service_gets_nothing(server: RedisServer, backend: Backend) -> None:
    """A client that can only register must not have requests sent to where a cloud hands out credentials."""
    hosts = ["169.254.169.254", "2852039166", "[fd00:ec2::254]", "[::ffff:a9fe:a9fe]", "metadata.google.internal",
             "[::1%\x1bc \x00X-Evil: 1]", "0.0.0.0"]  # fmt: skip
    with Gateway(discovering(server)) as gateway:
        for number, host in enumerate(hosts):
            server.ask("SET", f"service:orders:{number}", json.dumps({"url": f"http://{host}:17199"}))
        until(lambda: sum("ignored" in event["event"] for event in gateway.events()) == len(hosts), "each is named")
        assert admin(gateway, "GET", "/admin/registry").json()["services"] == []
        assert gateway.get("/api/orders/x").json()["reason"] == "no_healthy_upstream"
        server.ask("SET", "service:orders", backend.url)
        answers(gateway, "/api/orders/x")


def test_nobody_notices_what_becomes_of_redis(server: RedisServer) -> None:
    """Killed, started empty, hung for longer than all live, with a worker and control replaced meanwhile."""
    with Fleet() as fleet, Gateway(discovering(server, gateway={"workers": 2})) as gateway:
        gateway.clean = False  # processes are killed
        members = [fleet.member(f"m{number}") for number in range(3)]
        for member in members:
            fleet.begin(keep_registered(fleet, server.url, "orders", member, ttl=1))
        answers(gateway, "/api/orders/x")
        fleet.load([gateway.port], "/api/orders/x")

        def wait_for_event(text: str, times: int = 1) -> None:
            until(lambda: sum(text in event["event"] for event in gateway.events()) >= times, text)

        server.kill()
        wait_for_event("out of reach")
        assert "gateway_registry_up 0.0" in gateway.get("/metrics").body.decode()
        os.kill(gateway.control(), signal.SIGKILL)
        victim = gateway.workers()[0]
        until(lambda: len(gateway.family()) == 3, "control is back")
        gateway.wait_for_control()
        before = gateway.get("/metrics")
        assert before.status == 200
        os.kill(victim, signal.SIGUSR1)  # it leaves in peace, and another one begins without Redis
        until(lambda: not alive(victim), "the worker has gone")
        until(lambda: len(gateway.workers()) == 2, "another one serves")
        server.start()
        wait_for_event("in reach again")
        until(lambda: server.ask("DBSIZE") == 3, "the services are back by themselves")
        with server.stopped():
            wait_for_event("out of reach", 3)
            time.sleep(1.5)  # every time to live is over when Redis goes on
        wait_for_event("in reach again", 2)
        until(lambda: server.ask("DBSIZE") == 3, "the services are back")
        served = [member.served for member in members]
        until(lambda: all(now.served > then + 20 for now, then in zip(members, served, strict=True)), "all are used")
        server.ask("FLUSHALL")
        until(lambda: server.ask("DBSIZE") == 3, "the services are back")
        outcomes = fleet.settle()
        assert set(outcomes) == {"200"}, outcomes


def test_instances_that_come_and_go_cost_no_request(server: RedisServer) -> None:
    with Fleet() as fleet, Gateway(discovering(server, gateway={"workers": 2})) as gateway:
        steady = fleet.member("steady")
        fleet.begin(keep_registered(fleet, server.url, "orders", steady, ttl=2))
        answers(gateway, "/api/orders/x")
        fleet.load([gateway.port], "/api/orders/x", clients=4)
        members = fleet.run(churn(fleet, server.url, "orders", size=40, seconds=3))
        outcomes = fleet.settle()
        assert set(outcomes) == {"200"}, outcomes
        assert sum(member.served > 0 for member in members) > 30
