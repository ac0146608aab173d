"""`Proxy-Status` (RFC 9209): what it says of each way in which a service fails, and that services' own passes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from portico.core.errors import PROXY_ERRORS
from support.authority import Authority
from support.backend import Backend, Refusing
from support.client import request
from support.documented import example
from support.messages import Message
from support.scripts import hangs, resets, says, sends, waits_for
from support.sockets import full_port
from support.structured import read_list
from support.world import Gateway, until

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

SCRIPTS = {
    "reset": resets,
    "cut": sends(b"HTTP/1.1 200 OK\r\nContent-Len"),
    "garbage": sends(b"this is no HTTP\r\n\r\n"),
    "large": sends(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"),
    "fields": sends(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n"),
    "coding": sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    "chunks": sends(CHUNKED + b"XYZ\r\n"),
    "never": hangs,
    "slow": hangs,
    "websocket": hangs,
    "own": says("502 Bad Gateway", 'Proxy-Status: "inner"; error=connection_refused'),
}
FAILURES = {
    "refused": (502, "upstream_refused", "connection_refused"),
    "nameless": (502, "upstream_dns", "dns_error"),
    "distrusted": (502, "upstream_tls", "tls_certificate_error"),
    "plain": (502, "upstream_tls", "tls_protocol_error"),
    "reset": (502, "upstream_reset", "connection_terminated"),
    "cut": (502, "upstream_reset", "http_response_incomplete"),
    "garbage": (502, "upstream_malformed", "http_protocol_error"),
    "large": (502, "upstream_malformed", "http_response_header_section_size"),
    "fields": (502, "upstream_malformed", "http_response_header_section_size"),
    "coding": (502, "upstream_malformed", "http_response_transfer_coding"),
    "chunks": (502, "upstream_malformed", "http_response_transfer_coding"),
    "full": (504, "upstream_timeout", "connection_timeout"),
    "never": (504, "upstream_timeout", "connection_read_timeout"),
    "slow": (504, "upstream_timeout", "http_response_timeout"),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("authority")
    authority = Authority(folder / "a")
    context = authority.server_context(authority.leaf("localhost"))
    with ExitStack() as stack:
        services: dict[str, Any] = {
            name: {"url": stack.enter_context(Backend(script)).url} for name, script in SCRIPTS.items()
        }
        services["refused"] = {"url": stack.enter_context(Refusing()).url}
        services["nameless"] = {"url": "http://no-such-host.invalid"}
        tls = stack.enter_context(Backend(tls=context))
        services["distrusted"] = {
            "url": f"https://localhost:{tls.port}",
            "tls": {"ca": str(Authority(folder / "b").ca)},
        }
        services["plain"] = {"url": f"https://localhost:{stack.enter_context(Backend()).port}"}
        services["full"] = {"url": f"http://127.0.0.1:{stack.enter_context(full_port())}"}
        for settings in services.values():
            settings |= {"health_check": False, "retries": 0, "timeout": 15}
        services["never"]["timeout"] = services["full"]["timeout"] = "300ms"
        services["slow"]["timeout"] = {"total": "300ms"}
        with Gateway({"services": services}) as running:
            yield running


def members(answer: Message) -> list[tuple[Any, dict[str, Any]]]:
    return [tuple(each) for each in read_list(*answer.all("proxy-status"))]


@pytest.mark.parametrize("name", FAILURES)
def test_what_it_says_of_a_failure(gateway: Gateway, name: str) -> None:
    status, reason, error = FAILURES[name]
    answer = gateway.get(f"/api/{name}/x")
    assert (answer.status, answer.json()["reason"]) == (status, reason)
    assert members(answer) == [("portico", {"error": error})]
    assert answer.get("content-type") == "application/problem+json"


def test_a_websocket_without_its_key(gateway: Gateway) -> None:
    answer = gateway.get("/api/websocket/x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    assert (answer.status, answer.json()["reason"]) == (400, "malformed_request")
    assert members(answer) == [("portico", {"error": "http_request_error"})]


def test_a_services_own_passes_and_gets_no_member_of_the_gateways(gateway: Gateway) -> None:
    answer = gateway.get("/api/own/x")
    assert (answer.status, answer.body) == (502, b"502 Bad Gateway")
    assert members(answer) == [("inner", {"error": "connection_refused"})]


@pytest.mark.parametrize("target", ["/nowhere", "/api/own/../x"])
def test_what_is_no_failure_of_a_service_has_none(gateway: Gateway, target: str) -> None:
    answer = gateway.get(target)
    assert answer.status in (400, 404)
    assert answer.all("proxy-status") == []


def test_every_type_is_documented() -> None:
    documented = {
        (error, int(status), reason)
        for line in PAGE.partition("| `error` |")[2].partition("\n\n")[0].splitlines()[2:]
        for errors, statuses, reasons in [line.strip("| ").split(" | ")[:3]]
        for error in errors.strip("`").split("`, `")
        for status in statuses.split(", ")
        for reason in reasons.strip("`").split("`, `")
    }
    tried = {(error, status, reason) for status, reason, error in FAILURES.values()}
    assert tried - documented == set()
    by_reason = {(error, reason) for error, _, reason in documented}
    assert {(error, reason) for reason, error in PROXY_ERRORS.items()} - by_reason == set()


# ---- services that are not asked


def test_an_instance_that_is_full_a_breaker_that_is_open_and_nothing_that_is_healthy() -> None:
    release = threading.Event()
    with ExitStack() as stack:
        busy = stack.enter_context(Backend(waits_for(release)))
        bad, dead = stack.enter_context(Backend(says("500 No"))), stack.enter_context(Refusing())
        config = {
            "services": {
                "busy": {"url": busy.url, "health_check": False, "max_connections": 1},
                "queued": {"url": busy.url, "health_check": False, "max_requests": 1},
                "bad": {
                    "url": bad.url,
                    "health_check": False,
                    "circuit_breaker": {"failures": 1, "open_for": "1h"},
                },
                "dead": {"url": dead.url, "health_check": {"interval": "100ms", "unhealthy_after": 1}},
            }
        }
        gateway = stack.enter_context(Gateway(config))
        for name in ("busy", "queued"):
            wire = stack.enter_context(gateway.wire())
            wire.send(request("GET", f"/api/{name}/x"))
            stack.callback(wire.receive)
        until(lambda: len(busy.requests) == 2, "both are at the service")
        stack.callback(release.set)
        gateway.get("/api/bad/x")
        until(lambda: gateway.get("/api/dead/x").json()["reason"] == "no_healthy_upstream", "it is seen to be down")
        found = {}
        for name in ("busy", "queued", "bad", "dead"):
            answer = gateway.get(f"/api/{name}/x")
            assert answer.status == 503
            found[answer.json()["reason"], name] = members(answer)
        assert found == {
            ("overloaded", "busy"): [("portico", {"error": "connection_limit_reached"})],
            ("overloaded", "queued"): [("portico", {"error": "connection_limit_reached"})],
            ("circuit_open", "bad"): [("portico", {"error": "destination_unavailable"})],
            ("no_healthy_upstream", "dead"): [("portico", {"error": "destination_unavailable"})],
        }


# ---- what can be set


def test_the_documented_example() -> None:
    with Refusing() as dead:
        config, ((shown,),) = example("errors.md", "proxy_status:", dead.url)
        with Gateway(config) as gateway:
            answer = gateway.get("/api/shop/x")
            assert answer.status == 502
            line = f"Proxy-Status: {answer.get('proxy-status')}"
            assert line == shown.replace("10.0.0.5:8001", f"127.0.0.1:{dead.port}")
            assert members(answer)[0][1]["next-hop"] == f"127.0.0.1:{dead.port}"


def test_turned_off_and_a_name_that_is_no_token() -> None:
    with Refusing() as dead:
        services = {"s": {"url": dead.url, "health_check": False}}
        for written, expected in ((False, []), ({"name": 'my "edge" \\ 1'}, ['my "edge" \\ 1'])):
            with Gateway({"gateway": {"proxy_status": written}, "services": services}) as gateway:
                answer = gateway.get("/api/s/x")
                assert answer.status == 502
                assert answer.get("proxy-status") is None if not expected else members(answer)[0][0] == expected[0]
