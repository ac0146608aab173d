"""What says who somebody is comes from the gateway alone, whatever clients send under the same names, and however."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any, Final

import pytest

from support.backend import Backend, Connection, described
from support.client import Wire, request
from support.messages import Message
from support.tokens import SECRET, bearer, token
from support.world import Gateway, until

FORGED: Final = "forged-by-a-client"
NAMES: Final = (*("X-Consumer-Username", "X-Consumer-Scopes", "X-Consumer-Identity", "X-Tenant", "X-Role", "X-Plan"),)
ASKED: Final = ("X-Auth-User", "X-Auth-Groups")
"""What a service that is asked says of consumers."""
POLICIES: Final[dict[str, Any]] = {
    "headers": {"request": {"set": {"X-Tenant": "{claim.tenant}"}, "add": {"X-Role": "{claim.role:-nobody}"}}},
    "transform": {"request": [{"when": {"methods": ["GET"]}, "headers": {"set": {"X-Plan": "{claim.plan}"}}}]},
    "identity": {"keys": ["k" * 32]},
}
AUTH: Final[dict[str, Any]] = {
    "guarded": {"jwt": {"secret": SECRET}},
    "optional": {"jwt": {"secret": SECRET}, "optional": True},
}
ROUTES: Final = ("guarded", "optional", "open", "cached", "asking")


def spellings(name: str) -> set[str]:
    """A field's name as servers that make variables of names take it for the same."""
    joined = {"".join(a + b for a, b in product(name.split("-"), [joint]))[:-1] for joint in "-_.~!"}
    mixed = name.replace("-", "_", 1)
    return {form for each in {*joined, mixed} for form in (each, each.lower(), each.upper(), each.swapcase())}


def lines() -> list[str]:
    written = [f"{form}: {FORGED}" for name in NAMES for form in sorted(spellings(name))]
    return [*written, *(f"{name}:\t{FORGED}  " for name in NAMES), *(f"{name}:{FORGED}" for name in NAMES)]


def serve(connection: Connection) -> None:
    while (asked := connection.next_request()) is not None:
        if asked.target == "/check":
            connection.answer(b"", "200 OK", f"{ASKED[0]}: carol")
            continue
        if asked.get("upgrade"):
            connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            connection.wait_for_end()
            return
        if asked.get("expect"):
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.answer(described(asked, connection.backend), "200 OK", "Cache-Control: max-age=60")


@pytest.fixture(scope="module")
def services() -> Iterator[tuple[Backend, Backend]]:
    with Backend(serve) as own, Backend(serve, name="shadow") as shadow:
        yield own, shadow


@pytest.fixture(scope="module")
def gateway(services: tuple[Backend, Backend]) -> Iterator[Gateway]:
    own, shadow = services
    routes = [
        {
            "name": name,
            "service": "own",
            "path": f"/{name}",
            "upgrades": ["echo"],
            "trailers": ["X-Sum"],
            "mirror": {"service": "shadow"},
            "policies": {**POLICIES, **({"auth": AUTH[name]} if name in AUTH else {})},
        }
        for name in ROUTES
    ]
    routes[-1]["policies"] = {**POLICIES, "auth": {"forward": {"url": f"{own.url}/check", "pass_headers": [*ASKED]}}}
    in_query = {"jwt": {"secret": SECRET, "from": [{"query": "token"}]}}
    routes[-2]["policies"] = {**POLICIES, "auth": in_query, "cache": {"ttl": 60}}
    limits = {"limits": {"header_count": 1000, "header_size": "128KiB"}}
    with Gateway({"gateway": limits, "services": {"own": own, "shadow": shadow}, "routes": routes}) as running:
        yield running


def said(answer: Message, *names: str) -> list[tuple[str, str]]:
    assert answer.status == 200, answer
    return [(name.lower(), value) for name, value in answer.json()["fields"] if name.lower() in names]


def credentials(route: str) -> list[str]:
    return [] if route == "open" else [bearer(token(tenant="acme", role="reader", plan="small"))]


def assert_unseen(gateway: Gateway, backends: tuple[Backend, Backend], marker: str) -> None:
    """The service and its mirror have had the request with this marker, and nothing of what was forged."""
    for backend in backends:
        assert until(partial(_has, backend, marker)), f"{backend.name} had no {marker}"
        assert not _has(backend, FORGED)
    assert gateway.is_ready()


def _has(backend: Backend, text: str) -> bool:
    return any(text.encode() in bytes(each.received) for each in backend.connections)


@pytest.mark.parametrize("route", ROUTES[:3])
def test_a_request(gateway: Gateway, services: tuple[Backend, Backend], route: str) -> None:
    answer = gateway.get(f"/{route}/get/{route}", *lines(), *credentials(route))
    assert_unseen(gateway, services, f"/get/{route}")
    if route == "open":
        assert said(answer, "x-consumer-username", "x-tenant", "x-role", "x-plan") == [("x-role", "nobody")]
        return
    names = ("x-consumer-username", "x-tenant", "x-role", "x-plan")
    assert sorted(said(answer, *names)) == [
        ("x-consumer-username", "alice"),
        ("x-plan", "small"),
        ("x-role", "reader"),
        ("x-tenant", "acme"),
    ]
    assert len(said(answer, "x-consumer-identity")) == 1


