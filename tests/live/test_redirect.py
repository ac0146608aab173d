"""The port that sends everybody to HTTPS."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from support.authority import Authority, Leaf
from support.client import Wire, request
from support.messages import Message
from support.world import Gateway, until


@pytest.fixture(scope="module")
def leaf(tmp_path_factory: pytest.TempPathFactory) -> Leaf:
    return Authority(tmp_path_factory.mktemp("tls")).leaf("own", "localhost")


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def gateway(request: pytest.FixtureRequest, leaf: Leaf) -> Iterator[Gateway]:
    tls = {**leaf.written, "redirect_from": 0}
    limits = {"header_timeout": "2s", "url_length": 512}
    with Gateway({"gateway": {"tls": tls, "workers": request.param, "limits": limits}}) as own:
        yield own


def ask(gateway: Gateway, data: bytes, method: str = "GET") -> Message:
    with Wire(gateway.redirecting_port) as wire:
        wire.send(data)
        return wire.receive(method)


@pytest.mark.parametrize(
    ("data", "location"),
    [
        (request("GET", "/"), "gateway.test:{port}/"),
        (request("GET", "/a%2Fb//c?d=e&f=%0d%0a"), "gateway.test:{port}/a%2Fb//c?d=e&f=%0d%0a"),
        (request("POST", "/form", body=b"content"), "gateway.test:{port}/form"),
        (request("GET", "/", "Host: example.com:80"), "example.com:{port}/"),
        (request("GET", "/", "Host: [2001:db8::80]"), "[2001:db8::80]:{port}/"),
        (request("GET", "/", "Host: [2001:db8::1]:80"), "[2001:db8::1]:{port}/"),
        (request("GET", "//evil.test/"), "gateway.test:{port}//evil.test/"),
        (b"GET http://absolute.test/x HTTP/1.1\r\nHost: absolute.test\r\n\r\n", "absolute.test:{port}/x"),
        (b"GET /old HTTP/1.0\r\nHost: old.test\r\n\r\n", "old.test:{port}/old"),
    ],
)
def test_everything_is_redirected(gateway: Gateway, data: bytes, location: str) -> None:
    answer = ask(gateway, data)
    assert (answer.status, answer.body) == (308, b"")
    assert answer.get("location") == "https://" + location.format(port=gateway.port)
    assert gateway.logged(answer.get("x-request-id"))["status_code"] == 308


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", 400),
        (request("GET", "/", "Host: a b"), 400),
        (request("GET", "/../x"), 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (request("GET", "/" + "x" * 600), 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", 408),
    ],
)
def test_it_is_as_strict_as_the_gateway(gateway: Gateway, data: bytes, status: int) -> None:
    answer = ask(gateway, data)
    assert answer.status == status
    assert answer.get("content-type") == "application/problem+json"
    assert gateway.logged(answer.get("x-request-id"))["status_code"] == status


def test_probes_are_answered(gateway: Gateway) -> None:
    assert ask(gateway, request("GET", "/livez")).json() == {"status": "alive"}
    assert ask(gateway, request("GET", "/readyz")).json() == {"status": "ready"}
    assert ask(gateway, request("HEAD", "/livez"), "HEAD").status == 200
    assert ask(gateway, request("POST", "/livez")).status == 308


def test_a_connection_is_kept(gateway: Gateway) -> None:
    with Wire(gateway.redirecting_port) as wire:
        for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
            assert wire.ask(method, "/x").status == 308


@pytest.mark.parametrize(("port", "shown"), [(443, ""), (8443, ":8443")])
def test_the_port_that_clients_see(leaf: Leaf, port: int, shown: str) -> None:
    tls = {**leaf.written, "redirect_from": 0, "redirect_to": port}
    with Gateway({"gateway": {"tls": tls}}) as own:
        answer = ask(own, request("GET", "/x", "Host: a.test:8080"))
        assert answer.get("location") == f"https://a.test{shown}/x"


def test_it_drains_with_the_gateway(leaf: Leaf) -> None:
    with Gateway({"gateway": {"tls": {**leaf.written, "redirect_from": 0}}}) as own, Wire(own.redirecting_port) as wire:
        assert wire.ask("GET", "/x").status == 308
        own.stop()
        assert wire.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            Wire(own.redirecting_port)


def test_a_port_that_is_taken_is_reported_in_one_line(leaf: Leaf) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        own = Gateway({"gateway": {"tls": {**leaf.written, "redirect_from": port}}}, wait=False)
        own.exit_code, own.clean = 1, False
        with own:
            until(lambda: own.running.poll() is not None, "it gives up")
            (line,) = [line for line in own.err().splitlines() if not line.startswith("warning: ")]
            assert f"cannot listen on 127.0.0.1:{port}" in line
            assert "gateway.tls.redirect_from" in line
