"""Clients that want a body to pass by its rule: it must not, whatever they write around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.world import Gateway

TEXT = b'{"secret": 1, "a": 2}'
OPEN = b'{"a": 2}'
JSON = "Content-Type: application/json"
RULE = {"json": {"remove": ["/secret"]}}
PARTS = b"\r\n".join(
    [
        *(b"--x", b"Content-Type: application/json", b"Content-Range: bytes 0-9/21", b"", TEXT[:10]),
        *(b"--x", b"Content-Type: application/json", b"Content-Range: bytes 10-20/21", b"", TEXT[10:], b"--x--", b""),
    ]
)


def serve(connection: Connection) -> None:
    """Sends back what was sent, or the text, or the parts of it that are asked for."""
    while (asked := connection.next_request()) is not None:
        ranges = asked.get("range")
        if asked.body:
            types = [value for name, value in asked.fields if name.lower() == "content-type"]
            connection.answer(asked.body, "200 OK", f"X-Types: {', '.join(types)}")
        elif ranges is None:
            connection.answer(TEXT, "200 OK", JSON, 'ETag: "5"')
        elif "," in ranges:
            connection.answer(PARTS, "206 Partial Content", "Content-Type: multipart/byteranges; boundary=x")
        else:
            connection.answer(TEXT[2:10], "206 Partial Content", JSON, "Content-Range: bytes 2-9/21")
        if not asked.keeps_alive:
            return


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    def route(path: str, transform: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"service": "api", "path": path, "policies": {"transform": transform, **more}}

    typed = {"when": {"status": 200, "content_type": "application/json"}, **RULE}
    with Backend(serve) as backend:
        config = {
            "services": {"api": {"url": backend.url, "health_check": False, "default_routes": False}},
            "routes": [
                route("/any", {"request": [RULE], "response": [RULE]}),
                route("/strict", {"request": [RULE], "response": [RULE], "otherwise": "refuse"}),
                route("/typed", {"response": [typed]}),
                route("/cached", {"response": [typed]}, cache={"ttl": 60}),
                route("/query", {"request": [{"query": {"set": {"a": "1"}}}]}),
            ],
        }
        with Gateway(config) as own:
            yield own


@pytest.mark.parametrize("ranges", ["bytes=2-9", "bytes=0-9,10-20"])
@pytest.mark.parametrize("path", ["/any", "/strict", "/typed", "/cached"])
def test_parts_of_a_response(gateway: Gateway, path: str, ranges: str) -> None:
    for _ in range(2):
        answer = gateway.get(path, f"Range: {ranges}")
        assert (answer.status, answer.body) == (200, OPEN)


def test_a_part_that_there_is_not(gateway: Gateway) -> None:
    for path in ("/any", "/cached"):
        gateway.get(path)
        answer = gateway.get(path, "Range: bytes=5000-")
        assert (answer.status, b"secret" in answer.body) in ((416, False), (200, False))


def test_a_stored_response_has_one_tag(gateway: Gateway) -> None:
    whole = gateway.get("/cached")
    assert whole.get("etag") == 'W/"5"'
    for tag in ('W/"5"', '"5"'):
        answer = gateway.get("/cached", f"If-None-Match: {tag}")
        assert (answer.status, answer.get("etag"), answer.body) == (304, 'W/"5"', b"")
    head = gateway.ask("HEAD", "/cached")
    assert (head.status, head.get("etag"), head.get("content-length")) == (200, 'W/"5"', None)
    assert "hit" in (head.get("cache-status") or "")


@pytest.mark.parametrize("path", ["/any", "/strict"])
@pytest.mark.parametrize(
    "types", [("text/plain", "application/json"), ("application/json", "text/plain"), ("application/json",) * 2]
)
def test_several_types(gateway: Gateway, path: str, types: tuple[str, ...]) -> None:
    refused = gateway.ask("POST", path, *(f"Content-Type: {each}" for each in types), body=TEXT)
    assert (refused.status, refused.json()["reason"]) == (400, "body_invalid")


def test_several_types_where_no_rule_is_for_bodies(gateway: Gateway) -> None:
    passed = gateway.ask("POST", "/query", "Content-Type: text/plain", JSON, body=TEXT)
    assert (passed.body, passed.get("x-types")) == (TEXT, "text/plain, application/json")


@pytest.mark.parametrize("path", ["/any", "/strict"])
def test_a_body_of_which_nothing_is_said(gateway: Gateway, path: str) -> None:
    """FastAPI reads it as JSON, and Python reads JSON in UTF-16 and with NaN."""
    passed = gateway.ask("POST", path, body=TEXT)
    assert (passed.status, passed.body, passed.get("x-types")) == (200, OPEN, "")
    passed = gateway.ask("POST", path, body=b"\x01 no JSON")
    assert (passed.status, passed.body) == (200, b"\x01 no JSON")
    for text in (TEXT.replace(b"1", b"NaN"), TEXT.decode().encode("utf-16"), TEXT.decode().encode("utf-16-be")):
        assert gateway.ask("POST", path, body=text).status == 400


def test_names_in_every_spelling_and_number(gateway: Gateway) -> None:
    text = rb'{"secret":1,"\u0073\u0065cret":2,"a":{"secret":3},"secret":4}'
    assert gateway.ask("POST", "/any", JSON, body=text).body == b'{"a":{"secret":3}}'
    assert gateway.ask("POST", "/any", "Content-Type: Application/JSON ; x=y", body=TEXT).body == OPEN


def test_many_doubled_names(gateway: Gateway) -> None:
    doubled = b"{" + b",".join([b'"secret":1'] * 2000) + b"}"
    assert gateway.ask("POST", "/any", JSON, body=doubled).status == 400
