"""Spans of exchanges, as a collector of OpenTelemetry gets them: one for the client, one for each try at a service."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from support.backend import Backend, Connection, Refusing
from support.client import Wire, ask, request
from support.collector import Collector, Span
from support.messages import Message
from support.tokens import SECRET
from support.websocket import WebSocket, accept
from support.world import Gateway, until

PROXY = "127.0.0.2"
"""The address of clients that are trusted."""
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RECORDED = f"traceparent: 00-{TRACE}-{PARENT}-01"


def config(collector: Collector, shop: Backend, away: Refusing) -> dict[str, Any]:
    plain = {"url": shop.url, "health_check": False}
    services: dict[str, Any] = {
        "shop": plain,
        "two": {**plain, "instances": [away.url, shop.url], "circuit_breaker": False, "passive_health": False},
        "guarded": {**plain, "policies": {"auth": {"jwt": {"secret": SECRET}}}},
        "shadow": plain,
        "gone": {"url": away.url, "health_check": False, "retries": 0},
    }
    services["two"].pop("url")
    routes = [
        {"name": "copied", "service": "shop", "path": "/copied", "mirror": "shadow"},
        {"name": "cached", "service": "shop", "path": "/cached", "policies": {"cache": {"ttl": 60}}},
        {"name": "user", "service": "shop", "path": "~ ^/users/(?P<id>[0-9]+)$", "rewrite": "/u/{id}"},
        {
            "name": "limited",
            "service": "shop",
            "path": "/limited",
            "policies": {"rate_limit": {"requests_per_minute": 1, "burst": 1}},
        },
        {"name": "robots", "path": "= /robots.txt", "respond": {"status": 200, "body": "User-agent: *"}},
        {
            "name": "asked",
            "service": "shop",
            "path": "/asked",
            "policies": {"auth": {"forward": {"url": f"{shop.url}/check", "cache": 0}}},
        },
        {"name": "instead", "service": "gone", "path": "/instead", "failover": ["shop"]},
        {"name": "ws", "service": "shop", "path": "/ws"},
    ]
    tracing = {
        "endpoint": f"{collector.url}/v1/traces",
        "service_name": "edge",
        "resource": {"a.b": "c"},
        "delay": "20ms",
    }
    return {
        "gateway": {"tracing": tracing, "trusted_proxies": [PROXY]},
        "services": services,
        "routes": routes,
    }


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as own:
        yield own


@pytest.fixture(scope="module")
def shop() -> Iterator[Backend]:
    with Backend(name="shop") as own:
        yield own


@pytest.fixture(scope="module")
def gateway(collector: Collector, shop: Backend) -> Iterator[Gateway]:
    with Refusing() as away, Gateway(config(collector, shop, away)) as own:
        yield own


def as_proxy(gateway: Gateway, *lines: str, target: str = "/api/shop/x") -> Message:
    """What a trusted proxy is answered."""
    sock = socket.create_connection(("127.0.0.1", gateway.port), source_address=(PROXY, 0))
    with Wire(gateway.port, sock) as wire:
        return wire.ask("GET", target, *lines)


def trace_of(gateway: Gateway, answer: Message) -> str:
    """The trace of an exchange, by the access log."""
    trace: str = gateway.logged(answer.get("x-request-id"))["trace_id"]
    return trace


def spans(gateway: Gateway, collector: Collector, answer: Message, count: int) -> list[Span]:
    return collector.of(trace_of(gateway, answer), count)


def last(shop: Backend, target: str) -> Message:
    return [each for each in shop.requests if each.target == target][-1]


# ---- the two spans of an exchange


def test_a_server_and_a_client_span(gateway: Gateway, collector: Collector, shop: Backend) -> None:
    answer = gateway.get("/api/shop/pay?token=abc&page=2", "User-Agent: curl/8")
    server, client = spans(gateway, collector, answer, 2)
    assert (server.name, server.kind, server.parent, server.failed) == ("GET /api/shop", "server", "", False)
    assert server.attributes == {
        "http.request.method": "GET",
        "http.route": "/api/shop",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": "/api/shop/pay",
        "url.query": "token=***&page=2",
        "network.protocol.name": "http",
        "network.protocol.version": "1.1",
        "network.peer.address": "127.0.0.1",
        "client.address": "127.0.0.1",
        "server.address": "gateway.test",
        "server.port": 80,
        "user_agent.original": "curl/8",
        "portico.service": "shop",
        "portico.route": "shop",
    }
    assert (client.name, client.kind, client.parent, client.failed) == ("GET", "client", server.id, False)
    assert client.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": shop.port,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": shop.port,
        "network.protocol.name": "http",
        "network.protocol.version": "1.1",
        "url.full": f"{shop.url}/pay?token=***&page=2",
        "portico.service": "shop",
    }
    assert server.start <= client.start <= client.end <= server.end
    assert abs(server.end - time.time_ns()) < 60e9
    assert server.resource["service.name"] == "edge"
    assert server.resource["a.b"] == "c"
    assert last(shop, "/pay?token=abc&page=2").get("traceparent") == f"00-{server.trace}-{client.id}-03"
    assert gateway.logged(answer.get("x-request-id"))["span_id"] == server.id


def test_a_route_by_pattern_is_named_by_its_pattern(gateway: Gateway, collector: Collector) -> None:
    server, client = spans(gateway, collector, gateway.ask("POST", "/users/7", body=b"x"), 2)
    assert server.name == "POST ^/users/(?P<id>[0-9]+)$"
    assert client.attributes["url.full"].endswith("/u/7")


def test_services_read_it_as_their_libraries_do(gateway: Gateway, collector: Collector, shop: Backend) -> None:
    answer = gateway.get("/api/shop/library")
    _, client = spans(gateway, collector, answer, 2)
    carrier = {"traceparent": str(last(shop, "/library").get("traceparent"))}
    context = get_current_span(TraceContextTextMapPropagator().extract(carrier)).get_span_context()
    assert context.is_remote
    assert context.trace_flags.sampled
    assert (f"{context.trace_id:032x}", f"{context.span_id:016x}") == (client.trace, client.id)


# ---- contexts


def test_the_context_of_a_trusted_proxy_decides(gateway: Gateway, collector: Collector, shop: Backend) -> None:
    answer = as_proxy(gateway, RECORDED, "tracestate: a=1,b=2", "tracestate: c=3")
    server, client = spans(gateway, collector, answer, 2)
    assert (server.trace, server.parent, server.state) == (TRACE, PARENT, "a=1,b=2,c=3")
    assert (server.flags, client.flags) == (0x301, 0x101)
    sent = last(shop, "/x")
    assert sent.get("traceparent") == f"00-{TRACE}-{client.id}-01"
    assert sent.all("tracestate") == ["a=1,b=2", "c=3"]


def test_what_its_caller_does_not_record_passes_as_it_came(
    gateway: Gateway, collector: Collector, shop: Backend
) -> None:
    said = f"00-{TRACE[::-1]}-{PARENT}-02"
    as_proxy(gateway, f"traceparent: {said}", "tracestate: a=1")
    assert (last(shop, "/x").get("traceparent"), last(shop, "/x").get("tracestate")) == (said, "a=1")
    spans(gateway, collector, gateway.get("/api/shop/later"), 2)
    assert not [span for span in collector.spans if span.trace == TRACE[::-1]]


@pytest.mark.parametrize(
    "lines",
    [
        (f"traceparent: 00-{'0' * 32}-{PARENT}-01",),
        (f"traceparent: ff-{TRACE}-{PARENT}-01",),
        (f"traceparent: 00-{TRACE.upper()}-{PARENT}-01",),
        (f"traceparent: 00-{TRACE}-{PARENT}-01-more",),
        (RECORDED, RECORDED),
        ("traceparent: " + "0" * 5000,),
        ("traceparent:",),
    ],
)
def test_a_context_that_is_none_begins_a_trace(
    gateway: Gateway, collector: Collector, shop: Backend, lines: tuple[str, ...]
) -> None:
    answer = as_proxy(gateway, *lines, "tracestate: x=y")
    server, client = spans(gateway, collector, answer, 2)
    assert server.trace not in (TRACE, TRACE.upper())
    assert server.parent == server.state == ""
    assert last(shop, "/x").all("traceparent") == [f"00-{server.trace}-{client.id}-03"]
    assert last(shop, "/x").get("tracestate") is None


def test_that_of_another_client_is_dropped(gateway: Gateway, collector: Collector, shop: Backend) -> None:
    answer = gateway.get("/api/shop/x", RECORDED, "tracestate: a=1")
    server, _ = spans(gateway, collector, answer, 2)
    assert server.trace != TRACE
    assert last(shop, "/x").get("tracestate") is None


# ---- tries


def test_each_try_has_a_span(gateway: Gateway, collector: Collector) -> None:
    counts = []
    for _ in range(2):  # in turn they meet the instance that is away first
        answer = gateway.get("/api/two/x")
        attempts = gateway.logged(answer.get("x-request-id"))["attempts"]
        counts.append(attempts)
        server, *tries = spans(gateway, collector, answer, attempts + 1)
        assert [each.attributes.get("http.request.resend_count") for each in tries] == [None, 1][:attempts]
        if attempts == 2:
            assert tries[0].failed
            assert tries[0].attributes["error.type"] == "upstream_refused"
            assert "http.response.status_code" not in tries[0].attributes
        assert not tries[-1].failed
        assert not server.failed
    assert 2 in counts


def test_a_service_that_is_away(gateway: Gateway, collector: Collector) -> None:
    server, client = spans(gateway, collector, gateway.get("/api/gone/x"), 2)
    assert server.failed
    assert client.failed
    assert server.attributes["http.response.status_code"] == 502
    assert server.attributes["error.type"] == client.attributes["error.type"] == "upstream_refused"


def test_another_service_in_place_of_one_that_is_away(gateway: Gateway, collector: Collector, shop: Backend) -> None:
    server, first, second = spans(gateway, collector, gateway.get("/instead/i"), 3)
    assert (server.attributes["portico.service"], server.failed) == ("shop", False)
    assert [each.attributes["portico.service"] for each in (first, second)] == ["gone", "shop"]
    assert (first.failed, second.attributes["http.request.resend_count"]) == (True, 1)
    assert last(shop, "/i").get("traceparent") == f"00-{server.trace}-{second.id}-03"


def test_an_error_of_a_service(gateway: Gateway, collector: Collector) -> None:
    server, client = spans(gateway, collector, gateway.get("/api/shop/status/500"), 2)
    assert (server.failed, server.attributes["error.type"]) == (True, "500")
    assert (client.failed, client.attributes["error.type"]) == (True, "500")
    server, client = spans(gateway, collector, gateway.get("/api/shop/status/404"), 2)
    assert (server.failed, server.attributes.get("error.type")) == (False, None)
    assert (client.failed, client.attributes["error.type"]) == (True, "404")


def test_a_copy_for_a_mirror(gateway: Gateway, collector: Collector, shop: Backend) -> None:
    server, *tries = spans(gateway, collector, gateway.get("/copied/m"), 3)
    roles = {each.attributes.get("portico.role"): each for each in tries}
    assert set(roles) == {None, "mirror"}
    assert roles["mirror"].attributes["portico.service"] == "shadow"
    assert {each.parent for each in tries} == {server.id}
    sent = {str(each.get("traceparent")).split("-")[2] for each in shop.requests if each.target == "/m"}
    assert sent == {each.id for each in tries}


def test_a_question_before_an_exchange_goes_on(gateway: Gateway, collector: Collector, shop: Backend) -> None:
    server, asked, client = spans(gateway, collector, gateway.get("/asked/a?token=x", "Authorization: Bearer x"), 3)
    assert (asked.attributes["portico.role"], asked.parent, client.parent) == ("auth", server.id, server.id)
    assert asked.attributes["url.full"] == f"{shop.url}/check"
    assert last(shop, "/check").get("traceparent") == f"00-{server.trace}-{asked.id}-03"
    assert last(shop, "/a?token=x").get("traceparent") == f"00-{server.trace}-{client.id}-03"
    assert len({server.id, asked.id, client.id}) == 3


def test_what_is_stored_has_no_try(gateway: Gateway, collector: Collector) -> None:
    server, _ = spans(gateway, collector, gateway.get("/cached/bytes/9"), 2)
    assert server.attributes["portico.cache"] == "miss"
    server = spans(gateway, collector, gateway.get("/cached/bytes/9"), 1)[0]
    assert (server.attributes["portico.cache"], server.name) == ("hit", "GET /cached")


# ---- what ends otherwise


@pytest.mark.parametrize(
    ("data", "status", "reason", "name"),
    [
        (request("GET", "/nowhere"), 404, "no_route", "GET"),
        (request("GET", "/api/guarded/x"), 401, "credentials_missing", "GET /api/guarded"),
        (request("GET", "/api/shop/../x"), 400, "malformed_request", "GET"),
        (b"\x00\x01\x02\r\n\r\n", 400, "malformed_request", "HTTP"),
        (request("POST", "/api/shop/x", "Content-Length: 99999999"), 413, "body_too_large", "POST /api/shop"),
        (request("BREW", "/api/shop/x"), 200, None, "HTTP /api/shop"),
        (request("GET", "/robots.txt"), 200, None, "GET /robots.txt"),
    ],
)
def test_an_answer_of_the_gateway(
    gateway: Gateway, collector: Collector, data: bytes, status: int, reason: str | None, name: str
) -> None:
    with gateway.wire() as wire:
        wire.send(data)
        answer = wire.receive()
    server = spans(gateway, collector, answer, 2 if name == "HTTP /api/shop" else 1)[0]
    assert (server.name, server.failed) == (name, False)
    assert server.attributes["http.response.status_code"] == status
    assert server.attributes.get("portico.reason") == reason
    assert "error.type" not in server.attributes


def test_a_limit(gateway: Gateway, collector: Collector) -> None:
    answers = [gateway.get("/limited/x") for _ in range(2)]
    assert [each.status for each in answers] == [200, 429]
    server = spans(gateway, collector, answers[1], 1)[0]
    assert (server.attributes["portico.reason"], server.failed) == ("rate_limited", False)


def test_a_tunnel_lasts_until_it_is_closed(gateway: Gateway, collector: Collector, shop: Backend) -> None:
    def switch(connection: Connection) -> None:
        accept(connection)
        connection.receive()

    before, shop.script = shop.script, switch
    shop.disconnect()
    try:
        with WebSocket(gateway.port, "/ws") as client:
            id_ = client.answer.get("x-request-id")
            time.sleep(0.2)
            client.say(8)
        server, try_ = collector.of(str(id_), 2)
    finally:
        shop.script = before
        shop.disconnect()
    assert server.attributes["http.response.status_code"] == try_.attributes["http.response.status_code"] == 101
    assert server.end - server.start > 0.2e9
    assert try_.end - try_.start > 0.2e9


def test_a_client_that_leaves(gateway: Gateway, collector: Collector, shop: Backend) -> None:
    arrived = threading.Event()

    def silent(connection: Connection) -> None:
        connection.next_request()
        arrived.set()
        connection.wait_for_end()

    before, shop.script = shop.script, silent
    shop.disconnect()
    try:
        with gateway.wire() as wire:
            wire.send(request("GET", "/api/shop/left"))
            assert arrived.wait(10)
        line = gateway.logged_path("/api/shop/left")
        server, client = collector.of(line["trace_id"], 2)
    finally:
        shop.script = before
        shop.disconnect()
    assert server.attributes["portico.reason"] == "client_closed"
    assert "http.response.status_code" not in server.attributes
    assert (server.failed, client.failed) == (False, False)
    assert client.attributes["portico.cancelled"] is True


def test_a_client_that_leaves_in_a_response(gateway: Gateway, collector: Collector, shop: Backend) -> None:
    def endless(connection: Connection) -> None:
        connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        connection.wait_for_end()

    before, shop.script = shop.script, endless
    shop.disconnect()
    try:
        with gateway.wire() as wire:
            wire.send(request("GET", "/api/shop/stream"))
            assert wire.socket.recv(12) == b"HTTP/1.1 200"
        line = gateway.logged_path("/api/shop/stream")
        server, client = collector.of(line["trace_id"], 2)
    finally:
        shop.script = before
        shop.disconnect()
    assert server.attributes["portico.reason"] == "client_closed"
    assert client.attributes["portico.cancelled"] is True
    assert client.attributes["http.response.status_code"] == 200
    assert (server.failed, client.failed) == (False, False)


def test_a_service_that_answers_what_stands_for_clients_that_left(gateway: Gateway, collector: Collector) -> None:
    server, client = spans(gateway, collector, gateway.get("/api/shop/status/499"), 2)
    assert server.attributes["http.response.status_code"] == client.attributes["http.response.status_code"] == 499


def test_what_clients_choose_is_bounded_and_is_text(gateway: Gateway, collector: Collector) -> None:
    long = "p" * 5000
    answer = gateway.get(f"/api/shop/{long}?q=\xff{long}", f"User-Agent: \xe9{'u' * 9000}", "Host: \xff.test:99999999")
    if answer.status == 400:
        answer = gateway.get(f"/api/shop/{long}?q={long}", f"User-Agent: \xe9{'u' * 9000}")
    server, client = spans(gateway, collector, answer, 2)
    sizes = {name: len(value) for name, value in server.attributes.items() if isinstance(value, str)}
    assert max(sizes.values()) == 1024
    assert sizes["url.path"] == sizes["url.query"] == sizes["user_agent.original"] == 1024
    assert len(client.attributes["url.full"]) == 1024
    assert server.attributes["user_agent.original"].startswith("\xe9u")


def test_the_gateways_own_paths_have_none_but_by_their_callers_wish(gateway: Gateway, collector: Collector) -> None:
    for path in ("/livez", "/metrics", "/health"):
        gateway.get(path)
    as_proxy(gateway, f"traceparent: 00-{'a' * 32}-{PARENT}-01", target="/livez")
    assert collector.of("a" * 32, 1)[0].attributes["url.path"] == "/livez"
    paths = {span.attributes.get("url.path") for span in collector.spans if span.trace != "a" * 32}
    assert not paths & {"/livez", "/readyz", "/metrics", "/health"}


def test_exemplars_for_those_who_ask_for_openmetrics(gateway: Gateway) -> None:
    trace = trace_of(gateway, gateway.get("/api/shop/e"))
    accept_line = "Accept: application/openmetrics-text; version=1.0.0"
    page = until(
        lambda: text if f'trace_id="{trace}"' in (text := gateway.get("/metrics", accept_line).body.decode()) else "",
        "the exemplar is there",
    )
    found = [line for line in page.splitlines() if trace in line]
    assert all(line.startswith("gateway_request_duration_seconds_bucket{") for line in found)
    assert re.search(r' # \{span_id="[0-9a-f]{16}",trace_id="[0-9a-f]{32}"\} [0-9.e-]+ [0-9.]+$', found[0])
    assert trace not in gateway.get("/metrics").body.decode()
    assert 'gateway_otlp_sent_total{signal="traces"}' in page


def test_the_port_of_a_collector_is_told(gateway: Gateway, collector: Collector) -> None:
    assert set(collector.paths) == {"/v1/traces"}
    assert {each["content-type"] for each in collector.headers} == {"application/x-protobuf"}
    assert ask(gateway.port, "GET", "/livez").status == 200
