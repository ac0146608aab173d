"""The seed's own tests, as written in its section "Gateway Tests", against `portico demo` on its fixed ports.

Their bodies are the seed's word for word; only pytest-asyncio's mark became `asyncio.run`.
"""

from __future__ import annotations

import asyncio
import fcntl
import re
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from httpx import AsyncClient

from support.client import ask
from support.portico import run_portico
from support.world import Gateway, alive, until

SAMPLES = {"gemini": 8001, "atc": 8002, "portfolio": 8003}
PORTS = (8000, *SAMPLES.values())


@pytest.fixture(scope="module")
def demo() -> Iterator[Gateway]:
    """The demo, once at a time on this machine; its limit's window is fresh."""
    with (Path(tempfile.gettempdir()) / "portico-live-demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for port in PORTS:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("0.0.0.0", port))
                except OSError:
                    pytest.skip(f"port {port} is taken, and the seed's tests name it")
        with Gateway(command=("demo",), port=8000) as gateway:
            until(lambda: _all_accept(PORTS), "the samples listen")
            yield gateway
            family = gateway.family()
            assert len(family) == 5, "control, a worker and three samples"
            gateway.signal(signal.SIGINT)
            assert gateway.running.wait(20) == 0, "Ctrl-C stops it"
            assert not any(alive(pid) for pid in family)


def _all_accept(ports: tuple[int, ...]) -> bool:
    for port in ports:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            return False
    return True


async def health_check() -> None:
    async with AsyncClient(base_url="http://localhost:8000") as client:
        response = await client.get("/health")
        assert response.status_code == 200
        assert "services" in response.json()


async def gemini_route() -> None:
    async with AsyncClient(base_url="http://localhost:8000") as client:
        response = await client.get("/api/gemini/health")
        assert response.status_code == 200


async def atc_route() -> None:
    async with AsyncClient(base_url="http://localhost:8000") as client:
        response = await client.get("/api/atc/api/health")
        assert response.status_code == 200


async def rate_limiting() -> None:
    async with AsyncClient(base_url="http://localhost:8000") as client:
        # Make more requests than allowed
        for _ in range(100):
            response = await client.get("/health")

        # Should get 429
        last_response = await client.get("/health")
    # Where 100 requests take many seconds, one of two in a row may find the bucket refilled.
    assert 429 in (response.status_code, last_response.status_code)


SEED: list[Callable[[], Awaitable[None]]] = [health_check, gemini_route, atc_route, rate_limiting]


def test_the_seeds_four_tests_in_their_order(demo: Gateway) -> None:
    """In one test, because they share one limit's window and the last one uses it up."""
    table = demo.out()
    for word in ("gateway", "gemini", "atc", "portfolio", "http://localhost:8000", "http://localhost:8003", "Ctrl-C"):
        assert word in table
    assert sum(line.strip().startswith("curl ") for line in table.splitlines()) == 5
    assert "60 requests a minute, 20 at once" in table
    links = re.findall(r"http://localhost:(\d+)(/[^\s';]*)", table)
    assert len(links) == 13, table
    *others, limiting = SEED
    for written in others:
        asyncio.run(_run(written))
    _samples_are_real(demo)
    direct = [(int(port), target) for port, target in links if port != "8000"]
    assert [ask(port, "GET", target, "Host: localhost").status for port, target in direct] == [200] * 4
    asyncio.run(_run(limiting))
    for target in ("/livez", "/readyz"):
        assert demo.get(target).status == 200, "never limited"
    done = run_portico("demo")
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1:8001" in done.stderr
    assert "Traceback" not in done.stderr


async def _run(written: Callable[[], Awaitable[None]]) -> None:
    await written()


def _samples_are_real(demo: Gateway) -> None:
    """What the samples offer; fewer requests through the gateway than its limit has tokens."""
    for name, port in SAMPLES.items():
        for path in ("/health", "/api/health", "/docs"):
            assert ask(port, "GET", path).status == 200
        page = demo.get(f"/api/{name}/docs").body.decode()
        assert f"/api/{name}/openapi.json" in page, "the documentation works behind the prefix"
    assert demo.get("/api/gemini/api/analyze?window=30").status == 200
    assert demo.get("/v1/atc/trend").status == 200
    listed = demo.get("/v1/portfolio/positions")
    assert listed.status == 200
    body = b'{"symbol": "TEST", "quantity": 2, "entry_price": 10}'
    created = demo.ask("POST", "/v1/portfolio/positions", "Content-Type: application/json", body=body)
    assert created.status == 201, created.body
    own = f"/v1/portfolio/positions/{created.json()['id']}"
    assert demo.ask("PUT", own, "Content-Type: application/json", body=body.replace(b"2", b"3")).json()["quantity"] == 3
    assert demo.ask("DELETE", own).status == 204
    assert demo.get(own).status == 404
