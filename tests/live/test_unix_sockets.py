"""A service that listens on a unix socket: requests, active checks, Host, and what is said where it is gone."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from support.process import Process
from support.world import Gateway, until


class AtSocket(Process):
    """uvicorn with a sample service, behind a unix socket."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = self.directory / "app.sock"

    def command(self) -> list[str]:
        app = "portico.demo.services.gemini:app"
        return [sys.executable, "-m", "uvicorn", app, "--uds", str(self.socket), "--log-level", "warning"]

    def is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as trying:
            return trying.connect_ex(str(self.socket)) == 0


@pytest.fixture(scope="module")
def service() -> Iterator[AtSocket]:
    with AtSocket() as own:
        yield own


@pytest.fixture(scope="module")
def gateway(service: AtSocket) -> Iterator[Gateway]:
    url = f"unix://{service.socket}"
    fast = {"interval": "200ms", "unhealthy_after": 1}
    config = {
        "services": {
            "app": {"url": url, "health_check": {**fast, "path": "/health"}, "retries": {"attempts": 0}},
            "plain": {"url": url, "health_check": fast},
        }
    }
    with Gateway(config) as own:
        yield own


def test_requests_reach_it_and_the_log_names_the_socket(gateway: Gateway, service: AtSocket) -> None:
    answer = gateway.get("/api/app/health")
    assert answer.json() == {"status": "healthy", "service": "gemini"}
    assert gateway.logged(answer.get("x-request-id"))["upstream"] == f"unix:{service.socket}"
    document = gateway.get("/health").json()
    assert {name: entry["status"] for name, entry in document["services"].items()} == {
        "app": "healthy",
        "plain": "healthy",
    }


def test_it_is_unhealthy_once_it_is_gone(gateway: Gateway, service: AtSocket) -> None:
    service.kill()
    until(lambda: gateway.get("/api/app/health").json().get("reason") == "no_healthy_upstream", "it is out")
    until(lambda: gateway.get("/api/plain/health").json().get("reason") == "no_healthy_upstream", "it is out, too")
    service.start()
    until(lambda: gateway.get("/api/app/health").status == 200, "it is back")
