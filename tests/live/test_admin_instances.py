"""Instances that are drained, enabled again and weighed over the admin API, while sessions and sockets go on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.client import ask
from support.frames import TEXT
from support.messages import Message
from support.portico import run_portico
from support.process import free_port
from support.websocket import SWITCHING, WebSocket, next_frame
from support.world import Gateway, alive, until

ASKS = 12
"""Requests after which each worker has had some: each comes on a connection of its own."""


def echoes(connection: Connection) -> None:
    """A WebSocket that says again what it gets; other requests get the name of the backend."""
    while (asked := connection.next_request()) is not None:
        if not asked.get("upgrade"):
            connection.answer(json.dumps({"backend": connection.backend.name}).encode())
            continue
        connection.send(SWITCHING)
        while (frame := next_frame(connection)) is not None:
            connection.send(bytes([0x80 | TEXT, len(frame.payload)]) + frame.payload)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Backend, Backend]]:
    with Backend(echoes, name="a") as a, Backend(echoes, name="b") as b:
        yield a, b


@pytest.fixture(scope="module")
def gateway(pair: tuple[Backend, Backend]) -> Iterator[Gateway]:
    instances = {"instances": [{"url": each.url} for each in pair], "health_check": False}
    config = {
        "gateway": {"workers": 2},
        "services": {
            "plain": instances,
            "sticky": {**instances, "sticky": {"cookie": "auto"}},
            "found": {"discover": "admin", "health_check": False},
        },
    }
    with Gateway(config) as own:
        own.wait_for_control()
        yield own


def command(gateway: Gateway, service: str, action: str, url: str, *lines: str, **more: Any) -> Message:
    body = json.dumps({"url": url, **more}).encode()
    path = f"/admin/services/{service}/instances/{action}"
    return ask(gateway.admin_port, "POST", path, *(lines or ("Host: localhost",)), body=body)


def done(gateway: Gateway, service: str, action: str, url: str, **more: Any) -> dict[str, Any]:
    answer = command(gateway, service, action, url, **more)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()
    assert (found["late"], found["kept"]) == ([], True)
    return found


def who(gateway: Gateway, service: str = "plain", *lines: str) -> set[str]:
    return {gateway.get(f"/api/{service}/x", *lines).json().get("backend", "none") for _ in range(ASKS)}


def shown(gateway: Gateway, service: str) -> dict[str, Any]:
    page = ask(gateway.admin_port, "GET", "/admin/services", "Host: localhost").json()
    (found,) = [each for each in page["services"] if each["name"] == service]
    return dict(found)


def test_a_drained_instance_gets_no_request_in_any_worker(gateway: Gateway, pair: tuple[Backend, Backend]) -> None:
    a, _ = pair
    assert who(gateway) == {"a", "b"}
    answer = done(gateway, "plain", "drain", a.url)
    assert answer["override"]["drained"]
    assert answer["override"]["by"] == "local"
    assert answer["warning"] is None
    assert who(gateway) == {"b"}
    assert who(gateway, "sticky") == {"a", "b"}, "the same address of another service is another instance"
    first, second = shown(gateway, "plain")["instances"]
    assert (first["override"]["drained"], first["state"]) == (True, "drained")
    assert "override" not in second
    where = ("--config", str(gateway.file), "--admin", f"127.0.0.1:{gateway.admin_port}")
    rows = run_portico("services", *where).stdout.splitlines()
    assert ["drained by local" in row for row in rows if row.startswith("plain")] == [True, False]
    assert "not as configured: 1 instance (portico services)" in run_portico("status", *where).stdout
    gateway.reload()
    assert who(gateway) == {"b"}, "also after a reload"
    assert done(gateway, "plain", "enable", a.url)["override"] is None
    assert who(gateway) == {"a", "b"}
    assert done(gateway, "plain", "enable", a.url)["override"] is None, "which changes nothing"


def test_the_last_one_may_be_drained_too(gateway: Gateway, pair: tuple[Backend, Backend]) -> None:
    for each in pair:
        answer = done(gateway, "plain", "drain", each.url)
    assert "no instance of plain is left" in answer["warning"]
    refused = gateway.get("/api/plain/x")
    assert (refused.status, refused.json()["reason"]) == (503, "no_healthy_upstream")
    assert gateway.get("/readyz").status == 200
    assert "drained" in shown(gateway, "plain")["warning"]
    for each in pair:
        done(gateway, "plain", "enable", each.url)
    assert who(gateway) == {"a", "b"}


def test_sticky_sessions_move_and_sockets_go_on(gateway: Gateway, pair: tuple[Backend, Backend]) -> None:
    urls = {each.name: each.url for each in pair}
    first = gateway.get("/api/sticky/x")
    cookie = "Cookie: " + str(first.get("set-cookie")).partition(";")[0]
    home = first.json()["backend"]
    assert who(gateway, "sticky", cookie) == {home}
    with WebSocket(gateway.port, "/api/sticky/ws", cookie) as socket:
        socket.say(TEXT, b"before")
        assert socket.next_frame().payload == b"before"  # type: ignore[union-attr]
        done(gateway, "sticky", "drain", urls[home])
        moved = gateway.get("/api/sticky/x", cookie)
        assert {moved.json()["backend"]} == {"a", "b"} - {home}
        assert moved.get("set-cookie"), "its cookie leads to the other one from now on"
        assert home not in who(gateway, "sticky", cookie)
        socket.say(TEXT, b"after")
        assert socket.next_frame().payload == b"after"  # type: ignore[union-attr]
        drained = next(each for each in shown(gateway, "sticky")["instances"] if each["url"] == urls[home])
        assert drained["in_flight"] == 1, "so it is seen what is still under way"
    done(gateway, "sticky", "enable", urls[home])


def test_a_weight_stands_in_place_of_the_one_that_is_written(gateway: Gateway, pair: tuple[Backend, Backend]) -> None:
    a, _ = pair
    assert done(gateway, "plain", "weight", a.url, weight=0)["override"]["weight"] == 0
    assert who(gateway) == {"b"}
    done(gateway, "plain", "weight", a.url, weight=1000)
    answers = [gateway.get("/api/plain/x").json()["backend"] for _ in range(2 * ASKS)]
    assert answers.count("a") > answers.count("b")
    assert shown(gateway, "plain")["instances"][0]["weight"] == 1, "which is what is written"
    done(gateway, "plain", "enable", a.url)


def test_it_holds_in_workers_that_come_later(gateway: Gateway, pair: tuple[Backend, Backend]) -> None:
    a, _ = pair
    done(gateway, "plain", "drain", a.url)
    before = gateway.workers()
    os.kill(before[0], signal.SIGKILL)
    until(lambda: not alive(before[0]) and len(gateway.workers()) == len(before), "another has come")
    assert who(gateway) == {"b"}
    done(gateway, "plain", "enable", a.url)
    assert who(gateway) == {"a", "b"}


def test_an_instance_that_registers_again_is_still_drained(gateway: Gateway, pair: tuple[Backend, Backend]) -> None:
    def registry(method: str, number: int, body: bytes | None = None) -> None:
        path = f"/admin/registry/found/{number}"
        assert ask(gateway.admin_port, method, path, "Host: localhost", body=body).status < 300

    for number, each in enumerate(pair):
        registry("PUT", number, json.dumps({"url": each.url, "ttl": 60}).encode())
    until(lambda: who(gateway, "found") == {"a", "b"}, "both are known")
    done(gateway, "found", "drain", pair[0].url)
    registry("DELETE", 0)
    until(lambda: len(shown(gateway, "found")["instances"]) == 1, "it has gone")
    assert command(gateway, "found", "drain", pair[0].url).status == 404
    registry("PUT", 0, json.dumps({"url": pair[0].url, "ttl": 60}).encode())
    until(lambda: len(shown(gateway, "found")["instances"]) == 2, "it is back")
    assert who(gateway, "found") == {"b"}
    done(gateway, "found", "enable", pair[0].url)
    until(lambda: who(gateway, "found") == {"a", "b"}, "it is used again")


@pytest.mark.parametrize(
    ("service", "body", "status", "words"),
    [
        ("plain", {"url": "http://127.0.0.1:1"}, 404, "plain has no instance"),
        ("plian", {"url": "http://127.0.0.1:1"}, 404, "did you mean plain"),
        ("plain", {}, 422, "url: Field required"),
        ("plain", {"url": 1}, 422, "url"),
        ("plain", {"url": "http://a", "force": True}, 422, "force"),
        ("plain", [], 422, ""),
    ],
)
def test_what_is_not_there_is_said(gateway: Gateway, service: str, body: Any, status: int, words: str) -> None:
    path = f"/admin/services/{service}/instances/drain"
    answer = ask(gateway.admin_port, "POST", path, "Host: localhost", body=json.dumps(body).encode())
    assert (answer.status, answer.get("content-type")) == (status, "application/problem+json")
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("weight", [-1, 1001, 1.5, "2", None, True])
def test_a_weight_is_a_whole_number(gateway: Gateway, pair: tuple[Backend, Backend], weight: Any) -> None:
    answer = command(gateway, "plain", "weight", pair[0].url, weight=weight)
    assert answer.status == 422
    assert "weight" in answer.json()["detail"]


def test_what_was_said_outlasts_a_restart(pair: tuple[Backend, Backend]) -> None:
    a, _ = pair
    instances = [{"url": each.url} for each in pair]
    config = {"services": {"plain": {"instances": instances, "health_check": False}}}
    with Gateway(config, port=free_port()) as gateway:
        gateway.wait_for_control()
        done(gateway, "plain", "drain", a.url)
        gateway.stop()
        gateway.start()
        assert who(gateway) == {"b"}
        gateway.wait_for_control()
        done(gateway, "plain", "enable", a.url)
        assert who(gateway) == {"a", "b"}
