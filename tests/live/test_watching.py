"""What the admin API shows while it happens: figures, exchanges and events."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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


@contextmanager
def watching(gateway: Gateway, path: str, *lines: str) -> Iterator[Wire]:
    """A stream that has begun."""
    with Wire(gateway.admin_port) as wire:
        wire.send(request("GET", path, "Connection: close", *lines, host="localhost"))
        assert wire.file.readline() == b"HTTP/1.1 200 OK\r\n"
        yield wire


def test_routes_and_those_who_come_are_counted_while_somebody_watches(gateway: Gateway) -> None:
    def hit() -> dict[str, Any]:
        gateway.get("/api/good/status/200?secret=1")
        page = figures(gateway)
        return page if "/api/good/status/200" in {path["name"] for path in page["top"]["paths"]} else {}

    page = until(hit, "paths are counted")
    routes = {route["name"]: route for route in page["routes"]}
    assert routes["good"]["rate"] > 0
    assert page["since"] <= routes["good"]["last_hit"] <= page["at"]
    assert "secret" not in json.dumps(page)
    assert page["top"]["clients"][0]["name"] == "127.0.0.1"


def test_exchanges_come_as_they_end_with_what_the_log_says(gateway: Gateway) -> None:
    with watching(gateway, "/admin/exchanges") as wire:
        answer = gateway.get("/api/good/status/404?token=hidden")
        found = json.loads(next(events(wire, 1)))
    assert found["request_id"] == answer.get("x-request-id")
    assert "hidden" not in json.dumps(found)
    assert found == gateway.logged(answer.get("x-request-id"))


def test_a_filter_passes_what_it_says_from_all_workers(gateway: Gateway) -> None:
    accept = "Accept: application/x-ndjson"
    with watching(gateway, "/admin/exchanges?status=5xx&status=429&service=dead&limit=2", accept) as wire:
        for _ in range(2):
            gateway.get("/api/good/status/503")
            gateway.get("/api/dead/x")
        found = [json.loads(line) for line in wire.file.read().splitlines() if line.startswith(b"{")]
    assert [(each["service"], each["status_code"]) for each in found] == [("dead", 502), ("dead", 502)]


@pytest.mark.parametrize(
    "query",
    ["staus=5xx", "status=9xx", "slower=-1", "slower=nan", "limit=0", "limit=x", "path=" + "x" * 2000, "errors=maybe"],
)
def test_what_is_no_filter_is_refused(gateway: Gateway, query: str) -> None:
    assert admin(gateway, f"/admin/exchanges?{query}").status == 422


def test_there_is_a_bound_on_filters_and_it_is_free_again(gateway: Gateway) -> None:
    with ExitStack() as stack:
        for number in range(32):
            stack.enter_context(watching(gateway, f"/admin/exchanges?service=s{number}"))
        stack.enter_context(watching(gateway, "/admin/exchanges?service=s31"))
        answer = admin(gateway, "/admin/exchanges?service=one+more")
        assert (answer.status, answer.get("retry-after")) == (503, "5")

    def begins() -> bool:
        with Wire(gateway.admin_port) as wire:
            wire.send(request("GET", "/admin/exchanges?service=one+more", host="localhost"))
            return wire.file.readline() == b"HTTP/1.1 200 OK\r\n"

    until(begins, "there is room again")


def test_a_reload_changes_nothing_for_those_who_watch(gateway: Gateway) -> None:
    with watching(gateway, "/admin/exchanges?service=good") as wire:
        gateway.reload()
        gateway.get("/api/good/status/201")
        assert json.loads(next(events(wire, 1)))["status_code"] == 201


def test_another_worker_watches_too(gateway: Gateway) -> None:
    with watching(gateway, "/admin/exchanges?path=/api/good/status/20") as wire:
        gone = gateway.workers()[0]
        os.kill(gone, signal.SIGKILL)
        until(lambda: gone not in gateway.workers() and len(gateway.workers()) == 2, "there is another worker")
        gateway.wait_for_control()
        until(lambda: figures(gateway)["workers"] == 2, "it is connected")
        for _ in range(20):
            gateway.get("/api/good/status/202")
        assert [json.loads(data)["status_code"] for data in events(wire, 20)] == [202] * 20


def test_events_come_as_they_happen_and_after_the_last_one_that_is_known(gateway: Gateway) -> None:
    known = admin(gateway, "/admin/events", "Accept: application/json").json()
    assert known["events"][0]["text"] == "this control process has begun"
    with watching(gateway, "/admin/events?kind=config&kind=audit") as wire:
        gateway.reload()
        now = json.loads(next(events(wire, 1)))
    assert (now["kind"], now["text"], now["source"]) == ("config", "configuration reloaded", "control")
    with watching(gateway, "/admin/events?kind=config", f"Last-Event-ID: {known['last']}") as wire:
        again = json.loads(next(events(wire, 1)))
    assert again == now
    assert admin(gateway, "/admin/events?kind=nothing").status == 422


def test_events_of_workers_are_there_too(gateway: Gateway) -> None:
    def cannot_be_reached() -> list[str]:
        gateway.get("/api/dead/x")
        page = admin(gateway, "/admin/events?kind=instance", "Accept: application/json").json()
        return [event["source"] for event in page["events"] if event["fields"].get("service") == "dead"]

    assert until(cannot_be_reached, "the worker says so")[0].startswith("worker-")


def test_control_that_is_killed_begins_anew_and_workers_stop_watching(gateway: Gateway) -> None:
    with watching(gateway, "/admin/exchanges") as wire:
        last = admin(gateway, "/admin/events", "Accept: application/json").json()["last"]
        gone = gateway.control()
        os.kill(gone, signal.SIGKILL)
        wire.rest()
    assert gateway.get("/api/good/status/200").status == 200
    gateway.wait_for_control()
    with watching(gateway, "/admin/events", f"Last-Event-ID: {last}") as wire:
        assert json.loads(next(events(wire, 1)))["text"] == "this control process has begun"
    with watching(gateway, "/admin/exchanges") as wire:
        gateway.get("/api/good/status/204")
        assert json.loads(next(events(wire, 1)))["status_code"] == 204


def test_another_token_ends_streams(gateway: Gateway) -> None:
    with watching(gateway, "/admin/live", "Accept: text/event-stream") as wire:
        with_token = {
            "gateway": {"workers": 2, "admin_token": "t" * 20},
            "services": {"good": {"url": "http://127.0.0.1:9"}},
        }
        gateway.write(with_token)
        gateway.reload()
        assert wire.rest().endswith(b"0\r\n\r\n")
    assert admin(gateway, "/admin/live").status == 401
