"""Forward-auth: what the service is asked, whom it lets in, what both sides get of it, what is remembered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from threading import Event
from typing import Any, NamedTuple

import pytest

from support.authority import Authority
from support.backend import Backend, Connection, described
from support.client import Wire, ask, request
from support.frames import TEXT
from support.guard import HANGS, Guard
from support.messages import Message
from support.tokens import SECRET, bearer, token
from support.websocket import OFFER, WebSocket, echo
from support.world import Gateway, until

_numbers = count()


def fresh() -> str:
    """A cookie that was not sent before: nothing is remembered about it."""
    return f"Cookie: session=s{next(_numbers)}"


class Slow(Backend):
    """Describes requests, once it goes on."""

    def __init__(self) -> None:
        super().__init__(self._waits)
        self.goes_on = Event()

    def _waits(self, connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            self.goes_on.wait(60)
            connection.answer(described(asked, self), "200 OK", "Content-Type: application/json")


class Setting(NamedTuple):
    gateway: Gateway
    guard: Guard
    service: Backend
    slow: Slow

    def get(self, target: str, *lines: str, method: str = "GET", body: bytes | None = None) -> Message:
        return ask(self.gateway.port, method, target, *lines, body=body)


def fields(answer: Message) -> list[tuple[str, str]]:
    """What the service got."""
    assert answer.status == 200, answer.body
    return [(name.lower(), value) for name, value in json.loads(answer.body)["fields"]]


def in_cart(connection: Connection) -> None:
    """Echoes requests, with a cookie of its own."""
    while (request := connection.next_request()) is not None:
        body = json.dumps({"fields": request.fields, "target": request.target}).encode()
        connection.answer(body, "200 OK", "Set-Cookie: cart=1", "X-Policy: the service's", "Cache-Control: no-store")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with ExitStack() as stack:
        secure = stack.enter_context(Guard(authority.server_context(authority.leaf("guard", "localhost"))))
        sockets = stack.enter_context(Backend(echo))
        guard = stack.enter_context(Guard())
        service = stack.enter_context(Backend(in_cart))
        plain, slow = stack.enter_context(Backend()), stack.enter_context(Slow())
        forward = {"url": f"{guard.url}/check?from=gateway", "pass_headers": ["X-User", "X-Role"]}
        url = {"url": service.url, "health_check": False}

        def stored(backend: Backend) -> dict[str, Any]:
            returned = {**forward, "pass_headers": [], "response_headers": ["Set-Cookie"]}
            policies = {"auth": {"forward": returned}, "cache": {"ttl": 60}}
            return {"url": backend.url, "health_check": False, "policies": policies}

        def protected(more: dict[str, Any], **others: Any) -> dict[str, Any]:
            return {**url, "policies": {"auth": {"forward": {**forward, **more}, **others}}}

        config = {
            "gateway": {"workers": 1, "proxy_status": {"name": "gw"}},
            "policies": {"auth": {"forward": {"url": f"{guard.url}/for-all"}}},
            "services": {
                "s": protected({"timeout": 20}),
                "hasty": protected({"timeout": 0.2}),
                "c20": protected({"response_headers": ["Set-Cookie", "X-Policy"], "cache": 60}),
                "few": protected({"request_headers": ["Cookie"], "cache": 60, "cache_refused": 60}),
                "foreign": {
                    **url,
                    "policies": {
                        "auth": {"forward": forward},
                        "cors": {"allow_origins": ["https://app.example"]},
                        "headers": {"response": {"remove": ["Server"]}},
                    },
                },
                "scoped": {
                    **url,
                    "policies": {
                        "auth": {"forward": {**forward, "consumer": "X-Name", "scopes": "X-Groups"}},
                        "authorize": {"scopes": ["admin"]},
                    },
                },
                "both": protected({}, jwt={"secret": SECRET}),
                "hands": protected({"pass_headers": ["Authorization"]}),
                "cached": stored(plain),
                "joined": stored(slow),
                "secure": protected({"url": f"https://localhost:{secure.port}", "ca": str(authority.ca)}),
                "untrusted": protected({"url": f"https://localhost:{secure.port}"}),
                "socket": {**protected({}), "url": sockets.url},
                "open": {**url, "policies": {"auth": False}},
            },
        }
        gateway = stack.enter_context(Gateway(config))
        gateway.clean = False  # it reports what gave no answer
        yield Setting(gateway, guard, service, slow)


@pytest.fixture
def setting(world: Setting) -> Setting:
    world.guard.say("200 OK", "X-User: u")
    return world


def test_what_the_service_is_asked(setting: Setting) -> None:
    lines = (
        *("Host: shop.example:8443", fresh(), "X-Own: 1", "Content-Type: text/plain", 'If-None-Match: "x"'),
        *("X-Forwarded-Method: DELETE", "X-Original-Method: DELETE", "X-Forwarded-For: 10.0.0.1", "X_Original_URL: /"),
        *("Connection: keep-alive, X-Hop", "X-Hop: 1", "X-Consumer-Username: root"),
    )
    answer = setting.get("/api/s/a%20b?c=d&e", *lines, method="POST", body=b"content")
    asked = setting.guard.last()
    assert asked.start == "GET /check?from=gateway HTTP/1.1"
    assert asked.body == b""
    assert asked.get("host") == setting.guard.url.removeprefix("http://")
    assert asked.get("x-own") == "1"
    host, uri = "shop.example:8443", "/api/s/a%20b?c=d&e"
    expected = {
        "x-forwarded-method": "POST",
        "x-forwarded-proto": "http",
        "x-forwarded-host": host,
        "x-forwarded-port": str(setting.gateway.port),
        "x-forwarded-uri": uri,
        "x-forwarded-for": "127.0.0.1",
        "x-real-ip": "127.0.0.1",
        "x-original-method": "POST",
        "x-original-uri": uri,
        "x-original-url": f"http://{host}{uri}",
    }
    assert {name: asked.get(name) for name in expected} == expected
    absent = ("content-type", "content-length", "if-none-match", "x-hop", "x_original_url", "x-consumer-username")
    assert not [name for name in absent if asked.all(name)]
    assert asked.get("x-request-id") == answer.get("x-request-id")


def test_the_service_gets_who_it_is_and_never_what_a_client_says_of_that(setting: Setting) -> None:
    spellings = ("X-User: root", "x_user: root", "X-USER: root", "X.User: root", "X-Role: root", "x_Role: root")
    got = fields(setting.get("/api/s/x", fresh(), *spellings))
    assert [value for _, value in got if value == "root"] == []
    assert [pair for pair in got if pair[0] == "x-user"] == [("x-user", "u")]
    assert ("x-consumer-username", "u") in got
    setting.guard.say("204 No Content")  # nobody that has a name
    got = fields(setting.get("/api/s/x", fresh(), *spellings))
    assert not {"x-user", "x_user", "x-role", "x_role", "x.user", "x-consumer-username"} & {name for name, _ in got}


def test_the_body_arrives_whatever_its_size(setting: Setting) -> None:
    body = b"x" * 300_000
    answer = setting.get("/api/s/echo", fresh(), method="POST", body=body)
    assert ("content-length", "300000") in fields(answer)
    assert setting.service.requests[-1].body == body


def test_cookies_of_both_reach_the_client_and_only_of_the_decision_that_was_made_for_it(setting: Setting) -> None:
    setting.guard.say("200 OK", "X-User: u", "Set-Cookie: session=new", "Set-Cookie: two=2", "X-Policy: the guard's")
    cookie, before = fresh(), setting.guard.asked()
    first = setting.get("/api/c20/x", cookie)
    assert first.all("set-cookie") == ["cart=1", "session=new", "two=2"]
    assert first.all("x-policy") == ["the guard's"]
    assert ("x-user", "u") in fields(first)
    again = setting.get("/api/c20/x", cookie)
    assert again.all("set-cookie") == ["cart=1"]
    assert again.all("x-policy") == ["the guard's"]
    assert [value for name, value in fields(again) if name == "x-user"] == ["u"]
    assert setting.guard.asked() == before + 1
    setting.guard.say("401 Unauthorized", "Set-Cookie: seen=1", 'WWW-Authenticate: Basic realm="x"', body=b"who?")
    refused = setting.get("/api/c20/x", fresh())
    assert (refused.status, refused.body) == (401, b"who?")
    assert (refused.get("set-cookie"), refused.get("www-authenticate")) == ("seen=1", 'Basic realm="x"')
    assert refused.get("cache-control") == "no-store"


def test_a_decision_is_one_for_the_same_question(setting: Setting) -> None:
    setting.guard.say("200 OK", "X-User: {cookie}")
    before = setting.guard.asked()
    questions = [(cookie, f"/api/few/{path}") for cookie in (fresh(), fresh()) for path in "ab"]
    for _ in range(2):
        for cookie, target in questions:
            assert ("x-user", cookie.removeprefix("Cookie: ")) in fields(setting.get(target, cookie, "X-Any: 1"))
    assert setting.guard.asked() == before + 4
    assert setting.get("/api/few/a", questions[0][0], method="DELETE").status == 200
    assert setting.guard.asked() == before + 5
    assert not setting.guard.last().all("x-any")


def test_refusals_are_remembered_where_that_is_wanted_and_they_set_nothing(setting: Setting) -> None:
    for lines, times in ((), 1), (("Set-Cookie: a=1",), 2), (("Cache-Control: private, no-store",), 2):
        setting.guard.say("403 Forbidden", *lines, body=b"no")
        cookie, before = fresh(), setting.guard.asked()
        assert [setting.get("/api/few/x", cookie).body for _ in "12"] == [b"no", b"no"]
        assert setting.guard.asked() == before + times
    setting.guard.say("302 Found", "Location: https://login.example/?state=1")
    cookie, before = fresh(), setting.guard.asked()
    for _ in "12":
        answer = setting.get("/api/few/x", cookie)
        assert (answer.status, answer.get("location")) == (302, "https://login.example/?state=1")
    assert setting.guard.asked() == before + 2


def test_a_refusal_has_what_policies_make_of_responses(setting: Setting) -> None:
    setting.guard.say("401 Unauthorized", "Access-Control-Allow-Origin: *", "Server: guard", "X-Other: 1")
    answer = setting.get("/api/foreign/x", fresh(), "Origin: https://app.example")
    assert answer.status == 401
    assert answer.all("access-control-allow-origin") == ["https://app.example"]
    assert (answer.all("server"), answer.all("x-other")) == ([], ["1"])
    before = setting.guard.asked()
    asked = ("Origin: https://app.example", "Access-Control-Request-Method: PUT")
    assert setting.get("/api/foreign/x", *asked, method="OPTIONS").status in (200, 204)
    assert setting.guard.asked() == before


def test_answers_of_many_clients_at_once_are_not_mixed_up(setting: Setting) -> None:
    setting.guard.say("200 OK", "X-User: {cookie}", "Set-Cookie: for-{cookie}")
    cookies = [fresh() for _ in range(150)]

    def both(cookie: str) -> None:
        own = cookie.removeprefix("Cookie: ")
        for _ in range(2):
            answer = setting.get("/api/c20/many", cookie)
            assert ("x-user", own) in fields(answer)
            assert answer.all("set-cookie") in (["cart=1", f"for-{own}"], ["cart=1"])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(both, cookies))


def test_scopes_and_the_name_are_what_the_settings_say(setting: Setting) -> None:
    setting.guard.say("200 OK", "X-User: u", "X-Name: Łukasz".encode().decode("latin-1"), "X-Groups: users, admin")
    got = dict(fields(setting.get("/api/scoped/x", fresh())))
    assert (got["x-consumer-username"], got["x-consumer-scopes"]) == ("%C5%81ukasz", "users admin")
    setting.guard.say("200 OK", "X-Name: u", "X-Groups: users")
    assert setting.get("/api/scoped/x", fresh()).json()["reason"] == "scope_missing"


def test_a_token_decides_where_there_is_one(setting: Setting) -> None:
    before = setting.guard.asked()
    got = fields(setting.get("/api/both/x", bearer(token(sub="alice")), "X-User: root"))
    assert "x-user" not in dict(got)
    assert dict(got)["x-consumer-username"] == "alice"
    assert setting.get("/api/both/x", bearer("a.b.c")).status == 401
    assert setting.guard.asked() == before
    assert dict(fields(setting.get("/api/both/x")))["x-user"] == "u"


def test_the_service_may_be_handed_other_credentials(setting: Setting) -> None:
    setting.guard.say("200 OK", "Authorization: Bearer of-the-guard")
    got = fields(setting.get("/api/hands/x", "Authorization: Bearer of-the-client"))
    assert setting.guard.last().get("authorization") == "Bearer of-the-client"
    assert [value for name, value in got if name == "authorization"] == ["Bearer of-the-guard"]
    assert "x-consumer-username" not in dict(got)  # which is no place for credentials


def test_what_one_gets_is_not_stored_for_others(setting: Setting) -> None:
    setting.guard.say("200 OK", "Set-Cookie: session=new")
    answers = [setting.get("/api/cached/x", f"X-Key: {number}") for number in "12"]
    assert [dict(fields(answer))["x-key"] for answer in answers] == ["1", "2"]
    assert [answer.all("set-cookie") for answer in answers] == [["session=new"]] * 2


def test_who_has_no_name_does_not_join_in_what_another_one_fetches(setting: Setting) -> None:
    setting.guard.say("200 OK")
    setting.slow.goes_on.clear()
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(setting.get, "/api/joined/x", f"X-Key: {number}") for number in range(4)]
        until(lambda: len(setting.slow.requests) == 4)
        setting.slow.goes_on.set()
        assert [dict(fields(each.result()))["x-key"] for each in answers] == list("0123")


def test_a_service_with_a_name_and_a_certificate_may_be_asked(setting: Setting) -> None:
    for _ in "12":
        assert setting.get("/api/secure/x").status == 200
    assert setting.get("/api/untrusted/x").json()["reason"] == "auth_unavailable"
    reasons = [each["reason"] for each in setting.gateway.events() if each.get("url", "").startswith("https")]
    assert len(reasons) == 1
    assert "the TLS handshake failed" in reasons[0]


def test_a_websocket_opens_once_the_service_has_let_it_in(setting: Setting) -> None:
    with WebSocket(setting.gateway.port, "/api/socket/x", "X-User: root") as client:
        assert not setting.guard.last().all("sec-websocket-key")
        client.say(TEXT, b"hello")
        frame = client.next_frame()
        assert frame is not None
        assert frame.payload == b"hello"
    setting.guard.say("401 Unauthorized")
    assert setting.get("/api/socket/x", *OFFER).status == 401


def test_a_service_that_is_open_to_all_asks_nobody(setting: Setting) -> None:
    before = setting.guard.asked()
    assert setting.get("/api/open/x").status == 200
    assert setting.guard.asked() == before


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(("500 Oops",), id="fails"),
        pytest.param(("304 Not Modified",), id="says nothing"),
        pytest.param(("",), id="closes"),
        pytest.param(("200 OK", "X-User: a", "X-User: b"), id="names two"),
        pytest.param(("200 OK", "X-User: \xff"), id="is no text"),
        pytest.param(("200 OK", "Content-Length: 99999999"), id="says too much"),
    ],
)
def test_without_a_decision_nobody_is_let_in(setting: Setting, answer: tuple[str, ...]) -> None:
    setting.guard.say(*answer)
    before = len(setting.service.requests)
    is_refused(setting.get("/api/s/x", fresh()))
    assert len(setting.service.requests) == before
    setting.guard.say("200 OK", "X-User: u")
    assert setting.get("/api/s/x", fresh()).status == 200


@pytest.mark.parametrize("answer", [(HANGS,), ("200 OK", "Content-Length: 9")], ids=["no answer", "not all of it"])
def test_nobody_waits_for_a_decision_for_ever(setting: Setting, answer: tuple[str, ...]) -> None:
    setting.guard.say(*answer)
    is_refused(setting.get("/api/hasty/x", fresh()))


def is_refused(refused: Message) -> None:
    problem = refused.json()
    assert (refused.status, problem["reason"], refused.get("retry-after")) == (503, "auth_unavailable", "5")
    assert "proxy_internal_error" in str(refused.get("proxy-status"))


def test_a_connection_that_was_closed_meanwhile_is_replaced(setting: Setting) -> None:
    assert setting.get("/api/s/x", fresh()).status == 200
    setting.guard.disconnect()
    assert setting.get("/api/s/x", fresh()).status == 200


def test_a_client_that_leaves_leaves_no_question_behind(setting: Setting) -> None:
    setting.guard.say(HANGS)
    asked, left = setting.guard.asked(), setting.guard.left
    with Wire(setting.gateway.port) as wire:
        wire.send(request("GET", "/api/c20/x", fresh()))
        until(lambda: setting.guard.asked() > asked)
    until(lambda: setting.guard.left > left)


def test_operators_see_why_there_was_no_answer(setting: Setting) -> None:
    setting.guard.say("")
    assert [setting.get("/api/s/x", fresh()).status for _ in "12"] == [503, 503]
    events = [each for each in setting.gateway.events() if each.get("url") == f"{setting.guard.url}/check"]
    (event,) = events  # the next one comes a minute later
    assert (event["level"], event["event"]) == ("ERROR", "a service that decides who may come in gave no answer")
    assert event["reason"]
