"""Routes that answer themselves: they pass the policies that hold for them, and are seen like all others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.backend import Backend
from support.client import ask
from support.tokens import bearer, token
from support.world import Gateway, until

SECRET = "0123456789abcdef0123456789abcdef"
CORS = {"allow_origins": ["https://app.example"]}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "page.html"
    path.write_text("<h1>Hellø</h1>")
    return path


@pytest.fixture(scope="module")
def gateway(page: Path) -> Iterator[Gateway]:
    def answer(path: str, **given: Any) -> dict[str, Any]:
        return {"path": path, **given}

    routes = [
        answer("/text", respond={"body": "hello", "headers": {"X-Own": "1"}}, name="text"),
        answer("/empty", respond=204),
        answer("/page", respond={"file": str(page)}),
        answer("/closed", respond={"body": "secret"}, policies={"auth": {"jwt": {"secret": SECRET}}}),
        answer("/limited", respond=200, policies={"rate_limit": {"requests_per_minute": 1, "burst": 2}}),
        answer("/cors", respond={"body": "x"}, policies={"cors": CORS}),
        answer("/headers", redirect="/text", policies={"headers": {"response": {"set": {"X-Id": "{request_id}"}}}}),
        answer("/reads", respond=200, methods=["GET"]),
        answer("/moved", redirect="/to/{path}"),
        answer("/host", redirect={"to": "https://{host}{path}", "status": 301}),
        answer("~ ^/u/(?P<id>[^/]+)$", redirect="/users/{id}?from={id}"),
        answer("~ ^/go(?P<rest>.*)$", redirect="/{rest}"),
        {"service": "echo", "path": "/echo"},
    ]
    gateway = {"trusted_proxies": ["127.0.0.1"], "workers": 2}
    with Backend() as service, Gateway({"gateway": gateway, "services": {"echo": service}, "routes": routes}) as own:
        yield own


def test_what_is_written_is_sent(gateway: Gateway, page: Path) -> None:
    text = gateway.get("/text/below?x")
    assert (text.status, text.body, text.get("x-own")) == (200, b"hello", "1")
    assert (text.get("content-type"), text.get("content-length")) == ("text/plain; charset=utf-8", "5")
    assert text.get("date")
    assert text.get("x-request-id")
    head = gateway.ask("HEAD", "/text")
    assert (head.status, head.body, head.get("content-length")) == (200, b"", "5")
    html = gateway.get("/page")
    assert (html.body, html.get("content-type")) == (page.read_bytes(), "text/html; charset=utf-8")
    empty = gateway.get("/empty")
    assert (empty.status, empty.get("content-length"), empty.get("content-type")) == (204, None, None)


def test_a_body_is_not_waited_for(gateway: Gateway) -> None:
    """One that came with its head leaves the connection usable; before a long one has come the answer is there."""
    with gateway.wire() as wire:
        for body in (b"x" * 10, b"", b"x" * 1000):
            assert wire.ask("POST", "/text", body=body).body == b"hello"
        long = wire.ask("POST", "/text", body=b"x" * 1_000_000)
        assert (long.body, long.get("connection")) == (b"hello", "close")


def test_policies_come_first(gateway: Gateway) -> None:
    refused = gateway.get("/closed")
    assert (refused.status, refused.json()["reason"]) == (401, "credentials_missing")
    assert gateway.get("/closed", bearer(token(SECRET))).body == b"secret"
    limited = [gateway.get("/limited").status for _ in range(3)]
    assert limited == [200, 200, 429]
    origin = "https://app.example"
    preflight = gateway.ask("OPTIONS", "/cors", f"Origin: {origin}", "Access-Control-Request-Method: GET")
    for answer in (preflight, gateway.get("/cors", f"Origin: {origin}")):
        assert answer.get("access-control-allow-origin") == origin
    redirected = gateway.get("/headers")
    assert redirected.get("x-id") == redirected.get("x-request-id")
    assert gateway.ask("POST", "/reads").get("allow") == "GET, HEAD"


def test_logs_and_metrics_name_the_route_and_the_gateway(gateway: Gateway) -> None:
    record = gateway.logged(gateway.get("/text?a=b").get("x-request-id"))
    assert (record["route"], record["service"], record["upstream"], record["path"]) == (
        "text",
        "gateway",
        None,
        "/text",
    )
    assert gateway.logged(gateway.get("/moved").get("x-request-id"))["route"] == "redirect-2"
    gateway.wait_for_control()
    metrics = gateway.get("/metrics").body.decode()
    assert 'gateway_requests_total{method="GET",service="gateway",status="307"}' in metrics


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/moved/x?y", "/to/x?y"),
        ("/moved//evil.example/x", "/to//evil.example/x"),
        ("/go/x", "/x"),
        ("/go//evil.example", "/evil.example"),
        ("/go///evil.example", "/evil.example"),
        ("/go\\\\evil.example", "/evil.example"),
        ("/go/\\evil.example", "/evil.example"),
        ("/go%2F%2Fevil.example", "/%2F%2Fevil.example"),
        ("/go@evil.example", "/@evil.example"),
        ("/u/a&b+c=d?e", "/users/a&b+c=d?from=a%26b%2Bc=d"),
    ],
)
def test_no_path_chooses_the_host(gateway: Gateway, target: str, location: str) -> None:
    answer = gateway.get(target)
    assert (answer.status, answer.get("location")) == (307, location)


def test_a_redirect_is_one_for_the_client_of_a_proxy(gateway: Gateway) -> None:
    """What trusted proxies took off, and the name that they were asked for."""
    assert gateway.get("/moved/x", "X-Forwarded-Prefix: /outer").get("location") == "/outer/to/x"
    host = gateway.get("/host/x", "X-Forwarded-Host: public.example:8443", "X-Forwarded-Prefix: /outer")
    assert (host.status, host.get("location")) == (301, "https://public.example/x")
    assert gateway.get("/host/", "Host: [::1]:80").get("location") == "https://[::1]/"


def test_a_redirect_to_the_same_host_needs_one(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(b"GET /host/x HTTP/1.0\r\n\r\n")
        answer = wire.receive()
    assert (answer.status, answer.json()["reason"]) == (400, "malformed_request")


@pytest.mark.parametrize("host", ["evil.example/", "a b", "a@b", "a?b", "a#b", "a\\b", "a,b"])
def test_no_host_field_makes_another_url(gateway: Gateway, host: str) -> None:
    answer = gateway.get("/host/x", f"Host: {host}")
    assert answer.status == 400 or (answer.get("location") or "").endswith("/x")
    assert not set("/ @?#\\") & set((answer.get("location") or "https://x/x")[len("https://") : -len("/x")])


def test_a_reload_reads_the_file_anew_and_refuses_one_that_is_gone(tmp_path: Path) -> None:
    page = tmp_path / "robots.txt"
    page.write_text("one")
    config = {"routes": [{"path": "= /robots.txt", "respond": {"file": str(page)}}]}
    with Gateway(config, command=("run", "--reload")) as gateway:
        gateway.clean = False
        gateway.wait_for_control()
        assert gateway.get("/robots.txt").body == b"one"
        page.write_text("another")
        until(lambda: gateway.get("/robots.txt").body == b"another", "the changed file is served")
        page.unlink()
        refused = ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost")
        assert refused.status == 422
        assert "robots.txt: No such file or directory" in refused.json()["detail"]
        assert gateway.get("/robots.txt").body == b"another"
