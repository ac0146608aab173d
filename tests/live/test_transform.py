"""Bodies that rules change, whatever their coding and framing, and what else a message has to have right then."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import brotli
import pytest
from backports import zstd

from support.backend import Backend, Connection
from support.client import request
from support.messages import Message
from support.metrics import metric
from support.waiting import until
from support.websocket import SWITCHING, WebSocket
from support.world import Gateway

TEXT = b'{"id": 990000000262240065, "price": 1.10, "old": "a", "a": []}'
NEW = TEXT.replace(b"old", b"new")
JSON = "Content-Type: application/json"
RULE = {"json": {"rename": {"/old": "new"}}}
QUERY = {"query": {"set": {"by": "{client_ip}"}}}
BOTH = {"request": [RULE], "response": [RULE]}
CODERS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gzip": (gzip.compress, gzip.decompress),
    "br": (brotli.compress, brotli.decompress),
    "zstd": (zstd.compress, zstd.decompress),
    "deflate": (zlib.compress, zlib.decompress),
}


def coded(body: bytes, codings: Sequence[str]) -> bytes:
    for coding in codings:
        body = CODERS[coding][0](body)
    return body


def decoded(message: Message) -> bytes:
    body = message.body
    for coding in reversed((message.get("content-encoding") or "").split(", ")):
        body = CODERS[coding][1](body) if coding else body
    return body


class Service:
    """Answers GETs by what a test has put under their paths, and all else with its own body."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Connection, Message], None]] = {}

    def __call__(self, connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            answer = self.answers.get(asked.target.partition("?")[0])
            if answer is not None:
                answer(connection, asked)
            else:
                connection.answer(asked.body, "200 OK", *(f"{name}: {value}" for name, value in _described(asked)))
            if not asked.keeps_alive:
                return

    def says(self, path: str, body: bytes, *lines: str, status: str = "200 OK", chunked: bool = False) -> None:
        def answer(connection: Connection, asked: Message) -> None:
            if asked.method == "HEAD":
                connection.send(
                    "\r\n".join([f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""]).encode()
                )
            else:
                connection.answer(body, status, *lines, chunked=chunked)

        self.answers[path] = answer


def _described(asked: Message) -> Iterator[tuple[str, str]]:
    yield "X-Got", f"{asked.method} {asked.target}"
    yield "X-Fields", json.dumps({name.lower(): value for name, value in asked.fields})


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


def route(path: str, transform: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"service": "api", "path": path, "rewrite": "keep", "policies": {"transform": transform, **more}}


@pytest.fixture(scope="module")
def shadow() -> Service:
    """What gets copies of requests."""
    return Service()


@pytest.fixture(scope="module")
def gateway(service: Service, shadow: Service) -> Iterator[Gateway]:
    together = {"request": [QUERY, RULE, {"path": "/sent"}], "response": [RULE]}
    beta = {"when": {"headers": {"X-Beta": "1"}}, "query": {"set": {"beta": "1"}}}
    routes = [
        route("/both", BOTH),
        route("/small", {**BOTH, "max_body": 100}),
        route("/strict", {**BOTH, "max_body": 100, "otherwise": "refuse"}),
        {**route("/limited", BOTH), "body_size": 50},
        {"path": "/moved", "redirect": {"to": "/new"}, "policies": {"transform": {"request": [QUERY]}}},
        route("/socket", {"request": [QUERY, {"method": "PUT"}], "response": [RULE]}),
        {
            "split": [{"service": "api", "weight": 50}, {"service": "next", "weight": 50}],
            "mirror": {"service": "shadow", "share": 1},
            **{
                key: value
                for key, value in route("/split", together, compress=True, decompress=True).items()
                if key != "service"
            },
        },
        route("/cached", {"request": [beta], "response": [RULE]}, cache={"ttl": 60}),
        route(
            "/method", {"request": [{"when": {"methods": "POST"}, "method": "GET"}, {"when": {"path": "/"}, **RULE}]}
        ),
    ]
    with Backend(service) as backend, Backend(shadow) as mirrored:
        own = {"url": backend.url, "health_check": False, "default_routes": False}
        services = {"api": own, "next": own, "shadow": {**own, "url": mirrored.url}}
        with Gateway({"services": services, "routes": routes}) as gateway:
            gateway.wait_for_control()
            yield gateway


def fields_of(answer: Message) -> dict[str, str]:
    fields: dict[str, str] = json.loads(answer.get("x-fields") or "{}")
    return fields


# ---- codings


@pytest.mark.parametrize(
    "codings", [["gzip"], ["br"], ["zstd"], ["gzip", "br"], ["deflate"], ["deflate", "gzip"]], ids=" ".join
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_coded_response_is_changed_and_readable(
    gateway: Gateway, service: Service, codings: list[str], chunked: bool
) -> None:
    own = f"Content-Encoding: {', '.join(codings)}"
    service.says("/both/coded", coded(TEXT, codings), JSON, own, 'ETag: "5"', "Vary: Accept-Encoding", chunked=chunked)
    answer = gateway.get("/both/coded")
    assert decoded(answer) == NEW
    assert answer.get("content-encoding") == (None if "deflate" in codings else ", ".join(codings))
    assert (answer.get("etag"), answer.get("vary")) == ('W/"5"', "Accept-Encoding")
    assert answer.get("content-length") == str(len(answer.body))


@pytest.mark.parametrize("codings", [["gzip"], ["br"], ["zstd"], ["gzip", "br"], ["deflate"]], ids=" ".join)
def test_a_coded_request_is_changed_and_readable(gateway: Gateway, codings: list[str]) -> None:
    own = f"Content-Encoding: {', '.join(codings)}"
    answer = gateway.ask("POST", "/both", JSON, own, "Digest: sha-256=x", body=coded(TEXT, codings))
    fields = fields_of(answer)
    got = Message("", [("Content-Encoding", fields.get("content-encoding", ""))], b"", answer.body)
    assert decoded(got) == NEW
    assert fields["content-length"] == str(len(answer.body))
    assert ("digest" in fields, "transfer-encoding" in fields) == (False, False)


def test_an_unknown_coding_passes_and_is_counted(gateway: Gateway, service: Service) -> None:
    service.says("/both/sdch", b"\x01\x02", JSON, "Content-Encoding: sdch", 'ETag: "5"')
    answer = gateway.get("/both/sdch")
    assert (answer.body, answer.get("content-encoding"), answer.get("etag")) == (b"\x01\x02", "sdch", '"5"')
    assert gateway.ask("POST", "/both", JSON, "Content-Encoding: sdch", body=b"\x03").body == b"\x03"
    for direction in ("request", "response"):
        labels = {"service": "api", "direction": direction, "why": "coding"}
        until(lambda labels=labels: metric(gateway, "gateway_transform_skipped_total", **labels), "it is counted")  # type: ignore[misc]


def test_a_body_that_is_not_what_its_coding_says(gateway: Gateway, service: Service) -> None:
    service.says("/both/broken", b"no gzip", JSON, "Content-Encoding: gzip")
    assert gateway.get("/both/broken").body == b"no gzip"
    answer = gateway.ask("POST", "/both", JSON, "Content-Encoding: gzip", body=gzip.compress(TEXT)[:-4])
    assert (answer.status, answer.json()["reason"]) == (400, "body_invalid")


def test_a_bomb_is_too_large(gateway: Gateway, service: Service) -> None:
    bomb = gzip.compress(b'{"old": "' + b" " * 20_000 + b'"}')
    assert len(bomb) < 100
    service.says("/small/bomb", bomb, JSON, "Content-Encoding: gzip")
    assert gateway.get("/small/bomb").body == bomb
    assert gateway.ask("POST", "/small", JSON, "Content-Encoding: gzip", body=bomb).body == bomb
    answer = gateway.ask("POST", "/strict", JSON, "Content-Encoding: gzip", body=bomb)
    assert (answer.status, answer.json()["reason"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("lines", "accepted"),
    [
        (
            ["Accept-Encoding: gzip, deflate, br, zstd, dcb, dcz", "Available-Dictionary: :eA==:"],
            "gzip, deflate, br, zstd",
        ),
        (["Accept-Encoding: compress, *;q=0.5"], "identity"),
        (["Accept-Encoding: GZIP;q=0.5, identity"], "GZIP;q=0.5, identity"),
        ([], None),
    ],
)
def test_a_service_uses_codings_that_can_be_read(gateway: Gateway, lines: list[str], accepted: str | None) -> None:
    for _ in range(2):
        fields = fields_of(gateway.get("/both", *lines))
        assert fields.get("accept-encoding") == accepted
        assert "available-dictionary" not in fields


# ---- requests


@pytest.mark.parametrize("path", ["/both", "/small"])
def test_a_request_that_comes_in_pieces(gateway: Gateway, path: str) -> None:
    with gateway.wire() as wire:
        wire.send(request("POST", path, JSON, "Transfer-Encoding: chunked", "Expect: 100-continue"))
        assert wire.receive().start.startswith("HTTP/1.1 100")
        for byte in TEXT:
            wire.send(b"1\r\n%c\r\n" % byte)
        wire.send(b"0\r\n\r\n")
        answer = wire.receive()
        assert answer.body == NEW
        assert fields_of(answer)["content-length"] == str(len(NEW))
        assert "transfer-encoding" not in fields_of(answer)
        assert wire.ask("POST", path, JSON, body=TEXT).body == NEW


def test_a_large_request_passes_as_it_comes(gateway: Gateway) -> None:
    large = b'{"old": "' + b"x" * 300_000 + b'"}'
    with gateway.wire() as wire:
        wire.send(request("POST", "/small", JSON, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(large), large))
        wire.send(b"1\r\n \r\n0\r\n\r\n")
        answer = wire.receive()
        assert answer.body == large + b" "
        assert fields_of(answer)["transfer-encoding"] == "chunked"
    answer = gateway.ask("POST", "/strict", JSON, body=large)
    assert (answer.status, answer.json()["reason"]) == (413, "body_too_large")


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_body_that_is_too_large_by_its_last_piece(gateway: Gateway, framing: str) -> None:
    large = b'{"old": "' + b"x" * 200 + b'"}'
    for path, status in (("/small", 200), ("/strict", 413)):
        with gateway.wire() as wire:
            if framing == "chunked":
                wire.send(request("POST", path, JSON, "Transfer-Encoding: chunked"))
                wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(large), large))
            else:
                coded_large = gzip.compress(large)
                assert len(coded_large) < 100
                wire.send(request("POST", path, JSON, "Content-Encoding: gzip", f"Content-Length: {len(coded_large)}"))
                wire.send(coded_large)
            answer = wire.receive()
            assert answer.status == status
            assert answer.body == (large if framing == "chunked" else coded_large) or status == 413


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ([JSON, "Incremental: ?1"], TEXT),
        (["Content-Type: text/plain"], TEXT),
        ([], b"old: 1"),
        ([JSON], b""),
        (["Content-Type: application/json-seq"], TEXT),
    ],
)
def test_requests_that_no_rule_is_for(gateway: Gateway, lines: list[str], body: bytes) -> None:
    framing = ["Transfer-Encoding: chunked"] if "Incremental: ?1" in lines or not body else []
    if framing:
        with gateway.wire() as wire:
            wire.send(
                request("POST", "/both", *lines, *framing) + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"")
            )
            wire.send(b"0\r\n\r\n")
            assert wire.receive().body == body
    else:
        assert gateway.ask("POST", "/both", *lines, body=body).body == body


