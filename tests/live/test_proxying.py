"""Requests and responses pass through unchanged, but for what a proxy has to change."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.backend import Backend, Connection, content
from support.client import Wire, ask, request
from support.world import Gateway, until

SIZES = [0, 1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 5 * 1024 * 1024]

curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own
        assert not own.errors, own.errors


@pytest.fixture(scope="module")
def gateway(service: Backend) -> Iterator[Gateway]:
    config = {
        "services": {
            "echo": service,
            "kept": {"url": service.url, "health_check": False, "preserve_host": True},
            "own": {"url": service.url, "health_check": False, "preserve_host": False},
        }
    }
    with Gateway(config) as own:
        yield own


def seen(message: Any) -> dict[str, list[str]]:
    """The fields of the request that the backend describes, by lower-case name."""
    fields: dict[str, list[str]] = {}
    for name, value in message.json()["fields"]:
        fields.setdefault(name.lower(), []).append(value)
    return fields


# ---- bodies, byte for byte, by four clients


def run_curl(url: str, *options: str, stdin: bytes = b"") -> bytes:
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "30", "--noproxy", "*", *options, url]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@curl
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["bytes", "chunked", "until-close"])
def test_curl_downloads_the_same_bytes(gateway: Gateway, service: Backend, kind: str, size: int) -> None:
    direct = run_curl(f"{service.url}/{kind}/{size}")
    assert direct == content(size)
    assert run_curl(f"{gateway.url}/api/echo/{kind}/{size}") == direct


@curl
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_curl_uploads_the_same_bytes(gateway: Gateway, service: Backend, coding: str, size: int) -> None:
    options = ["--data-binary", "@-", *(["-H", "Transfer-Encoding: chunked"] if coding == "chunked" else [])]
    direct = run_curl(f"{service.url}/echo", *options, stdin=content(size))
    assert direct == content(size)
    for target in ("echo", "echo-chunked"):
        assert run_curl(f"{gateway.url}/api/echo/{target}", *options, stdin=content(size)) == direct


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_httpx_gets_the_same_bytes(gateway: Gateway, service: Backend, coding: str, size: int) -> None:
    body = content(size)

    def pieces() -> Iterator[bytes]:
        for at in range(0, size, 30_011):
            yield body[at : at + 30_011]

    with httpx.Client(trust_env=False, timeout=30) as client:
        for base in (service.url, f"{gateway.url}/api/echo"):
            sent = client.post(f"{base}/echo", content=body if coding == "length" else pieces())
            assert (sent.status_code, sent.content) == (200, body)
            got = client.get(f"{base}/{'bytes' if coding == 'length' else 'chunked'}/{size}")
            assert (got.status_code, got.content) == (200, body)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunked", [False, True])
def test_http_client_gets_the_same_bytes(gateway: Gateway, service: Backend, chunked: bool, size: int) -> None:
    body = content(size)
    answers = []
    for port, prefix in ((service.port, ""), (gateway.port, "/api/echo")):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            if chunked:
                pieces = iter([body[at : at + 70_001] for at in range(0, size, 70_001)])
                headers = {"Transfer-Encoding": "chunked"}
                connection.request("PUT", f"{prefix}/echo-chunked", pieces, headers, encode_chunked=True)
            else:
                connection.request("PUT", f"{prefix}/echo", body)
            response = connection.getresponse()
            answers.append((response.status, response.read()))
            connection.request("GET", f"{prefix}/{'chunked' if chunked else 'bytes'}/{size}")
            response = connection.getresponse()
            answers.append((response.status, response.read()))
        finally:
            connection.close()
    assert answers == [(200, body)] * 4


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_wrk_runs_without_an_error(tmp_path: Path) -> None:
    script = tmp_path / "check.lua"
    script.write_text(
        """
        function response(status, headers, body)
            if status ~= 200 or #body ~= 1000 then io.write("WRONG " .. status .. " " .. #body .. "\\n") end
        end
        function done(summary, latency, requests)
            local e = summary.errors
            io.write("sum ", summary.requests)
            for _, kind in ipairs({"connect", "read", "write", "status", "timeout"}) do io.write(" ", e[kind]) end
            io.write("\\n")
        end
        """
    )
    with Backend() as service, Gateway({"services": {"echo": service}}) as gateway:
        url = f"{gateway.url}/api/echo/bytes/1000"
        command = ["wrk", "--threads", "1", "--connections", "16", "--duration", "1s", "--script", str(script), url]
        done = subprocess.run(command, capture_output=True, timeout=60, check=True, text=True)
        assert "WRONG" not in done.stdout, done.stdout
        summary = next(line for line in done.stdout.splitlines() if line.startswith("sum "))
        requests, *errors = [int(word) for word in summary.split()[1:]]
        assert requests > 10
        assert errors == [0] * 5


# ---- message framing


def test_content_length_stays_and_chunks_stay_chunks(gateway: Gateway) -> None:
    sized = gateway.get("/api/echo/bytes/100000")
    assert sized.get("content-length") == "100000"
    assert sized.get("transfer-encoding") is None
    chunked = gateway.get("/api/echo/chunked/100000")
    assert chunked.get("content-length") is None
    assert chunked.get("transfer-encoding") == "chunked"
    assert chunked.body == sized.body == content(100_000)


@pytest.mark.parametrize("body", [b"", b"x", content(70_000)])
def test_a_request_body_keeps_its_framing(gateway: Gateway, body: bytes) -> None:
    sized = seen(gateway.ask("POST", "/api/echo/x", body=body))
    assert sized["content-length"] == [str(len(body))]
    assert "transfer-encoding" not in sized
    with gateway.wire() as wire:
        wire.send(request("POST", "/api/echo/x", "Transfer-Encoding: chunked"))
        for at in range(0, len(body), 1000):
            piece = body[at : at + 1000]
            wire.send(b'%X;note="a b"\r\n%b\r\n' % (len(piece), piece))
        wire.send(b"0\r\nX-Trailer: dropped\r\n\r\n")
        answer = wire.receive()
        assert answer.json()["length"] == len(body)
        assert seen(answer)["transfer-encoding"] == ["chunked"]
        assert "content-length" not in seen(answer)
        assert wire.ask("GET", "/api/echo/x").status == 200, "the connection goes on after a chunked request"


def test_a_get_gains_no_body(gateway: Gateway) -> None:
    fields = seen(gateway.get("/api/echo/x"))
    assert "content-length" not in fields
    assert "transfer-encoding" not in fields


def test_head_has_the_length_and_no_body(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        answer = wire.ask("HEAD", "/api/echo/bytes/1234")
        assert (answer.status, answer.get("content-length"), answer.get("x-kind")) == (200, "1234", "head")
        assert wire.ask("GET", "/api/echo/bytes/3").body == content(3), "nothing stands between the two responses"


@pytest.mark.parametrize("status", [204, 304])
def test_no_content_and_not_modified(gateway: Gateway, status: int) -> None:
    with gateway.wire() as wire:
        answer = wire.ask("GET", f"/api/echo/status/{status}")
        assert answer.start == f"HTTP/1.1 {status} Fine"
        assert answer.get("etag") == '"x"'
        assert answer.get("transfer-encoding") is None
        assert answer.get("content-length") is None
        assert wire.ask("GET", "/api/echo/bytes/3").body == content(3)


@pytest.mark.parametrize("status", [200, 201, 301, 400, 404, 418, 500, 502, 503, 599])
def test_a_services_status_and_phrase_are_never_altered(gateway: Gateway, status: int) -> None:
    answer = gateway.get(f"/api/echo/status/{status}")
    assert answer.start == f"HTTP/1.1 {status} Said So"
    assert answer.body == b"status %d" % status


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "M-SEARCH"])
def test_every_method_passes(gateway: Gateway, method: str) -> None:
    assert gateway.ask(method, "/api/echo/x").json()["method"] == method


# ---- connections


def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    sizes = [5, 70_000, 0, 3, 200_000, 1, *range(100, 130)]
    with gateway.wire() as wire:
        wire.send(b"".join(request("GET", f"/api/echo/{'chunked' if n % 2 else 'bytes'}/{n}") for n in sizes))
        assert [len(wire.receive().body) for _ in sizes] == sizes


def test_pipelined_posts_keep_their_bodies_apart(gateway: Gateway) -> None:
    bodies = [content(n) for n in (10, 0, 70_000, 3)]
    with gateway.wire() as wire:
        wire.send(b"".join(request("POST", "/api/echo/echo", body=body) for body in bodies))
        assert [wire.receive().body for _ in bodies] == bodies


def test_a_request_in_single_bytes(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request("POST", "/api/echo/echo", body=b"one by one"):
            wire.send(bytes([byte]))
        assert wire.receive().body == b"one by one"


def test_connections_are_reused_on_both_sides(backend: Backend) -> None:
    with Gateway({"services": {"echo": backend}}) as gateway:
        with gateway.wire() as wire:
            for _ in range(50):
                assert wire.ask("GET", "/api/echo/x").status == 200
        for _ in range(5):
            assert gateway.get("/api/echo/x").status == 200
        assert len(backend.requests) == 55
        assert len(backend.connections) == 1


def test_connection_close_is_honoured(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        answer = wire.ask("GET", "/api/echo/bytes/9", "Connection: close")
        assert answer.body == content(9)
        assert answer.get("connection") == "close"
        assert wire.rest() == b""


def test_a_client_that_closes_its_half_still_gets_the_answer(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(request("GET", "/api/echo/bytes/100000"))
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.receive().body == content(100_000)
        assert wire.rest() == b""


def test_http_1_0_gets_a_plain_body_and_a_closed_connection(gateway: Gateway) -> None:
    for target, sized in (("bytes", True), ("chunked", False)):
        with gateway.wire() as wire:
            wire.send(f"GET /api/echo/{target}/70000 HTTP/1.0\r\n\r\n".encode())
            answer = wire.receive()
            assert answer.get("transfer-encoding") is None
            assert (answer.get("content-length") == "70000") is sized
            assert answer.body == content(70_000)
            assert wire.rest() == b""


def test_http_1_0_keep_alive(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        for _ in range(2):
            wire.send(b"GET /api/echo/bytes/5 HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
            answer = wire.receive()
            assert (answer.body, answer.get("connection")) == (content(5), "keep-alive")


# ---- Expect and 1xx


@curl
def test_curl_waits_for_100_continue(gateway: Gateway, tmp_path: Path) -> None:
    body = content(300_000)
    trace = tmp_path / "trace"
    options = ["-H", "Expect: 100-continue", "--expect100-timeout", "25", "-v", "--stderr", str(trace)]
    assert run_curl(f"{gateway.url}/api/echo/echo", *options, "--data-binary", "@-", stdin=body) == body
    assert "HTTP/1.1 100 Continue" in trace.read_text()


def test_100_continue_comes_before_the_body_is_sent(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(request("POST", "/api/echo/echo", "Expect: 100-continue", "Content-Length: 5"))
        assert wire.receive().status == 100
        wire.send(b"hello")
        assert wire.receive().body == b"hello"


def test_a_refused_request_gets_no_100_continue(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(request("POST", "/nowhere", "Expect: 100-continue", "Content-Length: 5"))
        assert wire.receive().status == 404


def test_early_hints_pass_and_a_services_100_does_not(gateway: Gateway, backend: Backend) -> None:
    def hints(connection: Connection) -> None:
        connection.next_request()
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        connection.answer(b"done")

    backend.script = hints
    with Gateway({"services": {"hints": backend}}) as own, own.wire() as wire:
        hint = wire.ask("GET", "/api/hints/x")
        assert (hint.status, hint.get("link")) == (103, "</api/hints/a.css>; rel=preload")
        assert wire.receive().body == b"done"


# ---- header fields


def test_fields_that_the_service_receives(gateway: Gateway, service: Backend) -> None:
    answer = gateway.get("/api/echo/x?a=b", "X-Own: kept", "Host: public.test:81")
    fields = seen(answer)
    assert answer.json()["target"] == "/x?a=b"
    assert fields["host"] == ["public.test:81"]
    assert fields["x-own"] == ["kept"]
    assert fields["x-forwarded-for"] == fields["x-real-ip"] == ["127.0.0.1"]
    assert fields["x-forwarded-proto"] == ["http"]
    assert fields["x-forwarded-host"] == ["public.test:81"]
    assert fields["x-forwarded-port"] == [str(gateway.port)]
    assert fields["x-forwarded-prefix"] == ["/api/echo"]
    assert fields["via"] == ["1.1 portico"]
    assert fields["x-request-id"] == [answer.get("x-request-id")]
    version, trace, span, flags = fields["traceparent"][0].split("-")
    assert (version, len(trace), len(span), len(flags)) == ("00", 32, 16, 2)
    assert int(trace, 16)
    assert int(span, 16)


def test_which_host_the_service_gets(gateway: Gateway, service: Backend) -> None:
    """By default the client's, since the instance is named by an address."""
    own = f"127.0.0.1:{service.port}"
    with gateway.wire() as wire:
        for name, host in (("kept", "public.test:81"), ("own", own), ("echo", "public.test:81"), ("own", own)):
            assert seen(wire.ask("GET", f"/api/{name}/x", "Host: public.test:81"))["host"] == [host]
        wire.send(b"GET /api/echo/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert seen(wire.receive())["host"] == [own], "HTTP/1.0 need not name one"
        wire.send(b"GET /api/echo/x HTTP/1.1\r\nHost: other.test\r\n\r\n")
        assert seen(wire.receive())["host"] == ["other.test"]


def test_request_ids_differ(gateway: Gateway) -> None:
    ids = {gateway.get("/api/echo/x").get("x-request-id") for _ in range(20)}
    assert len(ids) == 20


FORGED = (
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.test",
    "X-Forwarded-Port: 666",
    "X-Forwarded-Prefix: /evil",
    "X-Real-IP: 6.6.6.6",
    "X_Forwarded_For: 6.6.6.6",
    "X_Real-IP: 6.6.6.6",
    "Forwarded: for=6.6.6.6",
    "X-Request-ID: evil-id",
    "traceparent: 00-66666666666666666666666666666666-6666666666666666-01",
    "X-Consumer-Username: evil-root",
    "X-Consumer-Scopes: evil-all",
    "X-Consumer-ID: evil-id",
    "X_Consumer-Custom_ID: evil-id",
    "X-Forwarded-User: evil-root",
    "X_Forwarded_Groups: evil-all",
    "X-Auth-Request-Email: evil-root",
    "Remote-User: evil-root",
    "REMOTE_USER: evil-root",
    "Proxy: http://evil.test",
)


def test_forwarding_fields_of_an_untrusted_client_are_dropped(gateway: Gateway) -> None:
    answer = gateway.get("/api/echo/x", *FORGED)
    received = json.dumps(answer.json()["fields"])
    assert "6.6.6.6" not in received
    assert "evil" not in received
    assert "666" not in received.replace(answer.get("x-request-id") or "", "").replace(str(gateway.port), "")
    assert seen(answer)["x-forwarded-for"] == ["127.0.0.1"]
    assert "evil" not in json.dumps(gateway.get("/api/echo/x", *FORGED, "Connection: X-Hop").json()["fields"])


def test_which_peers_may_report_a_user(backend: Backend) -> None:
    """Trusted proxies; for one field also clients, if the configuration says so, and until it does not any more."""
    sent = ("X-Forwarded-User: ann", "Remote_User: ann", "X-Consumer-ID: 7", "Proxy: http://x", "X-End: 2")
    reported = {"x-forwarded-user": ["ann"], "remote_user": ["ann"]}
    allowed = {"x-consumer-id": ["7"], "x-end": ["2"]}
    names = {*reported, *allowed, "proxy"}

    def received() -> dict[str, list[str]]:
        fields = seen(wire.ask("GET", "/api/echo/x", *sent))
        return {name: values for name, values in fields.items() if name in names}

    services = {"services": {"echo": backend}}
    with Gateway({"gateway": {"pass_headers": ["X-Consumer-ID"]}, **services}) as gateway, gateway.wire() as wire:
        assert received() == received() == allowed
        for settings, expected in (
            ({}, {"x-end": ["2"]}),
            ({"trusted_proxies": ["127.0.0.1"]}, {"x-end": ["2"], **reported}),
        ):
            gateway.write({"gateway": settings, **services})
            assert ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost").status == 200
            assert received() == received() == expected


def test_hop_by_hop_fields_end_here(gateway: Gateway, backend: Backend) -> None:
    fields = seen(
        gateway.get(
            "/api/echo/x",
            "Connection: keep-alive, X-Hop, TE",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "Proxy-Authorization: Basic eA==",
            "TE: trailers",
            "Trailer: X-Late",
            "Upgrade: h2c",
            "X-Hop: 1",
            "X-End: 2",
        )
    )
    gone = {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "upgrade", "x-hop"}
    assert not gone & set(fields)
    assert fields["x-end"] == ["2"]

    def hops(connection: Connection) -> None:
        connection.next_request()
        hop = (
            "Connection: X-Hop, close",
            "Keep-Alive: timeout=9",
            "X-Hop: 1",
            "Proxy-Connection: close",
            "Upgrade: h2c",
        )
        connection.answer(b"hi", "200 OK", *hop, "X-End: 2", "Set-Cookie: a", "Set-Cookie: b", "Server: mine")

    backend.script = hops
    with Gateway({"services": {"hops": backend}}) as own:
        answer = own.get("/api/hops/x")
        for name in ("connection", "keep-alive", "x-hop", "proxy-connection", "upgrade"):
            assert answer.get(name) is None, name
        assert (answer.get("x-end"), answer.get("server")) == ("2", "mine")
        assert answer.all("set-cookie") == ["a", "b"]
        assert answer.get("date")


def test_the_response_has_its_id_and_its_timing(gateway: Gateway) -> None:
    answer = gateway.get("/api/echo/x")
    timing = answer.get("server-timing") or ""
    assert "gateway;dur=" in timing
    assert "upstream;dur=" in timing
    assert len(answer.get("x-request-id") or "") == 32


@pytest.mark.parametrize(
    ("proxies", "sent", "client"),
    [
        (["127.0.0.1/32"], "9.9.9.9, 8.8.8.8", "8.8.8.8"),
        (["127.0.0.1/32", "8.0.0.0/8"], "7.7.7.7, 9.9.9.9, 8.8.8.8", "9.9.9.9"),
        (["127.0.0.1/32", "8.0.0.0/8"], "junk, 8.8.8.8", "8.8.8.8"),
        (["10.0.0.0/8"], "9.9.9.9", "127.0.0.1"),
    ],
)
def test_a_trusted_proxy_is_believed(backend: Backend, proxies: list[str], sent: str, client: str) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    lines = (
        f"X-Forwarded-For: {sent}",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop.test",
        "X-Forwarded-Port: 443",
        "X-Forwarded-Prefix: /outer",
        "X-Request-ID: from-the-edge",
        f"traceparent: 00-{trace}-00f067aa0ba902b7-01",
        "X-Consumer-Username: evil-root",
    )
    with Gateway({"gateway": {"trusted_proxies": proxies}, "services": {"echo": backend}}) as gateway:
        (made,) = seen(gateway.get("/api/echo/x"))["traceparent"]
        assert made.endswith("-00"), "nobody asked for spans of this trace"
        assert until(gateway.log, "the log has a line")[0]["trace_id"] == made.split("-")[1]
        answer = gateway.get("/api/echo/x", *lines)
        fields = seen(answer)
        assert fields["x-real-ip"] == [client]
        assert "x-consumer-username" not in fields
        logged = until(lambda: gateway.log()[1:], "the log has another line")[-1]
        assert logged["client_ip"] == client
        if client == "127.0.0.1":
            assert fields["x-forwarded-for"] == ["127.0.0.1"]
            assert answer.get("x-request-id") != "from-the-edge"
            return
        assert fields["x-forwarded-for"] == [f"{sent}, 127.0.0.1"]
        assert fields["x-forwarded-proto"] == ["https"]
        assert fields["x-forwarded-host"] == ["shop.test"]
        assert fields["x-forwarded-port"] == ["443"]
        assert fields["x-forwarded-prefix"] == ["/outer/api/echo"]
        assert fields["x-request-id"] == [answer.get("x-request-id")] == ["from-the-edge"]
        assert fields["traceparent"] == [f"00-{trace}-00f067aa0ba902b7-01"]
        assert logged["trace_id"] == trace
        assert logged["request_id"] == "from-the-edge"


def test_a_trusted_proxy_may_send_forwarded(backend: Backend) -> None:
    own = {"trusted_proxies": ["127.0.0.1"], "trusted_headers": "forwarded"}
    with Gateway({"gateway": own, "services": {"echo": backend}}) as gateway:
        answer = gateway.get("/api/echo/x", "X-Forwarded-For: 6.6.6.6", 'Forwarded: for="[2001:db8::1]";proto=https')
        seen = dict(answer.json()["fields"])
        assert seen["X-Forwarded-For"] == "[2001:db8::1], 127.0.0.1"
        assert (seen["X-Real-IP"], seen["X-Forwarded-Proto"]) == ("2001:db8::1", "https")
        assert seen["Forwarded"].startswith('for="[2001:db8::1]";proto=https, for=127.0.0.1;proto=http;host=')
        assert gateway.logged(answer.get("x-request-id"))["client_ip"] == "2001:db8::1"


def test_exactly_these_bytes_reach_the_service(gateway: Gateway, service: Backend) -> None:
    """Field lines keep their order, case and inner spaces; the gateway's own stand behind them."""
    lines = b"aCCept:  a,  b\r\nX-B: 1\r\nX-A: 2\r\nX-B: 3\r\n"
    with gateway.wire() as wire:
        wire.send(b"GET /api/echo/raw?x=%20 HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n")
        answer = wire.receive()
    head = next(
        each.head for each in service.requests if dict(each.fields).get("X-Request-ID") == answer.get("x-request-id")
    )
    assert head.startswith(b"GET /raw?x=%20 HTTP/1.1\r\nHost: h\r\n" + lines)


def test_a_dropped_connection_costs_nobody_else(gateway: Gateway) -> None:
    with gateway.wire() as steady:
        for _ in range(20):
            with gateway.wire() as rude:
                rude.send(request("POST", "/api/echo/echo", "Content-Length: 100") + b"part")
            assert steady.ask("GET", "/api/echo/x").status == 200


def test_many_connections_at_once(gateway: Gateway) -> None:
    wires = [Wire(gateway.port) for _ in range(200)]
    try:
        for number, wire in enumerate(wires):
            wire.send(request("GET", f"/api/echo/bytes/{number}"))
        assert [len(wire.receive().body) for wire in wires] == list(range(200))
    finally:
        for wire in wires:
            wire.__exit__(None, None, None)
