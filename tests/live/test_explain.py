"""What explain says of requests, and what becomes of them: the bytes that a service gets, or the answer."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from random import Random
from typing import Any, Final

import pytest
from redis import Redis
from typer.testing import CliRunner

from portico.cli.main import app
from portico.core.api_keys import digest_of
from portico.policies import POLICY_SETTINGS
from support.backend import Backend, Connection
from support.client import TIMEOUT, Wire, ask
from support.messages import Message
from support.metrics import page
from support.passwords import hashed
from support.redis_process import RedisProcess
from support.tokens import SECRET, bearer, token
from support.waiting import until
from support.world import Gateway

REQUESTS: Final = 260
PROXY: Final = "127.0.0.2"
"""A peer that is trusted: the ids that it sends are those that services get."""
TOKEN: Final = "the-token-of-the-admin-api"
KEY: Final = "a-key-of-bob"
PLUGIN: Final = """
from portico.plugin import Policy

class Nothing(Policy):
    def request(self, exchange):
        return None
"""
DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "documented", "version": "1"},
    "paths": {
        "/items": {
            "get": {
                "parameters": [{"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1}}],
                "responses": {"200": {"description": "OK"}},
            },
            "post": {
                "requestBody": {
                    "content": {"application/json": {"schema": {"type": "object", "required": ["a"]}}},
                    "required": True,
                },
                "responses": {"200": {"description": "OK"}},
            },
        }
    },
}
GIVEN: Final = re.compile(rb"(?mi)^(traceparent|X-Request-ID|X-Consumer-Identity): [^\r]*")
"""What is made anew for each request, unless a trusted proxy gives it."""
SIGNED: Final = re.compile(rb"(?mi)^(X-Consumer-Identity): [^\r]*")


class Recording:
    """A service that notes the heads of its requests as they come."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.backend = Backend(self._serve)

    def _serve(self, connection: Connection) -> None:
        while True:
            start = len(connection.received)
            if connection.next_request() is None:
                return
            head, end, _ = bytes(connection.received[start:]).partition(b"\r\n\r\n")
            self.heads.append(head + end)
            stored = ("Cache-Control: max-age=600",) if b"/kept/" in head.partition(b"\r\n")[0] else ()
            connection.answer(b"{}", "200 OK", "Content-Type: application/json", *stored)


