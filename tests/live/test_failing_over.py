"""Another service in place of one that fails: for which causes, with which request, and what shows it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.client import Wire, request
from support.messages import Message
from support.metrics import metric
from support.world import Gateway, until


def failing(connection: Connection) -> None:
    """Answers with the status that the path names; `hang` and `reset` are other ways to fail."""
    while (asked := connection.next_request()) is not None:
        *_, kind = asked.target.partition("?")[0].split("/")
        if kind == "reset":
            connection.reset()
        elif kind == "hang":
            connection.wait_for_end()
        elif kind == "cut":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            connection.close()
        elif kind == "slow429":
            connection.send(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\nno")
            connection.send(b"no")
        else:
            connection.answer(b"first", f"{kind} Says So", "Content-Type: text/plain")


@dataclass
class Scene:
    gateway: Gateway
    first: Backend
    second: Backend
    third: Backend

    def post(self, path: str, body: bytes = b"{}", *lines: str) -> Message:
        for backend in (self.first, self.second, self.third):
            backend.requests.clear()
        return self.gateway.ask("POST", path, *lines, body=body)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as taken:
        first = stack.enter_context(Backend(failing, name="first"))
        second, third = (stack.enter_context(Backend(name=name)) for name in ("second", "third"))
        gone = f"http://127.0.0.1:{taken.getsockname()[1]}"
        taken.close()
        every = ["connect", "reset", "timeout", 429, 500, 503, 529]
        key = {"headers": {"request": {"set": {"Authorization": "Bearer key-of-{service}"}, "remove": ["X-API-Key"]}}}

        def service(url: str, name: str, **more: Any) -> dict[str, Any]:
            edits = json.loads(json.dumps(key).replace("{service}", name))
            return {"url": url, "default_routes": False, "health_check": False, "retries": 0, "policies": edits, **more}

        config = {
            "services": {
                "first": service(first.url, "first", timeout={"response": 0.3}),
                "gone": service(gone, "gone"),
                "full": service(first.url, "full", max_requests=1),
                "second": service(second.url, "second"),
                "third": service(third.url, "third"),
            },
            "routes": [
                {"service": "first", "path": "/usual", "failover": "second"},
                {"service": "first", "path": "/all", "failover": {"service": "second", "on": every}},
                {"service": "first", "path": "/path", "failover": {"service": "third", "on": [500]}},
                {
                    "service": "first",
                    "path": "/own",
                    "failover": {"service": "third", "on": [500], "rewrite": "/deployment/{path}"},
                },
                {
                    "service": "first",
                    "path": "/list",
                    "failover": [
                        {"service": "gone", "on": [500, 529]},
                        {"service": "second", "on": [529]},
                        {"service": "third", "on": ["connect"]},
                    ],
                },
                {"service": "gone", "path": "/gone", "failover": "second"},
                {"service": "gone", "path": "/nobody", "failover": {"service": "first", "on": ["connect"]}},
                {"service": "full", "path": "/full", "failover": "second", "timeout": {"response": 20}},
                {"service": "first", "path": "/small", "failover": {"service": "second", "on": [500], "max_body": 10}},
                {
                    "service": "first",
                    "path": "/priced",
                    "failover": {"service": "second", "on": [500]},
                    "policies": {"rate_limit": {"name": "tokens", "burst": 50, "cost": {"json": "/n", "default": 5}}},
                },
                {
                    "service": "first",
                    "path": "/hooked",
                    "failover": {"service": "second", "on": every},
                    "policies": {"transform": {"response": [{"status": {404: 410}}]}, "compress": {"min_size": 1}},
                },
            ],
        }
        with Gateway(config) as gateway:
            yield Scene(gateway, first, second, third)


@pytest.mark.parametrize("kind", ["429", "500", "503", "529", "reset", "hang", "slow429"])
@pytest.mark.parametrize("path", ["/all", "/hooked"])
def test_another_service_answers(scene: Scene, path: str, kind: str) -> None:
    answer = scene.post(f"{path}/{kind}?a=1", b'{"model": "m"}', "Authorization: Bearer own", "X-API-Key: mine")
    assert (answer.status, answer.json()["backend"]) == (200, "second")
    (got,) = scene.second.requests
    assert (got.method, got.target, got.body) == ("POST", f"/{kind}?a=1", b'{"model": "m"}')
    assert got.all("authorization") == ["Bearer key-of-second"]
    assert got.get("x-api-key") is None
    (before,) = scene.first.requests
    assert before.all("authorization") == ["Bearer key-of-first"]
    assert got.get("x-request-id") == before.get("x-request-id")
    logged = scene.gateway.logged(answer.get("x-request-id"))
    assert (logged["service"], logged["attempts"]) == ("second", 2)
    assert logged["upstream_error"].startswith("first: ")


@pytest.mark.parametrize(("kind", "status"), [("400", 400), ("404", 404), ("401", 401), ("200", 200)])
def test_other_statuses_are_the_answer(scene: Scene, kind: str, status: int) -> None:
    answer = scene.post(f"/all/{kind}")
    assert (answer.status, answer.body) == (status, b"first")


def test_what_is_usual_is_what_cannot_have_been_done(scene: Scene) -> None:
    answers = {kind: scene.post(f"/usual/{kind}").status for kind in ("429", "503", "500", "reset", "hang")}
    assert answers == {"429": 200, "503": 200, "500": 500, "reset": 502, "hang": 504}
    assert scene.post("/gone/x").json()["backend"] == "second"


def test_paths(scene: Scene) -> None:
    scene.post("/path/500")
    assert scene.third.targets() == ["/500"], "as the route has it"
    scene.post("/own/500")
    assert scene.third.targets() == ["/deployment/500"]


def test_a_list_is_gone_through_once(scene: Scene) -> None:
    answer = scene.post("/list/500")
    assert answer.json()["backend"] == "third"
    logged = scene.gateway.logged(answer.get("x-request-id"))
    assert logged["upstream_error"].startswith("first: the service answered 500; gone: ")
    assert metric(scene.gateway, "gateway_failovers_total", service="gone", to="third", cause="connect") == 1
    assert scene.post("/list/529").json()["backend"] == "third", "gone is the first that takes it"


def test_where_nobody_answers_the_last_failure_is_the_answer(scene: Scene) -> None:
    answer = scene.post("/nobody/503")
    assert (answer.status, answer.body) == (503, b"first")
    answer = scene.post("/nobody/reset")
    assert (answer.status, answer.json()["reason"]) == (502, "upstream_reset")
    failures = scene.gateway.logged(answer.get("x-request-id"))["upstream_error"]
    assert [each.partition(":")[0] for each in failures.split("; ")] == ["gone", "first"]


def test_a_body_that_is_not_kept_is_not_sent_again(scene: Scene) -> None:
    assert scene.post("/small/500", b"x" * 10).status == 200
    assert scene.post("/small/500", b"x" * 11).status == 500
    assert scene.post("/all/500", b"x" * (1 << 20)).status == 200
    assert scene.second.requests[0].body == b"x" * (1 << 20)
    assert scene.post("/all/500", b"x" * ((1 << 20) + 1)).status == 500


def test_a_response_that_has_begun_is_nobody_elses(scene: Scene) -> None:
    with scene.gateway.wire() as wire:
        wire.send(request("POST", "/all/cut", body=b"{}"))
        assert wire.rest().endswith(b"half")
    assert not scene.second.targets()[1:]


def test_a_service_that_is_full_is_left_for_another(scene: Scene) -> None:
    with Wire(scene.gateway.port) as wire:
        wire.send(request("POST", "/full/hang", body=b"{}"))
        until(lambda: "/hang" in scene.first.targets(), "it has its one request")
        assert scene.post("/full/x").json()["backend"] == "second"
    until(partial(scene.post, "/full/200"), "the first has left")
    until(lambda: scene.post("/full/200").body == b"first", "a client that leaves frees its place")


def test_a_body_that_is_still_to_come_goes_to_the_other(scene: Scene) -> None:
    scene.post("/gone/before")
    with Wire(scene.gateway.port) as wire:
        wire.send(b"POST /gone/pieces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        until(lambda: len(scene.second.connections) > 0, "it is connected")
        wire.send(b"3\r\ndef\r\n0\r\n\r\n")
        assert wire.receive().status == 200
    assert scene.second.requests[-1].body == b"abcdef"


def test_what_it_costs_is_counted_for_the_service_that_answers(scene: Scene) -> None:
    answer = scene.post("/priced/500")
    assert (answer.status, answer.json()["backend"]) == (200, "second")
    assert scene.gateway.logged(answer.get("x-request-id"))["cost"] == {"tokens": 5}
    assert metric(scene.gateway, "gateway_cost_total", service="second", limit="tokens") == 5
    assert not metric(scene.gateway, "gateway_cost_total", service="first", limit="tokens")
