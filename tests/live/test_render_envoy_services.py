"""What Envoy makes of services by what is rendered: instances, failures, clients that stay, copies, TLS."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from portico.config import load_text
from portico.render import render_envoy
from support.authority import Authority
from support.backend import Backend, Connection, described
from support.client import Wire, ask
from support.envoy import envoy_program, start_envoy
from support.process import free_port
from support.waiting import until

pytestmark = pytest.mark.skipif(envoy_program() is None, reason="Envoy is not installed")

OFF = {"default_routes": False, "health_check": False}


@dataclass
class Edge:
    """Envoy, at two ports, and the services behind it."""

    port: int
    tls_port: int
    plain_port: int
    authority: Authority
    first: Backend
    second: Backend
    copies: Backend
    guard: Backend

    def sees(self, target: str, *lines: str) -> str:
        """Which service answers."""
        return str(ask(self.port, "GET", target, *lines).json()["backend"])


def telling(connection: Connection) -> None:
    while (asked := connection.next_request()) is not None:
        connection.answer(described(asked, connection.backend), "200 OK", "Content-Type: application/json")


def failing(connection: Connection) -> None:
    while connection.next_request() is not None:
        connection.answer(b"", "503 Not Now")


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("envoy")
    authority = Authority(folder / "authority")
    leaf = authority.leaf("edge", "127.0.0.1", "edge.test")
    with ExitStack() as stack:
        first, second, copies, secret = (
            stack.enter_context(Backend(telling, name=name, tls=tls))
            for name, tls in (
                ("first", None),
                ("second", None),
                ("copies", None),
                ("secret", authority.server_context(leaf)),
            )
        )
        broken, guard = stack.enter_context(Backend(failing)), stack.enter_context(Backend(telling, name="guard"))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        nobody = f"http://127.0.0.1:{free_port()}"
        both = [first.url, second.url]
        services: dict[str, Any] = {
            "half": {**OFF, "instances": [nobody, first.url], "passive_health": False},
            "retried": {**OFF, "instances": [broken.url, first.url], "retries": {"on": [503]}, "passive_health": False},
            "dead": {**OFF, "url": nobody},
            "silent": {**OFF, "url": f"http://127.0.0.1:{silent.getsockname()[1]}", "timeout": {"response": "300ms"}},
            "spare": {**OFF, "instances": [first.url, {"url": second.url, "backup": True}]},
            "stays": {**OFF, "instances": both, "sticky": {"cookie": "auto"}},
            "plain": {**OFF, "url": first.url},
            "other": {**OFF, "url": second.url},
            "copied": {**OFF, "url": copies.url},
            "secret": {**OFF, "url": secret.url, "tls": {"ca": str(authority.ca)}},
            "mistaken": {**OFF, "url": secret.url, "tls": {"ca": str(authority.ca), "server_name": "else.test"}},
        }
        routes: list[dict[str, Any]] = [{"path": f"/{name}", "service": name} for name in services]
        routes.append({"path": "/copying", "service": "plain", "mirror": "copied"})
        sides = [{"service": "plain", "weight": 1}, {"service": "other", "weight": 1}]
        routes.append({"path": "/shared", "split": sides})
        routes.append({"path": "/kept", "split": sides, "sticky": {"header": "X-User"}})
        asks = {"auth": {"forward": {"url": f"{guard.url}/may"}}}
        routes.append({"path": "/guarded", "service": "plain", "methods": ["POST", "HEAD"], "policies": asks})
        ports = [free_port() for _ in range(3)]
        tls = {**leaf.written, "redirect_from": ports[2]}
        listen = [
            {"port": ports[0], "host": "127.0.0.1"},
            {"port": ports[1], "host": "127.0.0.1", "name": "web", "tls": tls},
        ]
        written = {"gateway": {"listen": listen, "log": {"access": "off"}}, "services": services, "routes": routes}
        rendering = render_envoy(load_text(yaml.safe_dump(written), "portico.yaml", {}))
        assert rendering.losses == ()
        stack.enter_context(start_envoy(rendering.files["envoy.yaml"], ports[0], Path(folder)))
        yield Edge(ports[0], ports[1], ports[2], authority, first, second, copies, guard)


def test_who_decides_is_asked_with_get(edge: Edge) -> None:
    assert ask(edge.port, "POST", "/guarded/x", body=b"x").json()["method"] == "POST"
    assert ask(edge.port, "HEAD", "/guarded/x").status == 200
    assert [(asked.method, asked.target) for asked in edge.guard.requests] == [("GET", "/may")] * 2
    told = [{name.lower(): value for name, value in asked.fields} for asked in edge.guard.requests]
    assert [each["x-forwarded-method"] for each in told] == ["POST", "HEAD"]


def test_another_instance_is_asked_where_one_fails(edge: Edge) -> None:
    assert {edge.sees("/half/x") for _ in range(6)} == {"first"}
    assert {edge.sees("/retried/x") for _ in range(6)} == {"first"}


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    [
        ("/dead/x", 502, "upstream_refused"),
        ("/silent/x", 504, "upstream_timeout"),
        ("/mistaken/x", 502, "upstream_tls"),
    ],
)
def test_failures_have_portico_s_statuses_and_reasons(edge: Edge, target: str, status: int, reason: str) -> None:
    answer = ask(edge.port, "GET", target)
    assert (answer.status, answer.json()["status"], answer.json()["reason"]) == (status, status, reason)


def test_a_backup_waits(edge: Edge) -> None:
    assert {edge.sees("/spare/x") for _ in range(8)} == {"first"}


def test_a_client_with_the_cookie_stays(edge: Edge) -> None:
    answer = ask(edge.port, "GET", "/stays/x")
    cookie = (answer.get("set-cookie") or "").partition(";")[0]
    assert cookie.startswith("portico_stays=")
    assert {edge.sees("/stays/x", f"Cookie: {cookie}") for _ in range(6)} == {answer.json()["backend"]}
    assert {edge.sees("/stays/x") for _ in range(6)} == {"first", "second"}


def test_requests_are_copied(edge: Edge) -> None:
    assert edge.sees("/copying/x?y") == "first"
    until(lambda: [asked.target for asked in edge.copies.requests] == ["/x?y"])


def test_sides_share_and_clients_stay_with_one(edge: Edge) -> None:
    assert len(Counter(edge.sees("/shared/x") for _ in range(40))) == 2
    for user in "abc":
        assert len({edge.sees("/kept/x", f"X-User: {user}") for _ in range(6)}) == 1


def test_tls_with_clients_and_services(edge: Edge) -> None:
    assert edge.sees("/secret/x") == "secret"
    plain = socket.create_connection(("127.0.0.1", edge.tls_port), timeout=10)
    with Wire(edge.tls_port, edge.authority.client_context().wrap_socket(plain, server_hostname="edge.test")) as wire:
        answer = wire.ask("GET", "/plain/x")
    seen = {name.lower(): value for name, value in answer.json()["fields"]}
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("https", str(edge.tls_port))


def test_the_plain_port_sends_clients_to_https(edge: Edge) -> None:
    answer = ask(edge.plain_port, "GET", "/plain/x?y=1")
    assert (answer.status, answer.get("location")) == (308, f"https://gateway.test:{edge.tls_port}/plain/x?y=1")