def config(urls: Sequence[str], asked: str) -> dict[str, Any]:
    """Routes with every policy that there is, and with whatever else changes what a service gets."""
    one, two = urls[0], urls[1]
    both = [{"url": one, "weight": 2}, {"url": two}]
    identity = {"keys": ["an-identity-key-of-more-than-thirty-two-bytes"]}
    jwt = {"jwt": {"secret": SECRET}}

    def route(name: str, service: str = "one", /, **more: Any) -> dict[str, Any]:
        policies = more.pop("policies", {})
        return {"name": name, "service": service, "path": f"/{name}", **more, "policies": policies}

    services: dict[str, Any] = {
        "one": {"url": one},
        "two": {"instances": both},
        "away": {"instances": [{"url": one, "weight": 0}]},
        "backed": {"instances": [{"url": one}, {"url": two, "backup": True}]},
        "least": {"instances": both, "load_balancing": "least_connections"},
        "hashed": {"instances": both, "load_balancing": {"consistent_hash": {"header": "X-Key"}}},
        "sticky": {"instances": both, "sticky": {"cookie": "auto"}},
        "versions": {"url": one, "versions": {"v1": {}, "v2": {"url": two}}, "version_by": ["header", "path"]},
        "documented": {"url": one, "openapi": {"file": "document.json"}},
        "closed": {"url": one, "maintenance": True},
    }
    return {
        "gateway": {"trusted_proxies": [PROXY], "admin_token": TOKEN, "pass_headers": ["X-Remote-User"]},
        "consumers": [
            {"name": "bob", "keys": [f"sha256:{digest_of(KEY.encode()).hex()}"], "scopes": ["read"]},
            {"name": "carol", "password": hashed("secret"), "scopes": ["write"]},
        ],
        "services": {name: {"health_check": False, **each} for name, each in services.items()},
        "policies": {
            "rate_limit": [
                {"requests_per_minute": 1, "burst": 1_000_000},
                {"requests_per_day": 900_000, "by": {"header": "X-Key"}, "name": "key"},
            ],
            "cors": {"allow_origins": ["https://app.example"], "allow_methods": ["GET"]},
            "headers": {"response": {"set": {"X-Served": "here"}}},
            "errors": {"4xx": {"json": {"what": "{reason}"}}, "5xx": {"json": {"what": "{reason}"}}},
        },
        "routes": [
            route("plain", "two"),
            route("backed", "backed"),
            route("away", "away"),
            route("least", "least"),
            route("hashed", "hashed"),
            route("sticky", "sticky"),
            route("versions", "versions"),
            route("closed", "closed"),
            route("named", rewrite="/x/{path}/y", preserve_host=False),
            route("exact", path="= /exact", rewrite="keep"),
            route("pattern", path="~ ^/pattern/(?P<id>[0-9]+)$", rewrite="/p/{id}"),
            route("small", body_size=10),
            route("narrow", hosts=["gateway.test"], methods=["GET", "POST"]),
            route("narrower", "two", path="/narrow", headers={"X-Key": "~ [12]"}, query={"b": "2"}),
            {"name": "gone", "path": "/gone", "redirect": {"to": "https://new.example{path}", "status": 308}},
            {"name": "said", "path": "/said", "respond": {"status": 200, "body": "said", "headers": {"X-A": "b"}}},
            {
                "name": "split",
                "path": "/split",
                "split": [
                    {"service": "one", "weight": 1},
                    {"service": "two", "weight": 0, "headers": {"X-Key": "1"}},
                ],
            },
            route("filtered", policies={"ip_filter": {"deny": ["192.0.2.0/24"]}}),
            route("denied", policies={"deny": [{"name": "bots", "when": {"headers": {"User-Agent": "~ bot"}}}]}),
            route("mcp", policies={"mcp": {}}),
            route("tokens", policies={"auth": jwt, "authorize": {"scopes": ["read"]}, "identity": identity}),
            route(
                "keys", policies={"auth": {"api_key": {}}, "rate_limit": {"requests_per_hour": 9999, "by": "consumer"}}
            ),
            route("query", policies={"auth": {"api_key": {"query": "key"}, "optional": True}}),
            route("basic", policies={"auth": {"basic": {}}}),
            route(
                "several",
                policies={"auth": {**jwt, "api_key": {}, "basic": {}, "client_certificate": {"from_proxies": True}}},
            ),
            route("forward", policies={"auth": {"forward": {"url": f"{asked}/check"}}}),
            route(
                "edited",
                policies={
                    "headers": {
                        "request": {"set": {"X-Who": "{client_ip}"}, "add": {"X-More": "1"}, "remove": ["X-Key"]}
                    }
                },
            ),
            route(
                "transformed",
                policies={
                    "transform": {
                        "request": [
                            {"query": {"set": {"a": "1"}, "remove": ["b"]}, "json": {"set": {"/from": "gateway"}}},
                        ]
                    }
                },
            ),
            route("decompressed", policies={"decompress": {}, "compress": {}}),
            route("documented", "documented", policies={"validate": {"request": True}}),
            route("plugins", policies={"plugins": [{"use": "./nothing.py:Nothing"}]}),
            route("kept", rewrite="keep", policies={"cache": {"ttl": 600}}),
            route("rewritten", policies={"rewrite_location": False, "rewrite_cookies": {"path": "off"}}),
        ],
    }


@pytest.fixture(scope="module")
def services() -> Iterator[list[Recording]]:
    recordings = [Recording(), Recording(), Recording()]
    with ExitStack() as stack:
        for each in recordings:
            stack.enter_context(each.backend)
        yield recordings


@pytest.fixture(scope="module")
def gateway(services: list[Recording]) -> Iterator[Gateway]:
    urls = [each.backend.url for each in services]
    written = Gateway(config(urls, urls[2]))
    (written.directory / "nothing.py").write_text(PLUGIN)
    (written.directory / "document.json").write_text(json.dumps(DOCUMENT))
    with written as own:
        yield own


# ---- agreement