def test_somebody_without_credentials_where_they_are_optional(
    gateway: Gateway, services: tuple[Backend, Backend]
) -> None:
    answer = gateway.get("/optional/nobody", *lines())
    assert said(answer, *map(str.lower, NAMES)) == [("x-role", "nobody")]
    assert_unseen(gateway, services, "/nobody")


@pytest.mark.parametrize("route", ROUTES[:3])
def test_a_rule_that_does_not_apply(gateway: Gateway, services: tuple[Backend, Backend], route: str) -> None:
    answer = gateway.ask("PUT", f"/{route}/put/{route}", *lines(), *credentials(route), body=b"x")
    assert said(answer, "x-plan") == []
    assert_unseen(gateway, services, f"/put/{route}")


@pytest.mark.parametrize("route", ROUTES[:3])
def test_names_in_connection_lists(gateway: Gateway, services: tuple[Backend, Backend], route: str) -> None:
    listed = ", ".join(name for name in NAMES if not name.startswith("X-Consumer"))
    answer = gateway.get(f"/{route}/listed/{route}", f"Connection: {listed}", *lines(), *credentials(route))
    assert said(answer, "x-role") == [("x-role", "nobody" if route == "open" else "reader")], "the gateway's own stays"
    assert_unseen(gateway, services, f"/listed/{route}")
    if route != "open":
        refused = gateway.get(
            f"/{route}/dropped", "Connection: X-Consumer-Username, Authorization", *credentials(route)
        )
        assert refused.status in (200, 400)


@pytest.mark.parametrize("route", ROUTES[:3])
def test_trailers(gateway: Gateway, services: tuple[Backend, Backend], route: str) -> None:
    announced = f"Trailer: X-Sum, {', '.join(NAMES)}"
    head = request(
        "POST", f"/{route}/tail", "TE: trailers", announced, "Transfer-Encoding: chunked", *credentials(route)
    )
    with Wire(gateway.port) as wire:
        tail = "\r\n".join(["0", "X-Sum: 7", *lines(), "", ""])
        wire.send(head + b"2\r\nhi\r\n" + tail.encode())
        assert wire.receive("POST").status == 200
    assert_unseen(gateway, services, "X-Sum: 7")


@pytest.mark.parametrize("route", ROUTES[:3])
def test_a_client_that_waits_for_its_content(gateway: Gateway, services: tuple[Backend, Backend], route: str) -> None:
    with Wire(gateway.port) as wire:
        waits = ("Expect: 100-continue", "Content-Length: 2", *lines(), *credentials(route))
        wire.send(request("POST", f"/{route}/waits/{route}", *waits))
        assert wire.receive("POST").status == 100
        wire.send(b"hi")
        assert wire.receive("POST").status == 200
    assert_unseen(gateway, services, f"/waits/{route}")


@pytest.mark.parametrize("route", ROUTES[:3])
def test_an_upgrade(gateway: Gateway, services: tuple[Backend, Backend], route: str) -> None:
    own, _ = services
    with Wire(gateway.port) as wire:
        switch = ("Connection: Upgrade", "Upgrade: echo", *lines(), *credentials(route))
        wire.send(request("GET", f"/{route}/switch/{route}", *switch))
        assert wire.receive().status == 101
    assert until(lambda: _has(own, f"/switch/{route}"))
    assert not _has(own, FORGED)


@pytest.mark.parametrize(
    "line",
    [
        f"X-Consumer-Username : {FORGED}",
        f" X-Tenant: {FORGED}",
        f"X-A: b\r\n\tX-Tenant: {FORGED}",
        f"X-Tenant\0: {FORGED}",
    ],
)
def test_what_is_no_field(gateway: Gateway, services: tuple[Backend, Backend], line: str) -> None:
    assert gateway.get("/optional/bad", line).status == 400
    assert not _has(services[0], FORGED)


def test_tokens_of_one_consumer_that_differ_in_claims_share_no_answer(gateway: Gateway) -> None:
    """The token is taken out of the query, so that nothing but its claims tells these requests apart."""
    seen = {
        tenant: said(gateway.get(f"/cached/a?token={token(tenant=tenant, plan=tenant)}"), "x-plan", "x-tenant")
        for tenant in ("acme", "evil", "acme")
    }
    assert seen == {tenant: [("x-plan", tenant), ("x-tenant", tenant)] for tenant in seen}


def test_a_service_that_is_asked_names_consumers_and_nobody_else_does(
    gateway: Gateway, services: tuple[Backend, Backend]
) -> None:
    own, shadow = services
    forged = [f"{form}: {FORGED}" for name in ASKED for form in sorted(spellings(name))]
    answer = gateway.get("/asking/get", *forged, "X-Consumer-Username: mallory", "Authorization: Bearer a")
    assert said(answer, "x-auth-user", "x-auth-groups", "x-consumer-username") == [
        ("x-consumer-username", "carol"),
        ("x-auth-user", "carol"),
    ]
    assert until(partial(_has, shadow, "/get HTTP"))
    reached = [each for backend in (own, shadow) for each in backend.requests if each.target in ("/get", "/check")]
    assert [each.get("authorization") for each in reached if each.target == "/check"] == ["Bearer a"]
    assert len(reached) >= 3, "that which is asked does not see it, either"
    assert not any(value in (FORGED, "mallory") for each in reached for _, value in each.fields)
