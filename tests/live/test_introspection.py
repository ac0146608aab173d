"""Introspection: whose opaque tokens are accepted, what their issuer is asked, what is remembered, and for how long."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from threading import Event
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote_plus

import pytest

from support.backend import Backend, Connection
from support.messages import Message
from support.tokens import SECRET, bearer, token
from support.world import Gateway, until

NAME, PASSWORD = "a b", "p+q%25:/é"
_numbers = count()


class TokenIssuer(Backend):
    """Says of each token what is in `tokens`; of others that they are not active. It lets nobody ask without secret.

    `answers` takes the place of all that.
    """

    def __init__(self) -> None:
        super().__init__(self._introspects)
        self.tokens: dict[str, dict[str, Any]] = {}
        self.answer: tuple[str, bytes] | None = None
        self.goes_on = Event()
        self.goes_on.set()

    def issue(self, **claims: Any) -> str:
        """A token of which it says this."""
        name = f"opaque-{next(_numbers)}"
        self.tokens[name] = {"active": True, "username": "alice", **claims}
        return name

    def asked_about(self, name: str) -> int:
        """How often it was asked about a token."""
        with self.lock:
            return sum(parse_qs(request.body.decode())["token"] == [name] for request in self.requests)

    def _introspects(self, connection: Connection) -> None:
        while (request := connection.next_request()) is not None:
            self.goes_on.wait(10)
            form = parse_qs(request.body.decode(), strict_parsing=True)
            if self.answer is not None:
                connection.answer(self.answer[1], self.answer[0])
            elif not is_known(request, form):
                connection.answer(b'{"error": "invalid_client"}', "401 Unauthorized")
            else:
                said = self.tokens.get(form["token"][0], {"active": False})
                connection.answer(json.dumps(said).encode(), "200 OK", "Content-Type: application/json", chunked=True)


def is_known(request: Message, form: dict[str, list[str]]) -> bool:
    """Whether it is asked by whom it knows: by RFC 6749, section 2.3.1, to the letter."""
    assert request.method == "POST"
    assert request.get("content-type") == "application/x-www-form-urlencoded"
    if (field := request.get("authorization")) is None:
        return (form.get("client_id"), form.get("client_secret")) == ([NAME], [PASSWORD])
    assert "client_secret" not in form
    name, _, password = b64decode(field.removeprefix("Basic ")).decode("ascii").partition(":")
    return (unquote_plus(name), unquote_plus(password)) == (NAME, PASSWORD)


class Setting(NamedTuple):
    gateway: Gateway
    issuer: TokenIssuer
    service: Backend

    def get(self, service: str, name: str) -> Message:
        return self.gateway.get(f"/api/{service}/x", bearer(name))

    def reason(self, service: str, name: str) -> tuple[int, str]:
        answer = self.get(service, name)
        return answer.status, answer.json()["reason"]


@pytest.fixture(scope="module")
def world() -> Iterator[Setting]:
    with ExitStack() as stack:
        issuer, service = stack.enter_context(TokenIssuer()), stack.enter_context(Backend())
        asked = {"url": f"{issuer.url}/introspect", "client_id": NAME, "client_secret": PASSWORD, "timeout": 20}

        def protected(more: dict[str, Any], **others: Any) -> dict[str, Any]:
            policies = {"auth": {"introspection": {**asked, **more}, **others}}
            return {"url": service.url, "health_check": False, "policies": policies}

        strict = {"issuer": "https://id.example", "audience": "api", "require_expiry": True}
        config = {
            "gateway": {"workers": 1},
            "services": {
                "s": protected({"cache": 60, "cache_inactive": 60}),
                "never": protected({"cache": 0, "cache_inactive": 0, "client_auth": "body"}),
                "strict": protected(strict),
                "both": protected({}, jwt={"secret": SECRET}),
                "wrong": protected({"client_secret": "no-such-secret-4711"}),
                "optional": protected({}, optional=True),
            },
        }
        gateway = stack.enter_context(Gateway(config))
        gateway.clean = False
        yield Setting(gateway, issuer, service)


@pytest.fixture
def setting(world: Setting) -> Setting:
    world.issuer.answer = None
    return world


def told(answer: Message) -> dict[str, str]:
    """What the service got."""
    assert answer.status == 200, answer.body
    return dict(json.loads(answer.body)["fields"])


def test_an_active_token_names_its_owner(setting: Setting) -> None:
    got = told(setting.get("s", setting.issuer.issue(username="Łukasz", scope="read write")))
    assert (got["X-Consumer-Username"], got["X-Consumer-Scopes"]) == ("%C5%81ukasz", "read write")
    got = told(setting.get("s", setting.issuer.issue(username=None, client_id="robot")))
    assert got["X-Consumer-Username"] == "robot"


@pytest.mark.parametrize("service", ["s", "never"])
def test_the_secret_is_sent_as_the_standard_says(setting: Setting, service: str) -> None:
    name = setting.issuer.issue()
    assert setting.get(service, name).status == 200
    form = parse_qs(setting.issuer.requests[-1].body.decode())
    assert (form["token"], form["token_type_hint"]) == ([name], ["access_token"])
    assert ("client_secret" in form) == (service == "never")


def test_answers_are_remembered_for_as_long_as_is_written(setting: Setting) -> None:
    good, bad = setting.issuer.issue(), f"unknown-{next(_numbers)}"
    for service, times in (("s", 1), ("never", 4)):
        for _ in range(3):
            assert setting.get(service, good).status == 200
            assert setting.reason(service, bad) == (401, "credentials_invalid")
        assert (setting.issuer.asked_about(good), setting.issuer.asked_about(bad)) == (times, times)


def test_a_token_is_not_remembered_beyond_its_end(setting: Setting) -> None:
    name = setting.issuer.issue(exp=int(time.time()) + 2)
    assert setting.get("s", name).status == 200
    until(lambda: setting.get("s", name).status == 401)
    assert setting.issuer.asked_about(name) >= 2


def test_who_asks_at_the_same_time_gets_the_same_answer(setting: Setting) -> None:
    name, other = setting.issuer.issue(), setting.issuer.issue(username="bob")
    setting.issuer.goes_on.clear()
    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(setting.get, "s", each) for each in [name] * 6 + [other] * 6]
        until(lambda: setting.issuer.asked_about(name) and setting.issuer.asked_about(other))
        setting.issuer.goes_on.set()
        names = [told(each.result())["X-Consumer-Username"] for each in answers]
    assert names == ["alice"] * 6 + ["bob"] * 6
    assert setting.issuer.asked_about(name) == 1


def test_what_else_a_token_has_to_be(setting: Setting) -> None:
    good = {
        "iss": "https://id.example",
        "aud": ["x", "api"],
        "token_type": "Bearer",
        "typ": "Bearer",
        "exp": int(time.time()) + 60,
    }
    assert setting.get("strict", setting.issuer.issue(**good)).status == 200
    for change in (
        {"iss": "https://id.example/"},
        {"aud": "x"},
        {"exp": None},
        {"exp": "2040"},
        {"nbf": time.time() + 60},
        {"scope": 5},
        {"sub": 5, "username": None},
        {"cnf": {"jkt": "x"}},
        {"typ": "Refresh"},
        {"token_use": "refresh_token"},
    ):
        assert setting.reason("strict", setting.issuer.issue(**{**good, **change})) == (401, "credentials_invalid")
    assert setting.reason("strict", setting.issuer.issue(**{**good, "exp": 1})) == (401, "credentials_expired")


def test_tokens_of_both_kinds(setting: Setting) -> None:
    before = len(setting.issuer.requests)
    assert told(setting.get("both", token(sub="carol")))["X-Consumer-Username"] == "carol"
    assert setting.get("both", "a.b.c").status == 401
    assert len(setting.issuer.requests) == before
    assert told(setting.get("both", setting.issuer.issue()))["X-Consumer-Username"] == "alice"


def test_what_is_no_token_is_not_asked_about(setting: Setting) -> None:
    before = len(setting.issuer.requests)
    for name in ("two words", "x" * 9000, "\u00e9", "a&client_id=b", "=", ""):
        assert setting.get("s", name).status == 401
    assert setting.gateway.get("/api/s/x").json()["reason"] == "credentials_missing"
    assert setting.gateway.get("/api/optional/x").status == 200
    assert len(setting.issuer.requests) == before


@pytest.mark.parametrize(
    "answer",
    [
        ("500 Oops", b'{"active": true}'),
        ("201 Created", b'{"active": true}'),
        ("302 Found", b""),
        ("200 OK", b"<html>"),
        ("200 OK", b'["active"]'),
        ("200 OK", b"{}"),
        ("200 OK", b'{"active": "true"}'),
        ("200 OK", b'{"active": 1}'),
        ("200 OK", b'{"active": true, "x": "' + b"x" * 40_000 + b'"}'),
        ("200 OK", b'{"active": true, "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
        ("200 OK", b"\xff\xfe"),
    ],
    ids=lambda answer: answer[1][:20],
)
def test_without_an_answer_nobody_is_let_in_and_nothing_is_remembered(setting: Setting, answer: Any) -> None:
    setting.issuer.answer = answer
    name, before = setting.issuer.issue(), len(setting.service.requests)
    status, reason = setting.reason("s", name)
    assert (status, reason) == (503, "auth_unavailable")
    assert len(setting.service.requests) == before
    setting.issuer.answer = None
    assert setting.get("s", name).status == 200


def test_a_wrong_secret_is_the_operators_matter_and_shown_to_nobody(setting: Setting) -> None:
    name = setting.issuer.issue()
    assert setting.reason("wrong", name) == (503, "auth_unavailable")
    said = setting.gateway.err()
    assert "does it know this client_id and client_secret?" in said or "gave no answer" in said
    for secret in ("no-such-secret-4711", PASSWORD, name):
        assert secret not in said


def test_a_token_that_is_bound_to_a_key_is_not_accepted_without_it(setting: Setting) -> None:
    """Its proofs: `test_bound_tokens.py`."""
    name = setting.issuer.issue(cnf={"jkt": "x" * 43})
    for shown in (bearer(name), f"Authorization: DPoP {name}"):
        answer = setting.gateway.get("/api/s/x", shown)
        assert (answer.status, answer.json()["reason"]) == (401, "credentials_invalid")
    free = setting.issuer.issue()
    assert setting.gateway.get("/api/s/x", f"Authorization: DPoP {free}").status == 401
    assert setting.get("s", free).status == 200