class Asked:
    """A request as somebody may send it."""

    def __init__(self, random: Random, routes: Sequence[str]) -> None:
        self.source = random.choice(["127.0.0.1", PROXY])
        self.method = random.choice(["GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "QUERY"])
        self.target = _target(random, random.choice(routes))
        self.lines = _lines(random)
        self.body: bytes | None = None
        if self.method in ("POST", "PUT", "QUERY"):
            self.body = random.choice([b"{}", b'{"a": 1}', b"[1, 2", b"", b"more than ten bytes"])
            self.lines.append(f"Content-Type: {random.choice(['application/json', 'text/plain'])}")
        if self.source == PROXY:
            self.lines += _given(random)


def _target(random: Random, route: str) -> str:
    path = {"pattern": random.choice(["/pattern/7", "/pattern/x"]), "exact": "/exact"}.get(route, f"/{route}")
    rest = random.choice(["", "/", "/items", "/a/b", "/%7Ea"]) if route not in ("pattern", "exact") else ""
    return path + rest + random.choice(["", "?b=2&page=1", "?page=0", f"?key={KEY}&x", "?"])


def _lines(random: Random) -> list[str]:
    basic = base64.b64encode(b"carol:secret").decode()
    pool = [
        *("X-Key: 1", "X-Key: 2", "x-key:  3 ", "User-Agent: a bot", "User-Agent: curl/8"),
        *("Origin: https://app.example", "Origin: https://evil.example", "Access-Control-Request-Method: GET"),
        *(bearer(token(scope="read")), bearer(token(scope="none")), bearer("nonsense"), f"X-API-Key: {KEY}"),
        *("X-API-Key: unknown", f"Authorization: Basic {basic}", "Cookie: a=b", "Cookie: c=d", "API-Version: v2"),
        *(
            "API-Version: v9",
            "X-Forwarded-Host: other.example",
            "X-Forwarded-For: 192.0.2.7",
            "X-Consumer-Username: root",
        ),
        *("Connection: X-Dropped", "X-Dropped: 1", "X_Key: 4", "Accept-Encoding: gzip", "Mcp-Method: tools/call"),
        *(
            "Cache-Control: no-cache",
            "Via: 1.1 other",
            "TE: trailers",
            "X-Empty:",
            "X-Remote-User: root",
            "X-Remote-Name: root",
            "X-Latin: \xe9",
        ),
    ]
    chosen = random.sample(pool, random.randint(0, 6))
    return [f"Host: {random.choice(['gateway.test', 'other.example:81'])}", *chosen]


def _given(random: Random) -> list[str]:
    """What a trusted proxy says, so that nothing of the head is made up."""
    ids = [f"X-Request-ID: id-{random.getrandbits(40):x}"]
    trace, span = f"{random.getrandbits(128) or 1:032x}", f"{random.getrandbits(64) or 1:016x}"
    return [*ids, f"traceparent: 00-{trace}-{span}-01", "X-Forwarded-Proto: https"]


def explained(gateway: Gateway, asked: Asked) -> dict[str, Any]:
    headers = [(name, value.removeprefix(" ")) for name, _, value in (line.partition(":") for line in asked.lines)]
    if asked.body is not None:
        headers.insert(1, ("Content-Length", str(len(asked.body))))
    question = {
        "method": asked.method,
        "url": asked.target,
        "headers": headers,
        "body_base64": base64.b64encode(asked.body or b"").decode(),
        "client_ip": asked.source,
    }
    answer = explain(gateway, question)
    assert answer.status == 200, answer.body
    said: dict[str, Any] = answer.json()
    return said


def explain(gateway: Gateway, question: dict[str, Any]) -> Message:
    lines = ("Host: localhost", f"Authorization: Bearer {TOKEN}", "Content-Type: application/json")
    return ask(gateway.admin_port, "POST", "/admin/explain", *lines, body=json.dumps(question).encode())


def test_it_agrees_with_what_becomes_of_requests(gateway: Gateway, services: list[Recording]) -> None:
    random = Random(26)
    written = config(["http://a", "http://b"], "http://c")
    assert {key for route in written["routes"] for key in route.get("policies", {})} | set(written["policies"]) == set(
        POLICY_SETTINGS
    )
    routes = [route["name"] for route in written["routes"]] + ["nowhere", "health"]
    outcomes: dict[str, int] = {}
    for number in range(REQUESTS):
        asked = Asked(random, [routes[number % len(routes)]])
        before = [len(each.heads) for each in services]
        said = explained(gateway, asked)
        assert [len(each.heads) for each in services] == before, "nobody is asked"
        outcomes[said["outcome"]] = outcomes.get(said["outcome"], 0) + 1
        answer = sent(gateway, asked)
        got = [(each, head) for each, count in zip(services[:2], before, strict=False) for head in each.heads[count:]]
        compare(asked, said, answer, got)
    assert outcomes.keys() == {"forwarded", "answered", "refused"}
    assert all(count >= 10 for count in outcomes.values()), outcomes


def sent(gateway: Gateway, asked: Asked) -> Message:
    connected = socket.create_connection(("127.0.0.1", gateway.port), TIMEOUT, (asked.source, 0))
    with Wire(gateway.port, connected) as wire:
        lines = [*asked.lines]
        if asked.body is not None:
            lines.insert(1, f"Content-Length: {len(asked.body)}")
        head = "\r\n".join([f"{asked.method} {asked.target} HTTP/1.1", *lines, "", ""])
        wire.send(head.encode() + (asked.body or b""))
        return wire.receive(asked.method)


def compare(asked: Asked, said: dict[str, Any], answer: Message, got: list[tuple[Recording, bytes]]) -> None:
    what = (asked.method, asked.target, asked.lines, asked.body, said)
    if said["outcome"] == "forwarded":
        assert len(got) == 1, what
        service, head = got[0]
        mask = GIVEN if asked.source != PROXY else SIGNED
        assert mask.sub(rb"\1: *", head) == mask.sub(rb"\1: *", said["head"].encode("latin-1")), what
        assert said["instance"]["url"] == service.backend.url, what
    elif said["route"] is not None and said["route"]["kind"] == "endpoint" and said["answer"] is None:
        assert answer.status == 200, what  # the control process answers
    else:
        assert not got, what
        own = said["answer"]
        assert own["status"] == answer.status, what
        if answer.body and answer.status >= 400:
            assert own["reason"] == answer.json()["what"], what
        ignored = ("date", "x-request-id", "age", "cache-status", "server-timing")
        assert [(name.lower(), _timeless(value)) for name, value in own["headers"] if name.lower() not in ignored] == [
            (name.lower(), _timeless(value))
            for name, value in answer.fields
            if name.lower() not in (*ignored, "connection")
        ], what
    limits = answer.get("ratelimit")
    assert bool(limits) == any(each["key"] == "rate_limit" and " left" in each["detail"] for each in said["policies"])


def _timeless(value: str) -> str:
    return re.sub(r"t=\d+", "t=*", value)


# ---- it changes nothing


def test_nothing_is_counted(gateway: Gateway, services: list[Recording]) -> None:
    question = {"url": "/keys/x", "headers": [["X-API-Key", KEY], ["Host", "gateway.test"]], "client_ip": "127.0.0.9"}
    first = explain(gateway, question).json()
    page(gateway)  # the next one is begun after this, and has all that came before
    before, logged = page(gateway), gateway.out()
    connections = [len(each.backend.connections) for each in services]
    for _ in range(30):
        assert limits_of(explain(gateway, question).json()) == limits_of(first)
    refused = explain(gateway, {**question, "headers": [["Host", "x"], ["X-API-Key", "wrong"]]}).json()
    assert refused["outcome"] == "refused"
    after = page(gateway)
    changed = {name for name, value in after.items() if value != before.get(name)}
    own = {name for name in changed if 'service="gateway"' in name[1]}
    assert not {name for name in changed - own if re.search("request|limit|error|retries|cache|denied", name[0])}, (
        changed
    )
    assert "/keys/" not in gateway.out().removeprefix(logged)
    assert [len(each.backend.connections) for each in services] == connections


def test_what_a_change_has_made_invalid_is_not_in_the_cache(gateway: Gateway) -> None:
    assert gateway.ask("GET", "/kept/changed").status == 200
    question = {"url": "/kept/changed", "headers": [["Host", "gateway.test"]], "client_ip": "127.0.0.1"}
    assert explain(gateway, question).json()["cache"]["state"] == "hit"
    assert gateway.ask("DELETE", "/kept/changed").status == 200
    assert explain(gateway, question).json()["cache"]["state"] == "miss"


def limits_of(said: dict[str, Any]) -> list[str]:
    """What limits say, without the time until they are whole again."""
    return [each["detail"].partition(";")[0] for each in said["policies"] if each["key"] == "rate_limit"]


# ---- to clients, of their own requests


def test_a_client_with_a_token_is_told_what_becomes_of_its_request(gateway: Gateway, services: list[Recording]) -> None:
    lines = ("X-Portico-Explain: 1", f"X-Portico-Token: {TOKEN}", "X-Latin: \xe9 ")
    heads = [len(each.heads) for each in services]
    with gateway.wire() as wire:
        own = wire.ask("POST", "/edited/x?a=1", *lines, body=b"content")
        again = wire.ask("GET", "/nowhere", *lines)
        plain = wire.ask("POST", "/edited/x?a=1", "X-Latin: \xe9 ", body=b"content")
    assert (own.status, own.get("content-type"), own.get("cache-control")) == (200, "application/json", "no-store")
    assert [len(each.heads) for each in services] == [heads[0] + 1, *heads[1:]], "only the last one was sent on"
    said = own.json()
    assert GIVEN.sub(rb"\1: *", said["head"].encode("latin-1")) == GIVEN.sub(rb"\1: *", services[0].heads[-1])
    assert said["request"]["client_ip"] == "127.0.0.1"
    assert [name.lower() for name, _ in said["request"]["headers"]].count("x-portico-token") == 0
    assert (again.status, again.json()["answer"]["reason"]) == (200, "no_route")
    assert plain.status == 200


@pytest.mark.parametrize(
    "lines",
    [
        ("X-Portico-Explain: 1",),
        (f"X-Portico-Token: {TOKEN}",),
        ("X-Portico-Explain: 1", "X-Portico-Token: wrong"),
        ("X-Portico-Explain: 1", f"X-Portico-Token: {TOKEN}", f"X-Portico-Token: {TOKEN}"),
        ("X-Portico-Explain: 1", "X-Portico-Explain: 1", f"X-Portico-Token: {TOKEN}"),
        ("X-Portico-Explain: 0", f"X-Portico-Token: {TOKEN}"),
        ("X_Portico_Explain: 1", f"X_Portico_Token: {TOKEN}"),
        ("x-portico-explain:1", f"x-portico-token:{TOKEN}x"),
        ("X-Portico-Explain: 1", f"X-Portico-Token: {TOKEN}", "X-Portico-Token:"),
        ("X-Portico-Explain: 1", f"Authorization: Bearer {TOKEN}"),
    ],
)
def test_without_both_the_request_goes_on_and_neither_reaches_anybody(
    gateway: Gateway, services: list[Recording], lines: tuple[str, ...]
) -> None:
    for route in ("named", "kept", "forward"):
        answer = gateway.ask("GET", f"/{route}/aside", *lines)
        assert (answer.status, answer.body) == (200, b"{}")
    for each in services:
        for head in each.heads:
            assert b"portico-explain" not in head.lower().replace(b"_", b"-")
            assert b"portico-token" not in head.lower().replace(b"_", b"-")
    assert TOKEN not in gateway.out()
    assert TOKEN not in gateway.err()


def test_a_token_cannot_be_guessed(gateway: Gateway) -> None:
    with Wire(gateway.port, socket.create_connection(("127.0.0.1", gateway.port), TIMEOUT, ("127.0.0.77", 0))) as wire:
        for number in range(40):
            assert wire.ask("GET", "/named/x", "X-Portico-Explain: 1", f"X-Portico-Token: {number}").body == b"{}"
        right = wire.ask("GET", "/named/x", "X-Portico-Explain: 1", f"X-Portico-Token: {TOKEN}")
    assert right.body == b"{}", "who guesses is not listened to for a while"
    other = gateway.ask("GET", "/named/x", "X-Portico-Explain: 1", f"X-Portico-Token: {TOKEN}")
    assert other.json()["outcome"] == "forwarded", "others are"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("X-Portico-Explain: 1", "X-Portico-Token: a\x01b"), 400),
        (("X-Portico-Explain : 1",), 400),
        (("X-Portico-Explain: 1", " folded"), 400),
        (("X-Portico-Explain: 1", "Transfer-Encoding: gzip"), 400),
        (("X-Portico-Explain: 1", "Host: one", "Host: other"), 400),
    ],
)
def test_what_is_no_request_is_refused_as_ever(gateway: Gateway, lines: tuple[str, ...], status: int) -> None:
    assert gateway.ask("GET", "/named/x", f"X-Portico-Token: {TOKEN}", *lines).status == status


