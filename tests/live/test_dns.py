"""Services behind names: `localhost`, and names whose addresses change while the gateway runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.authority import Authority
from support.backend import Backend
from support.client import ask
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
    settings = {
        "url": f"http://copies.test:{port}",
        "health_check": False,
        "dns_refresh": "100ms",
        "preserve_host": False,
    }
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
        assert (answer.status, answer.json()["reason"]) == (502, "upstream_dns")
        zone.write(*ALL)
        assert gateway.get("/api/a/x").status == 200


# ---- names that registered: whoever registers one also decides what it stands for

NOWHERE = "0.0.0.0"
"""An address at which no service is, and which the kernel takes for this host: whoever connects to it is seen."""


def register(gateway: Gateway, url: str) -> int:
    body = json.dumps({"url": url}).encode()
    return ask(gateway.admin_port, "PUT", "/admin/registry/a/1", "Host: localhost", body=body).status


def registering(allow: object = None, **settings: object) -> dict[str, Any]:
    discover = {"source": "admin", **({"allow": allow} if allow else {})}
    often = {"health_check": {"interval": "50ms"}, "dns_refresh": "50ms"}
    return {"services": {"a": {"discover": discover, **often, **settings}}}


def shown(gateway: Gateway) -> dict[str, Any]:
    (instance,) = gateway.get("/health").json()["services"]["a"]["instances"]
    found: dict[str, Any] = instance
    return found


def screened(gateway: Gateway) -> list[dict[str, Any]]:
    return [each for each in gateway.events() if "that no service has" in each["event"]]


def test_a_registered_name_that_stands_for_no_service_is_not_connected_to(zone: Zone) -> None:
    """Neither for requests nor for checks, however it is asked for."""
    zone.write(NOWHERE)
    with Backend() as backend, Gateway(registering(), env=zone.env) as gateway:
        gateway.wait_for_control()
        assert register(gateway, f"http://copies.test:{backend.port}") == 201
        until(lambda: gateway.get("/api/a/x").json()["reason"] == "upstream_dns", "it was tried")
        until(lambda: shown(gateway)["in_rotation"] is False, "its checks fail")
        assert "no service has" in shown(gateway)["error"]
        until(lambda: screened(gateway), "an event")
        assert screened(gateway)[0]["addresses"] == NOWHERE
        assert backend.connections == []
        zone.write(NOWHERE, "127.0.0.1", "169.254.169.254")
        until(lambda: gateway.get("/api/a/x").status == 200, "what is left is used")
        until(lambda: shown(gateway)["in_rotation"], "its checks pass")


def test_a_name_that_turns_goes_on_with_what_it_stood_for(zone: Zone, copies: dict[str, Backend]) -> None:
    zone.write(ALL[0])
    port = copies[ALL[0]].port
    with Backend(name="inner", port=port), Gateway(registering(health_check=False), env=zone.env) as gateway:
        gateway.wait_for_control()
        register(gateway, f"http://copies.test:{port}")
        until(lambda: gateway.get("/api/a/x").status == 200, "it is there")
        zone.write(NOWHERE)
        until(lambda: gateway.get("/api/a/x").status == 200 and screened(gateway), "it was looked up again")
        assert {gateway.get("/api/a/x").json()["backend"] for _ in range(5)} == {ALL[0]}


def test_what_allow_names_or_the_file_says_is_connected_to(zone: Zone) -> None:
    zone.write(NOWHERE)
    with Backend() as backend:
        url = f"http://copies.test:{backend.port}"
        named = registering(allow=["copies.test", NOWHERE])
        for config in (named, {"services": {"a": {"url": url, "discover": "admin"}}}):
            with Gateway(config, env=zone.env) as gateway:
                gateway.wait_for_control()
                assert register(gateway, url) == 201
                until(lambda gateway=gateway: gateway.get("/api/a/x").status == 200, "it is used")  # type: ignore[misc]


def test_a_check_of_a_registered_name_asks_for_what_it_asked_for(zone: Zone, tmp_path: Path) -> None:
    """It connects to an address of the name; the name is what the service and its certificate are asked for by."""
    zone.write("127.0.0.9", "127.0.0.1")
    authority = Authority(tmp_path / "authority")
    with Backend(tls=authority.server_context(authority.leaf("own", "copies.test"))) as backend:
        config = registering(health_check={"path": "/well", "interval": "50ms"}, tls={"ca": str(authority.ca)})
        with Gateway(config, env=zone.env) as gateway:
            gateway.wait_for_control()
            register(gateway, f"https://copies.test:{backend.port}")
            until(lambda: "/well" in backend.targets(), "it is checked")
            until(lambda: shown(gateway)["status"] == "healthy")
            assert backend.requests[0].get("host") == f"copies.test:{backend.port}"
