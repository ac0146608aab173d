"""Services behind names: `localhost`, and names whose addresses change while the gateway runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.backend import Backend
from support.world import Gateway, until

RESOLVER = """
import asyncio
from pathlib import Path
from portico.upstreams import host_name

async def look_up(host):
    text = Path({zone!r}).read_text()
    if not text:
        raise OSError("no such host")
    return text.split()

host_name.look_up = look_up
"""
"""What a Python that finds it as `sitecustomize` runs first: names are looked up in a file."""

ALL = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


class Zone:
    """What a name stands for, and the environment of a gateway that believes it."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "zone"
        (directory / "sitecustomize.py").write_text(RESOLVER.format(zone=str(self.file)))
        here = os.environ.get("PYTHONPATH", "")
        self.env = {"PYTHONPATH": os.pathsep.join(filter(None, (str(directory), here)))}

    def write(self, *addresses: str) -> None:
        """Other addresses from now on; none at all is a failure."""
        new = self.file.with_suffix(".new")
        new.write_text(" ".join(addresses))
        new.rename(self.file)


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    return Zone(tmp_path)


@pytest.fixture
def copies() -> Iterator[dict[str, Backend]]:
    """A service on one port of several addresses."""
    first = Backend(name=ALL[0], host=ALL[0])
    others = [Backend(name=address, host=address, port=first.port) for address in ALL[1:]]
    started = [each.__enter__() for each in (first, *others)]
    yield {each.name: each for each in started}
    for each in started:
        each.close()


def behind(port: int) -> dict[str, object]:
    settings = {"url": f"http://copies.test:{port}", "health_check": False, "dns_refresh": "100ms"}
    return {"services": {"a": settings}}


def visitor(gateway: Gateway) -> Callable[[int], list[str]]:
    def visit(times: int) -> list[str]:
        answers = [gateway.get("/api/a/x").json() for _ in range(times)]
        assert {answer["fields"][0][1].partition(":")[0] for answer in answers} == {"copies.test"}
        return [answer["backend"] for answer in answers]

    return visit


def test_localhost(backend: Backend) -> None:
    """It may have two addresses of which one refuses."""
    url = f"http://localhost:{backend.port}"
    with Gateway({"services": {"a": {"url": url}}}) as gateway:
        for _ in range(10):
            assert gateway.get("/api/a/x").json()["backend"] == "backend"
        gateway.wait_for_control()
        assert gateway.get("/health").json()["services"]["a"]["status"] == "healthy"


def test_addresses_share_the_load_and_may_change(zone: Zone, copies: dict[str, Backend]) -> None:
    zone.write(*ALL)
    port = copies[ALL[0]].port
    with Gateway(behind(port), env=zone.env) as gateway:
        visit = visitor(gateway)
        seen = visit(30)
        assert {address: seen.count(address) for address in ALL} == dict.fromkeys(ALL, 10)
        zone.write(ALL[1])
        until(lambda: set(visit(5)) == {ALL[1]}, "only one is left")
        zone.write()
        until(lambda: [each for each in gateway.events() if each.get("host") == "copies.test"], "an event")
        assert set(visit(10)) == {ALL[1]}, "what was known goes on"
        zone.write(*ALL)
        until(lambda: set(visit(6)) == {*ALL}, "all are back")
        events = [each["level"] for each in gateway.events() if each.get("host") == "copies.test"]
        assert events == ["WARNING", "INFO"]


def test_a_dead_address_is_passed_over_without_a_retry(zone: Zone, copies: dict[str, Backend]) -> None:
    zone.write("127.0.0.9", *ALL)
    with Gateway({**behind(copies[ALL[0]].port)}, env=zone.env) as gateway:
        assert set(visitor(gateway)(40)) == {*ALL}
        until(lambda: len(gateway.log()) >= 40, "the log has them")
        assert {line["attempts"] for line in gateway.log()} == {1}


def test_a_name_that_nobody_knows_yet(zone: Zone, copies: dict[str, Backend]) -> None:
    zone.write()
    with Gateway(behind(copies[ALL[0]].port), env=zone.env) as gateway:
        answer = gateway.get("/api/a/x")
        assert (answer.status, answer.json()["reason"]) == (502, "upstream_refused")
        zone.write(*ALL)
        assert gateway.get("/api/a/x").status == 200