# ---- over the admin API


@pytest.mark.parametrize(
    ("question", "status", "words"),
    [
        ({}, 422, "url"),
        ({"url": "/x", "headers": [["X-A", "b\r\nX-C: d"]]}, 422, "a line end"),
        ({"url": "/x", "client_ip": "nowhere"}, 422, "client_ip"),
        ({"url": "/x", "listener": "none"}, 422, "no listener is called none"),
        ({"url": "/x", "worker": "none"}, 422, "no worker is called none"),
        ({"url": "/x", "method": "G ET"}, 200, "malformed"),
        ({"url": "/x" + "y" * 100_000}, 200, "url_too_long"),
        ({"url": "/x", "headers": [["X-A", "b" * 100_000]]}, 200, "headers_too_large"),
        ({"url": "/x\udcff\u0000", "method": "\ud800"}, 422, ""),
    ],
)
def test_questions_that_nobody_could_send(gateway: Gateway, question: dict[str, Any], status: int, words: str) -> None:
    answer = explain(gateway, question)
    assert answer.status == status, answer.body
    assert words in answer.body.decode()


def test_nobody_without_a_token_is_told(gateway: Gateway) -> None:
    answer = ask(gateway.admin_port, "POST", "/admin/explain", "Host: localhost", body=b'{"url": "/plain"}')
    assert answer.status == 401


