"""The gateway's own endpoints."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from support.backend import Backend, Refusing
from support.client import Wire, ask
from support.metrics import page, samples
from support.scripts import hung
from support.world import Gateway, until


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Backend() as good, Backend(hung) as stuck, Refusing() as dead:
        config = {
            "gateway": {"workers": 2},
            "services": {
                "good": {"url": good.url, "health_check": "/status/200"},
                "broken": {"url": good.url, "health_check": "/status/500"},
                "stuck": {"url": stuck.url, "health_check": {"path": "/health", "timeout": "1s"}},
                "dead": {"url": dead.url, "health_check": "/health"},
            },
        }
        with Gateway(config) as own:
            own.wait_for_control()
            yield own


def test_the_front_page(gateway: Gateway) -> None:
    answer = gateway.get("/")
    assert answer.status == 200
    assert (answer.get("content-type") or "").startswith("application/json")
    page = answer.json()
    assert page["message"] == "Portico API Gateway"
    assert page["services"] == ["good", "broken", "stuck", "dead"]
    assert page["endpoints"]["good"] == "/api/good/..."
    assert page["endpoints"]["health"] == "/health"


def test_health_of_every_service_while_one_hangs(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.socket.settimeout(10)
        answer = wire.ask("GET", "/health")
    assert answer.status == 200
    page = answer.json()
    assert page["gateway"] == "healthy"
    services = page["services"]
    assert {name: each["status"] for name, each in services.items()} == {
        "good": "healthy",
        "broken": "unhealthy",
        "stuck": "unhealthy",
        "dead": "unhealthy",
    }
    assert isinstance(services["good"]["response_time"], float)
    assert "error" not in services["good"]
    for name in ("broken", "stuck", "dead"):
        assert isinstance(services[name]["error"], str)
        assert services[name]["error"]
    assert "500" in services["broken"]["error"]


@pytest.mark.parametrize("target", ["/livez", "/readyz"])
def test_probes(gateway: Gateway, target: str) -> None:
    answer = gateway.get(target)
    assert answer.status == 200
    assert answer.json()["status"] in ("alive", "ready")
    assert gateway.ask("HEAD", target).status == 200


def test_own_endpoints_take_no_writes(gateway: Gateway) -> None:
    for target in ("/", "/health", "/livez", "/metrics"):
        answer = gateway.ask("POST", target, body=b"x")
        assert answer.status == 405, target
        assert "GET" in (answer.get("allow") or "")


@pytest.mark.parametrize("target", ["/", "/health", "/metrics"])
def test_own_endpoints_say_what_they_take(gateway: Gateway, target: str) -> None:
    answer = gateway.ask("OPTIONS", target)
    assert (answer.status, answer.get("allow")) == (405, "GET, HEAD")


def test_health_asked_by_many_at_once(gateway: Gateway) -> None:
    statuses: list[int] = []

    def look() -> None:
        statuses.append(gateway.get("/health").status)

    threads = [threading.Thread(target=look) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert statuses == [200] * 20


# ---- metrics


def test_metrics_are_those_of_the_seed(backend: Backend) -> None:
    with Gateway({"services": {"echo": backend}}) as gateway:
        for status in (200, 404, 503):
            gateway.get(f"/api/echo/status/{status}?secret=1")
        gateway.ask("POST", "/api/echo/echo", body=b"x")
        gateway.ask("BREW", "/api/echo/x")
        gateway.get("/no/such/place")
        gateway.wait_for_control()
        answer = gateway.get("/metrics")
        assert (answer.get("content-type") or "").startswith("text/plain")
        page = answer.body.decode()
        assert "# TYPE gateway_requests_total counter" in page
        assert "# TYPE gateway_request_duration_seconds histogram" in page
        found = samples(page)

        def total(service: str, method: str, status: int) -> float | None:
            return found.get(
                ("gateway_requests_total", (f'method="{method}"', f'service="{service}"', f'status="{status}"'))
            )

        assert [total("echo", "GET", status) for status in (200, 404, 503)] == [1, 1, 1]
        assert total("echo", "POST", 200) == 1
        assert total("echo", "OTHER", 200) == 1, "clients cannot make labels"
        assert total("none", "GET", 404) == 1
        labels = ('method="GET"', 'service="echo"')
        assert found["gateway_request_duration_seconds_count", labels] == 3
        assert found["gateway_request_duration_seconds_sum", labels] > 0
        assert found["gateway_request_duration_seconds_bucket", tuple(sorted(('le="+Inf"', *labels)))] == 3
        for name in ("requests_in_flight", "connections", "workers", "config_generation"):
            assert (f"gateway_{name}", ()) in found, name
        assert "gateway_upstream_duration_seconds_count" in page
        assert "/status" not in page
        assert "secret" not in page


def test_two_workers_add_up(gateway: Gateway) -> None:
    """Over many connections, so that both workers have some; every page says the same sum, whichever is asked."""
    assert len(gateway.workers()) == 2

    def work() -> None:
        for _ in range(10):
            with Wire(gateway.port) as wire:
                for _ in range(5):
                    assert wire.ask("GET", "/api/good/bytes/10").status == 200

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    labels = ('method="GET"', 'service="good"')
    for _ in range(4):
        found = page(gateway)
        assert found["gateway_requests_total", (*labels, 'status="200"')] == 400
        assert found["gateway_request_duration_seconds_count", labels] == 400
        assert found["gateway_workers", ()] == 2
    until(lambda: sum(line["service"] == "good" for line in gateway.log()) == 400, "the log has them all")


def test_what_a_dead_worker_counted_is_not_lost(backend: Backend) -> None:
    with Gateway({"gateway": {"workers": 2}, "services": {"echo": backend}}) as gateway:
        gateway.wait_for_control()
        for _ in range(30):
            assert gateway.get("/api/echo/x").status == 200

        def total() -> float:
            found = page(gateway)
            return found["gateway_requests_total", ('method="GET"', 'service="echo"', 'status="200"')]

        assert total() == 30  # asking collects: what is known now survives
        victim = gateway.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(gateway.workers()) == 2 and victim not in gateway.workers(), "another worker")
        until(lambda: gateway.get("/metrics").status == 200)
        assert total() == 30


def test_openmetrics_for_clients_that_accept_it(gateway: Gateway) -> None:
    answer = gateway.get("/metrics", "Accept: application/openmetrics-text; version=1.0.0")
    assert (answer.get("content-type") or "").startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


# ---- who may use them


def test_endpoints_for_some_and_for_nobody(backend: Backend) -> None:
    """A path that is not the gateway's any more is the service's."""
    endpoints = {
        "root": False,
        "health": {"access": "internal", "detail": "states"},
        "metrics": "admin",
        "networks": ["10.1.0.0/16"],
    }
    config = {
        "gateway": {"endpoints": endpoints, "trusted_proxies": ["127.0.0.1"]},
        "services": {"app": {"url": backend.url, "default_routes": False}},
        "routes": [{"service": "app", "path": "/"}],
    }
    with Gateway(config) as gateway:
        gateway.wait_for_control()
        inside, outside = "X-Forwarded-For: 10.1.2.3", "X-Forwarded-For: 192.0.2.1"
        refused = gateway.get("/health", outside)
        assert (refused.status, refused.json()["reason"]) == (403, "address_refused")
        answer = gateway.get("/health", inside)
        assert set(answer.json()["services"]["app"]) == {"status", "response_time", "instances"}
        assert answer.json()["services"]["app"]["instances"] == [{"status": "healthy"}]
        for path in ("/", "/metrics"):
            gateway.get(path, inside)
            assert backend.requests[-1].target == path, "it is the service's"
        assert gateway.get("/livez").status == 200
        for path, text in (("/metrics", b"gateway_requests_total"), ("/health", b'"gateway":"healthy"')):
            page = ask(gateway.admin_port, "GET", path, "Host: localhost")
            assert page.status == 200
            assert text in page.body
