"""What nginx asks other services beside a route's own, as `portico render nginx` says it: the same as Portico does."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import pytest

from live.render_beside import load
from live.test_render_nginx import start_nginx
from portico.render import render_nginx
from support.backend import Backend, Connection, described
from support.client import Wire, request
from support.messages import Message
from support.process import free_port
from support.site import program
from support.waiting import until
from support.world import Gateway

pytestmark = pytest.mark.skipif(program("nginx") is None, reason="nginx is not installed")

CORS: Final = {"cors": {"allow_origins": ["https://app.example.com"]}}
PAGE: Final = {
    "html": {"body": '<style>b {color: red}</style><b>{status} {title}</b> "$host" \\n {request_id}'},
    "json": {"error": {"code": "{status}", "why": "{title} $1"}},
}
REFUSED: Final = [{"when": {"headers": {"X-Bad": True}}}]
UNLIKE: Final = frozenset({"x-forwarded-port", "x-forwarded-host", "x-original-url", "x-request-id", "traceparent"})
"""Fields of requests that are not the same with two gateways."""


def service(connection: Connection) -> None:
    """Answers what the query says, or what it got."""
    while (asked := connection.next_request()) is not None:
        said = parse_qsl(asked.target.partition("?")[2])
        status = dict(said).get("status", "200")
        body = b"" if asked.method == "HEAD" else described(asked, connection.backend)
        fields = (f"{name}: {value}" for name, value in said if name != "status")
        connection.answer(body, f"{status} Said", "Content-Type: application/json", *fields)


@dataclass(frozen=True)
class World:
    nginx: int
    portico: int
    service: Backend
    asked: Backend
    other: Backend

    def both(self, target: str, *lines: str, method: str = "GET", body: bytes | None = None) -> tuple[Message, Message]:
        """What nginx answers, and Portico."""
        return self.ask(self.nginx, target, *lines, method=method, body=body), self.ask(
            self.portico, target, *lines, method=method, body=body
        )

    def ask(self, port: int, target: str, *lines: str, method: str = "GET", body: bytes | None = None) -> Message:
        with Wire(port) as wire:
            wire.send(request(method, target, *lines, host="gateway.test", body=body))
            return wire.receive(method)


def configuration(services: dict[str, str], asked: str) -> dict[str, Any]:
    """Routes whose requests other services get, too."""

    def guarded(path: str, query: str, **more: Any) -> dict[str, Any]:
        forward = {"url": f"{asked}/check?{query}", "pass_headers": ["X-User"], **more}
        return {"path": path, "service": "own", "policies": {"auth": {"forward": forward}, **CORS}}

    both, to_other = {"instances": [{"url": url} for url in services.values()]}, {"service": "other"}
    return {
        "services": {
            "own": {"url": services["own"], "default_routes": False},
            "other": {"url": services["other"], "default_routes": False},
            "both": {**both, "default_routes": False, "sticky": {"cookie": "auto", "max_age": 60}},
        },
        "routes": [
            guarded("/open", "X-User=alice"),
            guarded("/few", "X-User=alice", request_headers=["X-Key", "Cookie"]),
            guarded("/broken", "status=500"),
            guarded("/late", "status=429&Retry-After=7"),
            {"path": "/copied", "service": "own", "mirror": {**to_other, "remove_headers": ["X-Key"]}},
            {
                "path": "/copied-posts",
                "service": "own",
                "mirror": {"service": "other", "methods": ["POST"], "max_body": 5},
            },
            {"path": "/paged", "service": "own", "policies": {"errors": {"4xx": PAGE}, "deny": REFUSED}},
            {"path": "/broken-page", "service": "own", "policies": {"errors": {"5xx": {**PAGE, "intercept": True}}}},
            {"path": "/stays", "service": "both"},
            {"path": "/packed", "service": "own", "policies": {"compress": {"encodings": ["gzip"], "cookies": True}}},
            {"path": "/stored", "service": "own", "policies": {"cache": {"ttl": 60, "key": {"cookies": ["lang"]}}}},
        ],
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        own, asked, other = (stack.enter_context(Backend(service)) for _ in range(3))
        written, port = configuration({"own": own.url, "other": other.url}, asked.url), free_port()
        own_gateway = {"host": "127.0.0.1", "port": port, "log": {"access": "off"}, "trusted_proxies": ["127.0.0.0/8"]}
        rendering = render_nginx(load({**written, "gateway": own_gateway}, port))
        assert [loss.what for loss in rendering.losses] == ["gateway.trusted_proxies"]
        stack.enter_context(start_nginx(rendering, port, tmp_path_factory.mktemp("nginx")))
        unchecked = {name: {**each, "health_check": False} for name, each in written["services"].items()}
        trusting = {"trusted_proxies": own_gateway["trusted_proxies"]}
        gateway = stack.enter_context(Gateway({**written, "services": unchecked, "gateway": trusting}))
        gateway.clean = False  # it reports the service that breaks
        yield World(port, gateway.port, own, asked, other)


class Taken(NamedTuple):
    """A request as a service got it."""

    method: str
    target: str
    fields: dict[str, str]
    size: int


def taken(backend: Backend, count: int) -> list[Taken]:
    """The requests that a service got, at least so many, since this was asked before."""
    until(lambda: len(backend.requests) >= count, f"{count} requests")
    with backend.lock:
        found, backend.requests[:] = [*backend.requests], []
    return [Taken(each.method, each.target, _fields(each), len(each.body)) for each in found]


def _fields(message: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in message.fields if name.lower() not in UNLIKE}


FIELDS: Final = ("Cookie: a=b", "Authorization: Basic x", "X-Key: 1", "X-User: root", "X-Other: 2", "Accept: */*")


@pytest.mark.parametrize("path", ["/open", "/few"])
def test_a_service_is_asked_with_the_same_fields(world: World, path: str) -> None:
    taken(world.asked, 0)
    answers = world.both(f"{path}/x?y=1", *FIELDS, "Content-Type: text/plain", method="POST", body=b"abc")
    assert [answer.status for answer in answers] == [200, 200]
    nginx, portico = taken(world.asked, 2)
    nginx.fields.pop("connection", None)
    assert nginx == portico
    assert [dict(answer.json()["fields"])["X-User"] for answer in answers] == ["alice", "alice"]


@pytest.mark.parametrize(("path", "status", "after"), [("/broken", 503, "5"), ("/late", 429, "7")])
def test_pages_can_read_a_refusal(world: World, path: str, status: int, after: str) -> None:
    for answer in world.both(f"{path}/x", "Origin: https://app.example.com"):
        assert answer.status == status
        assert answer.get("retry-after") == after
        assert answer.get("access-control-allow-origin") == "https://app.example.com"


CHAIN: Final = "X-Forwarded-For: 192.0.2.7, 127.0.0.2"


@pytest.mark.parametrize(
    "lines",
    [
        (CHAIN, "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example", "X-Forwarded-Prefix: /outer/"),
        (CHAIN, "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example:8443"),
        ("X-Forwarded-Proto: https, http", "X-Forwarded-Host: shop.example, inner", "X-Forwarded-Port: 8443"),
        ("X-Forwarded-Proto: wss", "X-Forwarded-Port: 0", "X-Forwarded-Prefix: /a/../b"),
        ("X-Forwarded-Proto: gopher", "X-Forwarded-Host: a b", "X-Forwarded-Prefix: evil"),
        ("X-Forwarded-Host: [::1]:81", "X-Forwarded-Prefix: /a%0A"),
    ],
)
@pytest.mark.parametrize("path", ["/copied", "/open"])
def test_proxies_in_front_are_believed(world: World, path: str, lines: tuple[str, ...]) -> None:
    told = []
    for answer in world.both(f"{path}/x?y=1", *lines):
        fields = {name.lower(): value for name, value in answer.json()["fields"]}
        told.append({name: value for name, value in fields.items() if name.startswith(("x-forwarded", "x-real"))})
    nginx, portico = told
    for fields, port in ((nginx, world.nginx), (portico, world.portico)):
        if fields["x-forwarded-port"] == str(port):
            fields["x-forwarded-port"] = "own"
    assert nginx == portico


def test_nobody_gets_to_where_a_service_is_asked(world: World) -> None:
    assert world.ask(world.nginx, "/.portico/auth").status == 404


def test_copies_are_the_same(world: World) -> None:
    taken(world.other, 0)
    world.both("/copied/x?y=%2F", *FIELDS, method="POST", body=b"abc")
    nginx, portico = taken(world.other, 2)
    for copy in (nginx, portico):
        copy.fields.pop("connection", None)
    assert nginx == portico
    assert (nginx.method, nginx.target, nginx.size) == ("POST", "/x?y=%2F", len(b"abc"))


def test_what_is_not_copied_is_the_same(world: World) -> None:
    taken(world.other, 0)
    world.both("/copied-posts/get")
    world.both("/copied-posts/long", method="POST", body=b"123456")
    world.both("/copied-posts/short", method="POST", body=b"12345")
    assert [each.target for each in taken(world.other, 2)] == ["/short", "/short"]


def test_clients_stay_with_an_instance(world: World) -> None:
    for port in (world.nginx, world.portico):
        first = world.ask(port, "/stays/x")
        cookie, *attributes = str(first.get("set-cookie")).split("; ")
        assert attributes == ["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=60"]
        later = [world.ask(port, "/stays/x", f"Cookie: {cookie}") for _ in range(8)]
        assert {answer.get("set-cookie") for answer in later} == {None}
        assert len({dict(answer.json()["fields"])["Host"] for answer in later}) == 1


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "application/json"),
    ],
)
@pytest.mark.parametrize(("target", "status"), [("/paged/x", 403), ("/broken-page/x?status=502", 502)])
def test_pages_are_the_same(world: World, target: str, status: int, accept: str, kind: str) -> None:
    nginx, portico = world.both(target, f"Accept: {accept}", "X-Bad: 1", "Origin: https://app.example.com")
    for answer in (nginx, portico):
        assert answer.status == status
        assert answer.get("content-type") == kind
        assert "Accept" in str(answer.get("vary"))
    texts = [answer.body.decode().replace(str(answer.get("x-request-id")), "ID") for answer in (nginx, portico)]
    assert texts[0] == texts[1]


def test_an_error_of_the_service_stays_its_own(world: World) -> None:
    for answer in world.both("/paged/x?status=404", "Accept: text/html"):
        assert answer.status == 404
        assert answer.json()["target"] == "/x?status=404"


def test_responses_are_compressed(world: World) -> None:
    for answer in world.both("/packed/x", "Accept-Encoding: gzip", f"X-Long: {'a' * 2000}"):
        assert answer.get("content-encoding") == "gzip"
        assert answer.get("vary") == "Accept-Encoding"
        assert b"aaaa" in gzip.decompress(answer.body)
    for answer in world.both("/packed/x", f"X-Long: {'a' * 2000}"):
        assert answer.get("content-encoding") is None


@pytest.mark.parametrize(
    ("lines", "is_hit"),
    [
        ((), True),
        (("Cookie: lang=de",), True),
        (("Cookie: session=1",), False),
        (("Authorization: Bearer x",), False),
        (("Cache-Control: no-cache",), False),
        (("X-HTTP-Method-Override: DELETE",), False),
    ],
)
def test_the_same_is_stored(world: World, lines: tuple[str, ...], is_hit: bool) -> None:
    for _ in range(2):
        answers = world.both("/stored/x", *lines)
    for answer in answers:
        assert str(answer.get("cache-status")).startswith("portico; hit") == is_hit, answer


def test_a_cookie_of_the_key_tells_responses_apart(world: World) -> None:
    for answer in world.both("/stored/x", "Cookie: lang=fr"):
        assert "hit" not in str(answer.get("cache-status"))