# ---- with Redis


def test_what_is_in_redis_is_said_and_stays_as_it_is(services: list[Recording]) -> None:
    limits = [{"requests_per_minute": 1, "burst": 5}, {"requests_per_day": 9, "by": {"header": "X-Key"}}]
    cached = {"cache": {"ttl": 600, "store": "redis"}}
    with RedisProcess() as redis:
        written = {
            "gateway": {"redis_url": f"redis://127.0.0.1:{redis.port}", "admin_token": TOKEN},
            "services": {"one": {"url": services[0].backend.url, "health_check": False}},
            "policies": {"rate_limit": limits},
            "routes": [{"name": "kept", "service": "one", "path": "/kept", "rewrite": "keep", "policies": cached}],
        }
        question = {"url": "/kept/x", "headers": [["Host", "gateway.test"]], "client_ip": "127.0.0.1"}
        with Gateway(written) as gateway:
            first = explain(gateway, question).json()
            assert (first["outcome"], first["cache"]["state"]) == ("forwarded", "miss")
            assert "client_ip: 4 left" in limits_of(first)[0]
            assert gateway.ask("GET", "/kept/x").status == 200
            until(lambda: explain(gateway, question).json()["cache"]["state"] == "hit")
            before = contents(redis)
            second = explain(gateway, question).json()
            assert (second["outcome"], second["cache"]["state"]) == ("answered", "hit")
            assert (second["answer"]["status"], second["answer"]["body"]) == (200, "{}")
            assert "client_ip: 3 left" in limits_of(second)[0]
            assert contents(redis) == before
            redis.end()
            until(lambda: any("fallback" in note for note in explain(gateway, question).json()["notes"]))
            gone = explain(gateway, question).json()
            assert (gone["outcome"], gone["cache"]["state"]) == ("forwarded", "miss")


