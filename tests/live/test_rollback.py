"""The steps of docs/operations.md that take a gateway out of the way and bring it back, with clients under way."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from documentation.markdown import blocks
from support.backend import Backend
from support.client import Wire
from support.nginx import command
from support.process import free_port
from support.server import Server, at
from support.site import Site, program
from support.waiting import until
from support.world import Gateway

PAGE: Final = Path(__file__).parents[2] / "docs" / "operations.md"
PORTS: Final = {"gemini": "8001", "atc": "8002"}
_KEPT: Final = 25
"""Requests that a client sends on one connection: it looks its name up before each connection."""
_PAUSE: Final = 0.005


class Clients:
    """Two for each name: who keep connections until they are told otherwise, and heed the name servers."""

    def __init__(self, names: dict[str, int]) -> None:
        self.names = names
        """Each name's port, which stands for its address."""
        self.answered: list[tuple[int, int]] = []
        """The port that was asked, and the status, of each request."""
        self.failures: list[Exception] = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._drive, args=(name,)) for name in [*names] * 2]

    def _drive(self, name: str) -> None:
        while not self.over.is_set():
            try:
                self._ask_on_one_connection(name)
            except Exception as error:
                self.failures.append(error)
                return

    def _ask_on_one_connection(self, name: str) -> None:
        port = self.names[name]
        with Wire(port) as wire:
            for _ in range(_KEPT):
                answer = wire.ask("GET", "/bytes/5", f"Host: {name}")
                self.answered.append((port, answer.status))
                if answer.get("connection") == "close" or self.over.is_set():
                    return
                time.sleep(_PAUSE)

    def have_moved(self) -> bool:
        """Whether the last of their requests, of every client several, went where the names lead."""
        last = {port for port, _ in self.answered[-4 * len(self.threads) :]}
        return len(self.answered) >= self.asked + 8 * len(self.threads) and last <= {*self.names.values()}

    def point_to(self, ports: Mapping[str, int]) -> None:
        """Change the names, and wait until everybody has heard of it."""
        self.names.update(ports)
        self.asked = len(self.answered)
        until(lambda: self.failures or self.have_moved(), "all clients go where the names lead")

    @contextmanager
    def under_way(self) -> Iterator[None]:
        for thread in self.threads:
            thread.start()
        try:
            yield
        finally:
            self.end()

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(20)


def written(language: str) -> str:
    """The page's block of this language: its configuration of Portico, or of nginx."""
    (text,) = [block.text for block in blocks(PAGE.read_text(encoding="utf-8")) if block.language == language]
    return text


def configuration(services: Mapping[str, Backend]) -> Any:
    text = written("yaml")
    for name, service in services.items():
        text = text.replace(f"localhost:{PORTS[name]}", f"127.0.0.1:{service.port}")
    return yaml.safe_load(text)


def nginx(services: Mapping[str, Backend], directory: Path) -> Server:
    port = free_port()
    text = written("nginx").replace("listen 8080", f"listen 127.0.0.1:{port}")
    for name, service in services.items():
        text = text.replace(f"127.0.0.1:{PORTS[name]}", f"127.0.0.1:{service.port}")
    site = Site(port, 0, directory)
    return at(site, command(site, text))


@pytest.fixture
def services() -> Iterator[dict[str, Backend]]:
    with Backend(name="gemini") as gemini, Backend(name="atc") as atc:
        yield {"gemini": gemini, "atc": atc}


@pytest.fixture(params=["directly", "by nginx"])
def others(request: pytest.FixtureRequest, services: dict[str, Backend], tmp_path: Path) -> Iterator[dict[str, int]]:
    """Where the names lead while the gateway is away."""
    if request.param == "directly":
        yield {f"{name}.example.com": service.port for name, service in services.items()}
    elif program("nginx") is None:
        pytest.skip("nginx is not installed")
    else:
        with nginx(services, tmp_path) as instead:
            yield {f"{name}.example.com": instead.port for name in services}


def test_no_request_fails_without_the_gateway_and_none_on_the_way(
    services: dict[str, Backend], others: dict[str, int]
) -> None:
    config = configuration(services)
    gateway, port = Gateway(config), free_port()
    gateway.port = port
    gateway.write(config)
    with gateway:
        clients = Clients(dict.fromkeys(others, port))
        with clients.under_way():
            until(lambda: len(clients.answered) > 100, "requests are served")
            clients.point_to(others)
            gateway.stop()
            before = len(clients.answered)
            until(lambda: len(clients.answered) > before + 100, "services are reached while the gateway is off")
            with Gateway(config, port=port) as again:
                assert again.get("/readyz").status == 200
                for name in others:
                    assert again.get("/bytes/5", f"Host: {name}").status == 200
                clients.point_to(dict.fromkeys(others, port))
                clients.end()
    assert clients.failures == []
    assert {status for _, status in clients.answered} == {200}
    assert {asked for asked, _ in clients.answered} == {port, *others.values()}


def test_a_client_that_missed_the_change_is_told_to_connect_anew(services: dict[str, Backend]) -> None:
    """The gateway ends while clients still have connections to it: its last answers lead them to the services."""
    with Gateway(configuration(services)) as gateway:
        others = {f"{name}.example.com": service.port for name, service in services.items()}
        clients = Clients(dict.fromkeys(others, gateway.port))
        with clients.under_way():
            until(lambda: len(clients.answered) > 100, "requests are served")
            clients.names.update(others)
            gateway.signal(signal.SIGTERM)
            clients.point_to(others)
        gateway.stop()
    assert clients.failures == []
    assert {status for _, status in clients.answered} == {200}
