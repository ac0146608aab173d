"""A service under uvicorn that registers itself: from its start to its end, with registries that come and go."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from portico.client.registry import ServiceRegistry
from support.client import TIMEOUT, Wire, request
from support.messages import Message
from support.redis_servers import RedisServer
from support.service import UvicornService
from support.tiny_registry import TOKEN, TinyRegistry
from support.world import Gateway, until


def registering(admin: str, **more: str) -> Mapping[str, str]:
    return {"SERVICE_REGISTERS": "1", "PORTICO_ADMIN": admin, "ADMIN_TOKEN": TOKEN, **more}


def test_from_start_to_end() -> None:
    with TinyRegistry() as registry, UvicornService(registering(registry.url)) as service:
        until(lambda: registry.received("POST heartbeat") >= 2, "heartbeats")
        (own_id, registered), *others = registry.instances.items()
        assert not others
        assert str(service.running.pid) in own_id
        assert registered == {"url": service.url, "weight": 1, "version": "v7", "metadata": {"zone": "a"}, "ttl": 1}

        registry.instances.clear()
        until(lambda: registry.instances.keys() == {own_id}, "it registers again where it is not known any more")

        with Wire(service.port) as wire:
            wire.send(request("GET", "/slow?seconds=1.7"))
            service.signal(signal.SIGTERM)
            until(lambda: not registry.instances, "it deregisters first")
            assert service.get("/health").status == 200, "and goes on serving while gateways turn away"
            assert wire.receive().status == 200, "and finishes what it has begun"
        service.running.wait(TIMEOUT)
        assert registry.calls[-1] == ("DELETE", own_id)
        assert registry.received("DELETE") == 1
        assert service.said().splitlines()[-1].startswith("closed"), "its own lifespan ends, last of all"


def test_a_registry_that_comes_later() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        env = registering(f"http://127.0.0.1:{port}")
        with UvicornService(env) as service:
            until(lambda: "cannot register orders" in service.said(), timeout=TIMEOUT)
            assert service.get("/health").status == 200
            reserved.close()
            with TinyRegistry(port) as registry:
                until(lambda: registry.received("POST heartbeat"), "it has registered")
                assert service.said().count("cannot register orders") == 1
            service.signal(signal.SIGTERM)  # the registry is gone again
            service.running.wait(TIMEOUT)
            assert "cannot deregister" in service.said()
            assert service.said().count("closed") == 1


def test_a_wrong_token_and_a_server_that_cannot_wait() -> None:
    with TinyRegistry() as registry, UvicornService({**registering(registry.url), "ADMIN_TOKEN": "wrong"}) as service:
        until(lambda: "401: the admin API wants a token" in service.said())
        assert "wrong" not in service.said()
        service.signal(signal.SIGINT)
        service.signal(signal.SIGINT)
        service.running.wait(TIMEOUT)


def test_an_application_without_lifespans() -> None:
    with TinyRegistry() as registry, UvicornService(registering(registry.url), "registered_plain") as service:
        until(lambda: registry.received("POST heartbeat"))
        assert service.get("/").body == b"plain"
        service.signal(signal.SIGTERM)
        service.running.wait(TIMEOUT)
        assert registry.instances == {}
        assert registry.received("DELETE") == 1


def test_every_worker_is_an_instance() -> None:
    with TinyRegistry() as registry, UvicornService(registering(registry.url), workers=2) as service:
        until(lambda: len(registry.instances) == 2, "both are registered")
        assert {registered["url"] for registered in registry.instances.values()} == {service.url}
        answers: list[Message] = []
        asking = threading.Thread(target=lambda: answers.append(service.get("/slow?seconds=0.5")))
        asking.start()
        service.signal(signal.SIGTERM)
        until(lambda: not registry.instances, "both have left")
        asking.join()
        assert answers[0].status == 200
        service.running.wait(TIMEOUT)


def test_through_redis_that_loses_everything() -> None:
    with RedisServer() as redis:
        env = {"SERVICE_REGISTERS": "2", "REDIS_URL": redis.url}
        with Gateway(gateway_of(redis)) as front, UvicornService(env, "registered_plain") as service:
            until(lambda: front.get("/api/orders/x").body == b"plain", "requests reach it")
            redis.ask("FLUSHALL")
            until(lambda: redis.ask("KEYS", "service:orders:*"), "it is there again")
            service.signal(signal.SIGTERM)
            service.running.wait(TIMEOUT)
            assert redis.ask("KEYS", "service:orders:*") == []
            until(lambda: front.get("/api/orders/x").status == 503, "and requests do not any more")
            assert "Traceback" not in service.said()


def test_a_time_to_live_is_any_number_of_seconds() -> None:
    with RedisServer() as redis:
        registry = ServiceRegistry(redis.url)
        for ttl in (1, 10.0, 2.5, 1.0004):
            for own_id in (None, "a"):
                key = "service:orders" if own_id is None else "service:orders:a"
                registry.register("orders", "http://127.0.0.1:1", ttl, id=own_id)
                assert ttl * 1000 - 900 < redis.ask("PTTL", key) <= round(ttl * 1000)
                redis.ask("PERSIST", key)
                assert registry.heartbeat("orders", ttl, id=own_id)
                assert ttl * 1000 - 900 < redis.ask("PTTL", key) <= round(ttl * 1000)
        registry.register("orders", "http://127.0.0.1:1", 604_800)  # no gateway reads how long it lives
        registry.close()


@pytest.mark.parametrize("ttl", ["10.0", "1.5"])
def test_a_service_with_a_fraction_of_a_second(ttl: str) -> None:
    with RedisServer() as redis:
        env = {"SERVICE_REGISTERS": ttl, "REDIS_URL": redis.url}
        with Gateway(gateway_of(redis)) as front, UvicornService(env, "registered_plain"):
            until(lambda: front.get("/api/orders/x").body == b"plain", "requests reach it")


def gateway_of(redis: RedisServer) -> dict[str, Any]:
    return {"gateway": {"redis_url": redis.url}, "services": {"orders": {"discover": "redis"}}}


def test_leaving_costs_no_request() -> None:
    """Two instances behind a gateway that keeps the registry; one leaves while POSTs come, which nobody repeats."""
    config = {
        "gateway": {"admin_token": TOKEN},
        "services": {"orders": {"discover": "admin", "health_check": False, "retries": {"attempts": 0}}},
    }
    with Gateway(config) as gateway:
        env = {**registering(f"http://127.0.0.1:{gateway.admin_port}"), "SERVICE_REGISTERS": "30"}
        with UvicornService(env, "registered_plain") as first, UvicornService(env, "registered_plain") as second:

            def seen(count: int) -> set[str | None]:
                ids = [gateway.ask("POST", "/api/orders/x", body=b"x") for _ in range(count)]
                assert {answer.status for answer in ids} == {200}, ids
                return {gateway.logged(answer.get("x-request-id"))["upstream"] for answer in ids[-4:]}

            until(lambda: gateway.get("/api/orders/x").status == 200, "the first is there")
            until(lambda: len(seen(8)) == 2, "both are there")
            first.signal(signal.SIGTERM)
            while first.running.poll() is None:
                seen(4)
            assert seen(4) == {f"127.0.0.1:{second.port}"}