def contents(redis: RedisProcess) -> dict[bytes, object]:
    """All that is there, but for what gateways try Redis by."""
    with Redis(port=redis.port) as client:  # what is stored is no text
        return {name: client.dump(name) for name in client.scan_iter() if b"probe" not in name}


def test_the_command_asks_the_running_gateway(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says the same in words: what is left of limits, and where that is written."""
    monkeypatch.setenv("ADMIN_TOKEN", TOKEN)
    where = ("--config", str(gateway.file), "--admin", f"127.0.0.1:{gateway.admin_port}")
    question = ("GET", "http://gateway.test/keys/x", "-H", f"X-API-Key: {KEY}", "--client-ip", "127.0.0.9", *where)
    done = CliRunner().invoke(app, ["explain", *question])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("GET /keys/x of gateway.test: goes to ")
    assert f"\nroute         keys /keys ({gateway.file}:" in done.stdout
    assert f"\nnote: this is what a worker of the gateway at 127.0.0.1:{gateway.admin_port} says\n" in done.stdout
    said = json.loads(CliRunner().invoke(app, ["explain", *question, "--format", "json"]).stdout)
    asked = explain(gateway, {"url": question[1], "headers": [["X-API-Key", KEY]], "client_ip": "127.0.0.9"}).json()
    assert (limits_of(said), said["route"], said["others"]) == (limits_of(asked), asked["route"], asked["others"])
    assert CliRunner().invoke(app, ["explain", *question, "--listener", "none"]).exit_code == 2
    wrong = CliRunner().invoke(app, ["explain", "GET", "/nowhere/x", *where])
    assert (wrong.exit_code, "no_route" in wrong.stdout) == (1, True)
