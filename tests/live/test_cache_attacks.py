"""Attacks on the cache through a gateway that runs: nobody gets what was another's, or what never was whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.authority import Authority
from support.backend import Backend, Connection, Script
from support.messages import Message
from support.redis_servers import RedisServer
from support.tokens import SECRET, bearer, token
from support.world import Gateway, until

ANN, BOB = bearer(token(sub="ann")), bearer(token(sub="bob"))
FRESH = "Cache-Control: max-age=60"


class Service:
    """Answers by the script of the moment."""

    def __init__(self) -> None:
        self.reply: Script = lambda connection: connection.answer(b"ok")

    def __call__(self, connection: Connection) -> None:
        while connection.next_request() is not None:
            self.reply(connection)


@pytest.fixture(scope="module", params=["memory", "redis"])
def world(request: pytest.FixtureRequest) -> Iterator[tuple[Gateway, Backend, Service]]:
    service, store = Service(), request.param
    with RedisServer() as redis, Backend(service) as backend:
        routes = {
            "/open": {"cache": {"store": store}},
            "/small": {"cache": {"store": store, "max_object": 2_000_000}},
            "/own": {"cache": {"store": store}, "auth": {"jwt": {"secret": SECRET}}},
        }
        config = {
            "gateway": {"workers": 1, "redis_url": redis.url, "cache": {"redis_timeout": "500ms"}},
            "services": {"s": backend},
            "routes": [{"service": "s", "path": path, "policies": policies} for path, policies in routes.items()],
        }
        with Gateway(config) as gateway:
            yield gateway, backend, service


World = tuple[Gateway, Backend, Service]


def asked(connection: Connection) -> Message:
    return connection.requests[-1]


def test_validators_of_one_consumer_fetch_nothing_of_another(world: World) -> None:
    """The versions of two carts are the same number now and then."""
    gateway, _, service = world
    versions = {ANN: 1, BOB: 7}

    def cart(connection: Connection) -> None:
        who = "Authorization: " + str(asked(connection).get("authorization"))
        tag, name = f'"{versions[who]}"', b"ann" if who == ANN else b"bob"
        if tag in (asked(connection).get("if-none-match") or ""):
            connection.send(f"HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n\r\n".encode())
        else:
            connection.answer(name, "200 OK", f"ETag: {tag}", "Cache-Control: max-age=0")

    service.reply = cart
    for who, name in ((ANN, b"ann"), (BOB, b"bob")):
        assert gateway.get("/own/cart", who).body == name
    versions[ANN] = 7
    assert gateway.get("/own/cart", ANN).body == b"ann"


def test_one_that_accepts_no_coding_gets_none(world: World) -> None:
    """Services that have one tag for all codings."""
    gateway, _, service = world
    version = [1]

    def page(connection: Connection) -> None:
        tag = f'"{version[0]}"'
        is_coded = "gzip" in (asked(connection).get("accept-encoding") or "")
        coding = ["Content-Encoding: gzip"] if is_coded else []
        lines = [f"ETag: {tag}", "Cache-Control: max-age=0", "Vary: Accept-Encoding", *coding]
        if tag in (asked(connection).get("if-none-match") or ""):
            connection.send("\r\n".join(["HTTP/1.1 304 Not Modified", *lines, "", ""]).encode())
        else:
            connection.answer(b"gz" if is_coded else b"plain", "200 OK", *lines)

    service.reply = page
    assert gateway.get("/open/coded").body == b"plain"
    version[0] = 2
    assert gateway.get("/open/coded", "Accept-Encoding: gzip").body == b"gz"
    assert gateway.get("/open/coded").body == b"plain"


@pytest.mark.parametrize(
    ("line", "status"),
    [("Range: bytes=900-", "416 No"), ("Range: bytes=x", "400 No"), ('If-Match: "x"', "412 No")],
)
def test_refusals_of_what_one_request_wanted_are_for_nobody_else(world: World, line: str, status: str) -> None:
    gateway, _, service = world
    name, path = line.partition(":")[0], f"/open/refused-{status[:3]}"

    def picky(connection: Connection) -> None:
        if asked(connection).get(name):
            connection.answer(b"no", status, FRESH)
        else:
            connection.answer(b"yes", "200 OK", FRESH)

    service.reply = picky
    assert gateway.get(path, line).body == b"no"
    assert gateway.get(path).body == b"yes"


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X_HTTP_Method_Override"])
def test_another_method_than_is_written(world: World, name: str) -> None:
    gateway, _, service = world
    service.reply = lambda connection: connection.answer(
        (asked(connection).get(name) or "GET").encode(), "200 OK", FRESH
    )
    for _ in range(2):
        assert gateway.get(f"/open/{name}", f"{name}: DELETE").body == b"DELETE"
        assert gateway.get(f"/open/{name}").body == b"GET"


@pytest.mark.parametrize("end", [Connection.close, Connection.reset])
@pytest.mark.parametrize(
    "sent",
    [
        b"Content-Length: 10\r\n\r\n12345",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\nbad trailer\r\n\r\n",
        b"Transfer-Encoding: gzip\r\n\r\n12345",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n12345",
    ],
)
def test_what_breaks_off_is_not_served_again(world: World, sent: bytes, end: Script) -> None:
    gateway, _, service = world
    answers = iter([b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n" + sent])

    def cut(connection: Connection) -> None:
        head = next(answers, b"")
        if head:
            connection.send(head)
            end(connection)
        else:
            connection.answer(b"whole", "200 OK", FRESH)

    service.reply = cut
    path = f"/open/cut-{end.__name__}-{sent.hex()}"
    with gateway.wire() as wire:
        wire.send(f"GET {path} HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n".encode())
        wire.rest()
    assert gateway.get(path).body == b"whole"


@pytest.mark.parametrize("chunked", [False, True])
def test_as_much_is_stored_as_may_be(world: World, chunked: bool) -> None:
    gateway, _, service = world
    size = 0
    service.reply = lambda connection: connection.answer(b"x" * size, "200 OK", FRESH, chunked=chunked)

    def is_hit() -> bool:
        response = gateway.get(f"/small/{size}?{chunked}")
        assert len(response.body) == size
        return "hit" in (response.get("cache-status") or "")

    for size in (0, 2_000_001, 2_000_000):
        if size <= 2_000_000:
            until(is_hit, "it is stored")
        else:
            assert not is_hit()
    size = 2_000_001
    assert not is_hit()


@pytest.mark.parametrize(
    "lines",
    [["Host: a.example", "X-Forwarded-Host: b.example"], ["Host: b.example", "X-Forwarded-Prefix: /x"]],
    ids=["host", "prefix"],
)
def test_what_clients_report_through_a_trusted_proxy_stores_no_page_under_the_url_of_another(lines: list[str]) -> None:
    with Backend() as backend:
        routes = [{"service": "s", "path": "/", "policies": {"cache": {"ttl": 60}}}]
        config = {"gateway": {"trusted_proxies": ["127.0.0.1"]}, "services": {"s": backend}, "routes": routes}
        with Gateway(config) as gateway:
            target = "/y" if "Prefix" in lines[1] else "/x/y"
            gateway.ask("GET", target, *lines)
            seen = gateway.ask("GET", "/x/y", "Host: b.example").json()
            assert (seen["target"], dict(seen["fields"])["Host"]) == ("/x/y", "b.example")


def test_what_ends_with_a_connection_by_tls_is_not_stored(tmp_path: Path) -> None:
    """Anybody on the way can end the connection, and services do not say that they did."""
    authority = Authority(tmp_path)

    def until_close(connection: Connection) -> None:
        connection.next_request()
        connection.send(f"HTTP/1.1 200 OK\r\n{FRESH}\r\n\r\npart".encode())

    with Backend(until_close, tls=authority.server_context(authority.leaf("own", "localhost"))) as backend:
        service = {"url": f"https://localhost:{backend.port}", "tls": {"ca": str(authority.ca)}, "health_check": False}
        with Gateway({"services": {"s": {**service, "policies": {"cache": True}}}}) as gateway:
            for _ in range(2):
                response = gateway.get("/api/s/x")
                assert response.get("cache-status") == "portico; fwd=uri-miss; detail=until-close"