@pytest.mark.parametrize("body", [b"{", b'{"a": 1} x', b"\xff", b"[" * 1000 + b"]" * 1000, b'{"old": NaN}'])
def test_no_json(gateway: Gateway, service: Service, body: bytes) -> None:
    answer = gateway.ask("POST", "/both", JSON, body=body)
    assert (answer.status, answer.json()["reason"]) == (400, "body_invalid")
    service.says("/both/no-json", body, JSON, 'ETag: "5"')
    assert (gateway.get("/both/no-json").body, gateway.get("/both/no-json").get("etag")) == (body, '"5"')


def test_a_client_that_leaves_before_its_body_is_there(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(request("POST", "/both/left", JSON, "Content-Length: 100") + b'{"old"')
    assert gateway.logged_path("/both/left")["reason"] == "client_closed"
    assert gateway.ask("POST", "/both", JSON, body=TEXT).body == NEW


def test_another_method(gateway: Gateway, service: Service) -> None:
    answer = gateway.ask("POST", "/method/x", JSON, body=TEXT)
    assert (answer.get("x-got"), answer.body) == ("GET /method/x", NEW)
    service.says("/method/head", TEXT, JSON)
    with gateway.wire() as wire:
        assert wire.ask("HEAD", "/method/head").get("content-length") == str(len(TEXT))
        assert wire.ask("POST", "/method/head", body=b"").body == TEXT
    assert gateway.logged_path("/method/x")["method"] == "POST"


# ---- responses


def test_what_head_and_304_say_is_true_of_the_changed_body(gateway: Gateway, service: Service) -> None:
    service.says("/both/tag", TEXT, JSON, 'ETag: "5"', "Accept-Ranges: bytes", "Digest: sha-256=x")
    whole, head = gateway.get("/both/tag"), gateway.ask("HEAD", "/both/tag")
    for answer in (whole, head):
        assert (answer.get("etag"), answer.get("accept-ranges"), answer.get("digest")) == ('W/"5"', None, None)
    assert head.get("content-length") in (None, whole.get("content-length"))
    service.answers["/both/tag"] = lambda connection, _: connection.send(b'HTTP/1.1 304 Fine\r\nETag: "5"\r\n\r\n')
    assert gateway.get("/both/tag", 'If-None-Match: W/"5"').get("etag") == 'W/"5"'


def test_a_part_is_asked_for_as_a_whole(gateway: Gateway, service: Service) -> None:
    def answer(connection: Connection, asked: Message) -> None:
        if asked.get("range") is None:
            connection.answer(TEXT, "200 OK", JSON)
        else:
            connection.answer(TEXT[:5], "206 Part", JSON, f"Content-Range: bytes 0-4/{len(TEXT)}")

    service.answers["/both/part"] = answer
    whole = gateway.get("/both/part", "Range: bytes=0-4")
    assert (whole.status, whole.body) == (200, NEW)


def test_a_large_response_passes_as_it_comes(gateway: Gateway, service: Service) -> None:
    large = b'{"old": "' + b"x" * 300_000 + b'"}'
    for chunked in (False, True):
        service.says("/small/large", large, JSON, 'ETag: "5"', chunked=chunked)
        answer = gateway.get("/small/large")
        assert (answer.body, answer.get("etag")) == (large, '"5"')
        assert answer.get("content-length") == (None if chunked else str(len(large)))
        service.says("/strict/large", large, JSON, chunked=chunked)
        refused = gateway.get("/strict/large")
        assert (refused.status, refused.json()["reason"]) == (502, "upstream_malformed")
        assert "http_response_body_size" in (refused.get("proxy-status") or "")


def test_a_stream_is_not_held_back(gateway: Gateway, service: Service) -> None:
    def events(connection: Connection, asked: Message) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.send(b"8\r\ndata: 1\n\r\n")
        assert connection.next_request() is None  # no more comes until the client has left

    service.answers["/both/events"] = events
    with gateway.wire() as wire:
        wire.send(request("GET", "/both/events"))
        head = b""
        while b"data: 1" not in head:
            head += wire.file.read1(65536)


def test_the_gateways_own_errors_are_not_changed(gateway: Gateway, service: Service) -> None:
    service.answers["/both/gone"] = lambda connection, _: connection.reset()
    assert gateway.get("/both/gone").json()["reason"] == "upstream_reset"


# ---- with a cache


def test_a_cache_keeps_apart_what_was_asked_of_the_service(gateway: Gateway, service: Service) -> None:
    seen: list[str] = []

    def answer(connection: Connection, asked: Message) -> None:
        seen.append(asked.target)
        connection.answer(TEXT, "200 OK", JSON, "Cache-Control: public, max-age=60", 'ETag: "5"')

    service.answers["/cached/a"] = answer
    for _ in range(2):
        for lines in ([], ["X-Beta: 1"]):
            got = gateway.get("/cached/a", *lines)
            assert (got.body, got.get("etag"), got.get("vary")) == (NEW, 'W/"5"', "X-Beta")
    assert seen == ["/cached/a", "/cached/a?beta=1"]


# ---- with other parts of a route


def test_a_body_over_the_routes_own_limit(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(request("POST", "/limited", JSON, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(TEXT), TEXT))
        wire.send(b"0\r\n\r\n")
        assert (answer := wire.receive()).status == 413, answer
    assert gateway.ask("POST", "/limited", JSON, body=TEXT).status == 413
    assert gateway.ask("POST", "/limited", JSON, body=b'{"old": 1}').body == b'{"new": 1}'


def test_a_redirect_has_the_changed_query(gateway: Gateway) -> None:
    assert gateway.get("/moved?by=me&a=1").get("location") == "/new?by=127.0.0.1&a=1"


def test_a_websocket_opens_with_the_changed_query(gateway: Gateway, service: Service) -> None:
    def accept(connection: Connection, asked: Message) -> None:
        assert (asked.method, asked.target) == ("GET", "/socket?by=127.0.0.1")
        connection.send(SWITCHING)

    service.answers["/socket"] = accept
    with WebSocket(gateway.port, "/socket?by=me"):
        pass


def test_a_client_of_http_1_0_gets_a_whole_message(gateway: Gateway, service: Service) -> None:
    service.says("/both/old", TEXT, JSON, chunked=True)
    with gateway.wire() as wire:
        wire.send(b"GET /both/old HTTP/1.0\r\n\r\n")
        answer = wire.receive()
        assert (answer.body, answer.get("content-length")) == (NEW, str(len(NEW)))


def test_a_retry_sends_what_was_made(gateway: Gateway, service: Service) -> None:
    seen: list[bytes] = []

    def answer(connection: Connection, asked: Message) -> None:
        seen.append(asked.body)
        if len(seen) == 1:
            connection.reset()
        else:
            connection.answer(asked.body)

    service.answers["/both/again"] = answer
    assert gateway.ask("PUT", "/both/again", JSON, body=TEXT).body == NEW
    assert seen == [NEW, NEW]


def test_rules_beside_a_split_a_mirror_and_compression(gateway: Gateway, service: Service, shadow: Service) -> None:
    copies: list[tuple[str, bytes]] = []
    large = json.dumps({"old": "x" * 4000}).encode()
    service.says("/sent", large, JSON, 'ETag: "5"')

    def copied(connection: Connection, asked: Message) -> None:
        copies.append((asked.target, asked.body))
        connection.answer(b"")

    shadow.answers["/sent"] = copied
    for coding in ["gzip", "br", "identity"] * 2:
        own = coded(TEXT, [coding] if coding in CODERS else [])
        answer = gateway.ask(
            "POST", "/split?by=me", JSON, "Accept-Encoding: gzip", f"Content-Encoding: {coding}", body=own
        )
        assert (answer.get("content-encoding"), decoded(answer)) == ("gzip", large.replace(b"old", b"new"))
    until(lambda: len(copies) == 6, "all copies have come")
    assert set(copies) == {("/sent?by=127.0.0.1", NEW)}
