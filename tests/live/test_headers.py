"""Header fields that are set, added and removed, as services and clients see them, and as attackers try them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from support.backend import Backend, Connection, Refusing, content, described
from support.client import TIMEOUT, Wire, request
from support.messages import Message
from support.tokens import SECRET, bearer, token
from support.world import Gateway

PROXY = "127.0.0.2"
"""A peer that is trusted: the loopback has more than one address."""
OWN = ("Server: uvicorn", "X-Powered-By: python", "X-Frame-Options: DENY", "Cache-Control: no-cache", "X-Mine: service")


def service(connection: Connection) -> None:
    """Answers in the way that the target names, always with the fields of `OWN`; the body says what was asked."""
    while (asked := connection.next_request()) is not None:
        lines = list(OWN)
        kind = asked.target.rpartition("/")[2].partition("?")[0]
        body = described(asked, connection.backend)
        if kind == "upgrade":
            connection.send(_head("101 Switching Protocols", *lines, "Connection: Upgrade", "Upgrade: echo"))
            connection.send(body + b"\n")
            connection.wait_for_end()
            return
        if kind == "304":
            connection.send(_head("304 Not Modified", *lines, 'ETag: "x"'))
        elif kind == "204":
            connection.send(_head("204 No Content", *lines))
        elif kind == "hinted":
            connection.send(_head("103 Early Hints", *lines, "Link: </a.css>"))
            connection.answer(body, "200 OK", *lines)
        elif asked.method == "HEAD":
            connection.send(_head("200 OK", *lines, "Content-Length: 5"))
        elif kind == "large":
            connection.answer(content(1_000_000), "200 OK", *lines)
        else:
            connection.answer(body, "200 OK", *lines, chunked=kind == "chunked")


def _head(status: str, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def config(url: str, dead: str) -> dict[str, Any]:
    auth = {"auth": {"jwt": {"secret": SECRET}}}
    routes: dict[str, Any] = {
        "/plain": {},
        "/tenant": {
            **auth,
            "headers": {
                "request": {
                    "set": {
                        "X-Tenant": "{claim.tenant}",
                        "X-Roles": "{claim./access/roles}",
                        "X-Who": "{consumer} {client_ip} {request_id} {route} {service}",
                    }
                },
                "response": {"set": {"X-Who": "{consumer}", "X-Route": "{route}", "Cache-Control": "public"}},
            },
        },
        "/open": {"headers": {"request": {"set": {"X-Who": "{consumer:-nobody}", "X-User": "{consumer}"}}}},
        "/request": {
            "headers": {
                "request": {
                    "set": {"Host": "inner.example:81", "Authorization": "Bearer {env.TOKEN}", "Accept": "a/b"},
                    "add": {"X-Added": ["1", "2"]},
                    "remove": ["Cookie", "X-Forwarded-For", "X-Real-IP", "Via"],
                }
            }
        },
        "/response": {
            "headers": {
                "response": {
                    "set": {"X-Mine": "gateway", "X-Id": "{request_id}"},
                    "add": {"X-Powered-By": "portico"},
                    "remove": ["Server", "Server-Timing", "RateLimit"],
                }
            },
            "rate_limit": {"burst": 1000},
        },
        "/timing": {"headers": {"response": {"set": {"Server-Timing": "all;dur=1"}}}},
        "/off": {"headers": {"response": {"set": {"x-level": False, "X-Content-Type-Options": False}}}},
        "/secure": {"headers": {"response": {"remove": ["X-Frame-Options"]}}},
        "/cors": {"cors": {"allow_origins": ["https://app.test"]}},
        "/limited": {"rate_limit": {"burst": 1, "requests_per_minute": 0.001}},
    }
    written = [
        {"name": path[1:], "service": "a", "path": path, "policies": policies, "upgrades": ["echo"]}
        for path, policies in routes.items()
    ]
    written.append({"name": "dead", "service": "dead", "path": "/dead"})
    return {
        "gateway": {"trusted_proxies": [PROXY]},
        "policies": {"headers": {"security": True, "response": {"set": {"X-Level": "top"}}}},
        "services": {
            "a": {"url": url, "health_check": False},
            "dead": {"url": dead, "health_check": False, "retries": 0},
            "half": {
                "instances": [{"url": dead}, {"url": url}],
                "health_check": False,
                "policies": {"headers": {"request": {"set": {"X-Try": "{request_id}"}}}},
            },
        },
        "routes": written,
    }


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with (
        Backend(service) as backend,
        Refusing() as dead,
        Gateway(config(backend.url, dead.url), env={"TOKEN": "a{b}c"}) as gateway,
    ):
        yield gateway


def at_the_service(answer: Message) -> list[tuple[str, str]]:
    assert answer.status == 200, answer
    return [(name.lower(), value) for name, value in answer.json()["fields"]]


def sent(answer: Message, *names: str) -> list[tuple[str, str]]:
    """What the service got under these names."""
    return [pair for pair in at_the_service(answer) if pair[0] in names]


# ---- to the service

FORGED = ("X-Tenant: forged", "x_tenant: forged", "X-TENANT: forged", "X-Roles: admin", "X-Who: root", "X_Who: root")


def test_claims_reach_the_service_and_nothing_that_a_client_sends_in_their_place(gateway: Gateway) -> None:
    shown = token(tenant="acme", access={"roles": ["a", "b,c"]}, sub="Łukasz")
    answer = gateway.get("/tenant/x", bearer(shown), *FORGED)
    names = ("x-tenant", "x_tenant", "x-roles", "x-who", "x_who")
    who = f"%C5%81ukasz 127.0.0.1 {answer.get('x-request-id')} tenant a"
    assert sent(answer, *names) == [("x-tenant", "acme"), ("x-roles", "a,b%2Cc"), ("x-who", who)]
    assert answer.all("x-who") == ["%C5%81ukasz"]
    assert answer.all("cache-control") == ["public"]


@pytest.mark.parametrize("claims", [{}, {"tenant": ""}, {"tenant": None}, {"tenant": {"a": 1}}, {"tenant": "\ud800"}])
def test_without_a_claim_the_field_is_not_sent_and_no_client_can_send_it(
    gateway: Gateway, claims: dict[str, Any]
) -> None:
    answer = gateway.get("/tenant/x", bearer(token(**claims)), *FORGED)
    assert sent(answer, "x-tenant", "x_tenant", "x-roles") == []


def test_a_claim_cannot_end_its_line(gateway: Gateway) -> None:
    evil = "a\r\nX-Admin: yes\r\n\r\nGET /admin HTTP/1.1\r\n\x00\u2028é"
    answer = gateway.get("/tenant/x", bearer(token(tenant=evil, access={"roles": [evil]})))
    fields = dict(at_the_service(answer))
    assert "x-admin" not in fields
    encoded = "a%0D%0AX-Admin:%20yes%0D%0A%0D%0AGET%20/admin%20HTTP/1.1%0D%0A%00%E2%80%A8%C3%A9"
    assert (fields["x-tenant"], fields["x-roles"]) == (encoded, encoded)


def test_requests_that_repeat_on_one_connection_keep_apart(gateway: Gateway) -> None:
    shown = {name: bearer(token(sub=name, tenant=f"of-{name}")) for name in ("ann", "bob")}
    plain = bearer(token(sub="eve"))
    with gateway.wire() as wire:
        for _ in range(3):
            for name, line in shown.items():
                for _ in range(2):
                    answer = wire.ask("GET", "/tenant/x", line, "X-Tenant: forged")
                    assert sent(answer, "x-tenant") == [("x-tenant", f"of-{name}")]
                    assert answer.all("x-who") == [name]
                    assert dict(at_the_service(answer))["x-who"].split()[2] == answer.get("x-request-id")
            for target in ("/tenant/x", "/plain/x", "/open/x"):
                answer = wire.ask("GET", target, plain, "X-Tenant: forged")
                forged = [("x-tenant", "forged")] if target != "/tenant/x" else []
                assert sent(answer, "x-tenant") == forged, "each route has the fields of its own"


def test_requests_that_come_at_once_keep_apart(gateway: Gateway) -> None:
    lines = [bearer(token(sub=name, tenant=name)) for name in ("ann", "bob", "ann", "eve")]
    with gateway.wire() as wire:
        wire.send(b"".join(request("GET", "/tenant/x", line) for line in lines))
        answers = [wire.receive() for _ in lines]
    assert [dict(at_the_service(answer))["x-tenant"] for answer in answers] == ["ann", "bob", "ann", "eve"]


def test_what_stands_for_no_consumer(gateway: Gateway) -> None:
    answer = gateway.get("/open/x", "X-User: root", "X-Who: root", bearer(token()))
    assert sent(answer, "x-user", "x-who") == [("x-who", "nobody")]


@pytest.mark.parametrize("source", ["127.0.0.1", PROXY])
def test_a_request_as_it_is_changed(gateway: Gateway, source: str) -> None:
    lines = ("Cookie: a=b", "Accept: c/d", "Accept: e/f", "X-Forwarded-For: 192.0.2.1", "X-Added: 0")
    with Wire(gateway.port, socket.create_connection(("127.0.0.1", gateway.port), TIMEOUT, (source, 0))) as wire:
        for _ in range(2):
            answer = wire.ask("POST", "/request/x", *lines, body=b"content")
            fields = at_the_service(answer)
            assert answer.json()["length"] == len(b"content")
            names = ("host", "authorization", "accept", "cookie", "x-forwarded-for", "x-real-ip", "via", "x-added")
            assert [pair for pair in fields if pair[0] in names] == [
                ("x-added", "0"),
                ("host", "inner.example:81"),
                ("authorization", "Bearer a{b}c"),
                ("accept", "a/b"),
                ("x-added", "1"),
                ("x-added", "2"),
            ]
            assert ("x-forwarded-host", "gateway.test") in fields


def test_a_client_of_http_1_0(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(b"GET /request/x HTTP/1.0\r\nCookie: a=b\r\n\r\n")
        answer = wire.receive()
    assert sent(answer, "host", "cookie", "accept") == [("host", "inner.example:81"), ("accept", "a/b")]
    assert answer.get("x-level") == "top"


def test_each_attempt_has_the_fields(gateway: Gateway) -> None:
    for _ in range(4):
        answer = gateway.get("/api/half/x", "X-Try: forged")
        assert sent(answer, "x-try") == [("x-try", answer.get("x-request-id") or "")]


def test_an_upgrade_has_the_fields(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(request("GET", "/request/upgrade", "Connection: Upgrade", "Upgrade: echo", "Cookie: a=b"))
        answer = wire.receive()
        seen = wire.file.readline()
    assert answer.status == 101
    assert answer.get("x-level") == "top"
    assert answer.all("x-frame-options") == ["DENY"]
    assert b"inner.example:81" in seen
    assert b"a=b" not in seen


# ---- to the client

KINDS = [("GET", "x"), ("GET", "chunked"), ("GET", "large"), ("HEAD", "x"), ("GET", "204"), ("GET", "304")]


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_a_response_as_it_is_changed(gateway: Gateway, method: str, kind: str) -> None:
    with gateway.wire() as wire:
        for _ in range(3):
            answer = wire.ask(method, f"/response/{kind}")
            assert answer.all("x-mine") == ["gateway"]
            assert answer.all("x-id") == answer.all("x-request-id")
            assert answer.all("x-powered-by") == ["python", "portico"]
            assert [answer.get(name) for name in ("server", "server-timing", "ratelimit")] == [None] * 3
            assert answer.all("cache-control") == ["no-cache"]
            assert answer.get("ratelimit-policy")
            assert len(answer.all("date")) == 1
            untouched = wire.ask(method, f"/plain/{kind}")
            assert untouched.all("server") == ["uvicorn"], "the same head of the service, for another route"
            assert untouched.all("x-mine") == ["service"]
            assert untouched.get("server-timing")


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_security_leaves_what_a_service_sets(gateway: Gateway, method: str, kind: str) -> None:
    answer = gateway.ask(method, f"/plain/{kind}")
    assert answer.all("x-frame-options") == ["DENY"]
    assert answer.all("x-content-type-options") == ["nosniff"]
    assert answer.all("referrer-policy") == ["strict-origin-when-cross-origin"]
    assert answer.all("strict-transport-security") == []
    assert gateway.ask(method, f"/secure/{kind}").all("x-frame-options") == []


def test_hsts_where_a_trusted_proxy_says_https_and_nowhere_else(gateway: Gateway) -> None:
    hsts = {}
    for source in ("127.0.0.1", PROXY):
        sock = socket.create_connection(("127.0.0.1", gateway.port), TIMEOUT, (source, 0))
        with Wire(gateway.port, sock) as wire:
            for scheme in ("https", "http"):
                answer = wire.ask("GET", "/plain/x", f"X-Forwarded-Proto: {scheme}")
                hsts[source, scheme] = answer.all("strict-transport-security")
    assert hsts.pop((PROXY, "https")) == ["max-age=31536000"]
    assert not any(hsts.values())


def test_a_service_timing_that_is_replaced(gateway: Gateway) -> None:
    for kind in ("x", "chunked"):
        assert gateway.get(f"/timing/{kind}").all("server-timing") == ["all;dur=1"]


def test_a_route_switches_off_what_a_level_above_sets(gateway: Gateway) -> None:
    answer = gateway.get("/off/x")
    assert (answer.get("x-level"), answer.get("x-content-type-options")) == (None, None)
    assert answer.get("referrer-policy")


def test_early_hints_have_none_of_what_is_removed(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(request("GET", "/response/hinted"))
        data = b""
        while b"103" not in data or data.count(b"\r\n\r\n") < 2:
            data += wire.socket.recv(65536)
    hints = data.partition(b"\r\n\r\n")[0].lower()
    assert b"/a.css>" in hints
    assert b"server:" not in hints
    assert b"x-mine" not in hints


def test_the_gateways_own_answers_have_the_fields_but_not_those_of_content(gateway: Gateway) -> None:
    gateway.get("/limited/x")
    statuses = {"/tenant/x": 401, "/limited/x": 429, "/dead/x": 502}
    for target, status in statuses.items():
        for method in ("GET", "HEAD"):
            answer = gateway.ask(method, target)
            assert answer.status == status
            assert answer.all("x-level") == ["top"]
            assert answer.all("x-frame-options") == ["SAMEORIGIN"]
            assert answer.all("cache-control") == ["no-store"]
            assert answer.all("content-type") == ["application/problem+json"]
    refused = gateway.get("/tenant/x")
    assert (refused.get("x-route"), refused.get("x-who")) == ("tenant", None)


def test_preflights_and_own_endpoints_have_them_and_what_reaches_no_route_has_not(gateway: Gateway) -> None:
    asked = ("Origin: https://app.test", "Access-Control-Request-Method: GET")
    preflight = gateway.ask("OPTIONS", "/cors/x", *asked)
    assert (preflight.status, preflight.get("x-level")) == (204, "top")
    answer = gateway.get("/cors/x", "Origin: https://app.test")
    assert answer.all("access-control-allow-origin") == ["https://app.test"]
    assert (answer.all("x-level"), answer.all("x-frame-options")) == (["top"], ["DENY"])
    gateway.wait_for_control()
    assert gateway.get("/health").all("x-level") == ["top"]
    assert gateway.get("/nowhere").get("x-level") is None
