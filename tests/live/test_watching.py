"""What the admin API shows while it happens: figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.backend import Backend, Refusing
from support.client import Wire, ask, request
from support.messages import Message
from support.world import Gateway, until


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Backend() as good, Refusing() as dead:
        services = {
            "good": good,
            "dead": {"url": dead.url, "health_check": False},
            "tight": {"url": good.url, "policies": {"rate_limit": {"requests_per_minute": 1}}},
        }
        with Gateway({"gateway": {"workers": 2}, "services": services}) as own:
            own.wait_for_control()
            yield own


def admin(gateway: Gateway, path: str, *lines: str) -> Message:
    return ask(gateway.admin_port, "GET", path, "Host: localhost", *lines)


def events(wire: Wire, number: int) -> Iterator[str]:
    """The data of the next events of a stream."""
    for line in wire.file:
        if line.startswith(b"data: "):
            yield line[6:].decode()
            number -= 1
        if not number:
            return


def figures(gateway: Gateway) -> dict[str, Any]:
    page = admin(gateway, "/admin/live").json()
    assert isinstance(page, dict)
    return page | {"services": {service["name"]: service for service in page["services"]}}


def test_figures_are_of_what_came_since_somebody_asked(gateway: Gateway) -> None:
    quiet = figures(gateway)
    assert [*quiet["services"]][:3] == ["good", "dead", "tight"]
    assert quiet["workers"] == 2

    def all_counted() -> dict[str, Any]:
        assert gateway.get("/api/good/status/200").status == 200
        assert gateway.get("/api/dead/x").status == 502
        gateway.get("/api/tight/status/200")
        page = figures(gateway)
        counted = page["services"]["good"]["rate"] and page["services"]["dead"]["rate"]
        return page if counted and page["services"]["tight"]["limited_rate"] else {}

    page = until(all_counted, "all are counted")
    good, dead, tight = (page["services"][name] for name in ("good", "dead", "tight"))
    assert 0 < page["window"] <= 11
    assert good["statuses"].keys() == {"2xx"}
    assert 0 < good["p50"] <= good["p95"] <= good["p99"] <= 30_000
    assert good["error_rate"] == 0
    assert dead["errors"].keys() == {"upstream_refused"}
    assert dead["error_rate"] == dead["rate"] == dead["errors"]["upstream_refused"]
    assert tight["errors"].keys() == {"rate_limited"}
    assert tight["limited_rate"] <= tight["rate"]
    rates = [service["rate"] for service in page["services"].values()]
    assert page["total"]["rate"] == pytest.approx(sum(rates), abs=0.01)


def test_a_number_of_services_may_be_asked_for(gateway: Gateway) -> None:
    page = admin(gateway, "/admin/live?most=1").json()
    assert len(page["services"]) == 1
    assert page["services_left_out"] >= 2
    assert admin(gateway, "/admin/live?most=0").status == 422


def test_figures_of_each_second_are_an_event_stream(gateway: Gateway) -> None:
    with Wire(gateway.admin_port) as wire:
        wire.send(request("GET", "/admin/live", "Accept: text/event-stream", host="localhost"))
        pages = [json.loads(data) for data in events(wire, 3)]
    assert pages[0]["at"] < pages[1]["at"] < pages[2]["at"]
    assert {"total", "services", "routes", "top", "since"} <= pages[2].keys()
