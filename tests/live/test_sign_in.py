"""Signing in: tokens for consumers by password and client secret, and who they name."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote_plus, urlencode

import jwt
import pytest

from support.backend import Backend
from support.client import ask
from support.messages import Message
from support.passwords import hashed
from support.tokens import SECRET, bearer
from support.world import Gateway, until

FORM = "Content-Type: application/x-www-form-urlencoded"
ODD = "'*% +é:x"
"""A secret that reads otherwise once it is decoded as a form."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with ExitStack() as stack:
        service = stack.enter_context(Backend())
        config = {
            "gateway": {"workers": 2, "access_token_expire_minutes": 5},
            "services": {"s": service},
            "policies": {"auth": {"jwt": {"secret": SECRET}}, "headers": {"response": {"set": {"X-Own": "1"}}}},
            "consumers": [
                {"name": "alice", "password": hashed("wonderland"), "scopes": ["orders:read", "orders:write"]},
                {"name": "app", "password": hashed("abc"), "scopes": ["jobs"]},
                {"name": "my app", "password": hashed(ODD)},
                {"name": "keyless"},
            ],
        }
        yield stack.enter_context(Gateway(config))


def sign_in(gateway: Gateway, *lines: str, **form: str) -> Message:
    return gateway.ask("POST", "/auth/token", FORM, *lines, body=urlencode(form).encode())


def by_password(gateway: Gateway, username: str = "alice", password: str = "wonderland", **form: str) -> Message:
    return sign_in(gateway, grant_type="password", username=username, password=password, **form)


def basic(name: str, secret: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"


def said(answer: Message) -> Any:
    return json.loads(answer.body)


def test_a_token_for_a_password(gateway: Gateway) -> None:
    answer = by_password(gateway)
    document = said(answer)
    assert (answer.status, document["token_type"], document["expires_in"]) == (200, "bearer", 300)
    assert document["scope"] == "orders:read orders:write"
    assert answer.get("Cache-Control") == "no-store"
    claims = jwt.decode(document["access_token"], SECRET, ["HS256"])
    assert claims["sub"] == "alice"
    assert claims["scope"] == "orders:read orders:write"
    assert claims["exp"] - claims["iat"] == 300
    assert abs(claims["iat"] - time.time()) < 60
    assert "client_id" not in claims
    passed = gateway.get("/api/s/x", bearer(document["access_token"]))
    assert passed.status == 200
    fields = dict(json.loads(passed.body)["fields"])
    assert (fields["X-Consumer-Username"], fields["X-Consumer-Scopes"]) == ("alice", "orders:read orders:write")


def test_who_i_am(gateway: Gateway) -> None:
    token = said(by_password(gateway, scope="orders:read"))["access_token"]
    answer = gateway.get("/auth/me", bearer(token), "X-Consumer-Username: root", "X_Consumer_Scopes: all")
    assert (answer.status, said(answer)) == (200, {"username": "alice", "scopes": ["orders:read"]})
    assert answer.get("Cache-Control") == "no-store"
    for lines in ((), (bearer("x.y.z"),), ("X-Consumer-Username: alice",)):
        refused = gateway.get("/auth/me", *lines)
        assert (refused.status, refused.get("Content-Type")) == (401, "application/problem+json")
        assert (refused.get("WWW-Authenticate") or "").startswith("Bearer")
    assert gateway.ask("POST", "/auth/me", bearer(token)).status == 405
    assert gateway.get("/auth/token").status == 405


def test_only_scopes_that_the_consumer_has(gateway: Gateway) -> None:
    assert said(by_password(gateway, scope="orders:read"))["scope"] == "orders:read"
    assert said(by_password(gateway, scope=""))["scope"] == "orders:read orders:write"
    answer = by_password(gateway, scope="orders:read admin")
    assert (answer.status, said(answer)["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize("name", ["alice", "nobody", "keyless", "\x00", "\U0001f600"])
def test_a_wrong_password_and_an_unknown_name_are_alike(gateway: Gateway, name: str) -> None:
    answer = by_password(gateway, name, "wrong")
    assert answer.status == 400
    assert said(answer) == {"error": "invalid_grant", "error_description": "the name or the password is wrong"}


def test_a_client_by_its_secret(gateway: Gateway) -> None:
    in_field = sign_in(gateway, basic("app", "abc"), grant_type="client_credentials")
    in_form = sign_in(gateway, grant_type="client_credentials", client_id="app", client_secret="abc")
    for answer in (in_field, in_form):
        assert answer.status == 200, answer.body
        claims = jwt.decode(said(answer)["access_token"], SECRET, ["HS256"])
        assert (claims["sub"], claims["client_id"], claims["scope"]) == ("app", "app", "jobs")
        assert "refresh_token" not in said(answer)


def test_client_credentials_that_are_form_encoded_and_that_are_not(gateway: Gateway) -> None:
    for name, secret in (("my app", ODD), (quote_plus("my app"), quote_plus(ODD))):
        answer = sign_in(gateway, basic(name, secret), grant_type="client_credentials")
        assert answer.status == 200, answer.body
        assert jwt.decode(said(answer)["access_token"], SECRET, ["HS256"])["sub"] == "my app"


def test_a_client_that_is_wrong(gateway: Gateway) -> None:
    answer = sign_in(gateway, basic("app", "%zz%"), grant_type="client_credentials")
    assert (answer.status, said(answer)["error"]) == (401, "invalid_client")
    assert answer.get("WWW-Authenticate") == 'Basic realm="portico"'
    answer = sign_in(gateway, grant_type="client_credentials", client_id="app", client_secret="wrong")
    assert (answer.status, said(answer)["error"]) == (400, "invalid_client")
    answer = sign_in(gateway, grant_type="client_credentials", client_id="app")
    assert (answer.status, said(answer)["error"]) == (400, "invalid_client")
    for field in ("Basic !!!", "Basic YQ==", "Bearer x", "Basic /w=="):
        answer = sign_in(gateway, f"Authorization: {field}", grant_type="client_credentials")
        assert (answer.status, said(answer)["error"]) == (401, "invalid_client"), field
    answer = by_password(gateway, client_id="app", client_secret="wrong")
    assert said(answer)["error"] == "invalid_client"


def test_a_client_that_signs_somebody_in(gateway: Gateway) -> None:
    answer = by_password(gateway, client_id="app", client_secret="abc")
    claims = jwt.decode(said(answer)["access_token"], SECRET, ["HS256"])
    assert (claims["sub"], claims["client_id"]) == ("alice", "app")
    empty = sign_in(gateway, basic("", ""), grant_type="password", username="alice", password="wonderland")
    assert empty.status == 200  # as Swagger UI sends it


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"grant_type=password&username=a&username=b&password=c", "invalid_request"),
        (b"grant_type=password&username=a", "invalid_request"),
        (b"grant_type=password&username=a&password=", "invalid_request"),
        (b"grant_type=password&username=%FF&password=c", "invalid_request"),
        (b"\xff", "invalid_request"),
        (b"", "invalid_request"),
        (b"&".join(b"a%d=1" % number for number in range(60)), "invalid_request"),
        (b"a" * 70_000, "invalid_request"),
        (b"grant_type=urn:x", "unsupported_grant_type"),
    ],
)
def test_requests_that_are_wrong(gateway: Gateway, body: bytes, error: str) -> None:
    answer = gateway.ask("POST", "/auth/token", FORM, body=body)
    assert (answer.status, said(answer)["error"]) in [(400, error), (413, error)]


def test_a_request_that_is_no_form(gateway: Gateway) -> None:
    answer = gateway.ask("POST", "/auth/token", "Content-Type: application/json", body=b"{}")
    assert (answer.status, said(answer)["error"]) == (400, "invalid_request")


def test_guessing_is_slowed_down(gateway: Gateway) -> None:
    """Each client has an address of its own, so that others are not slowed down."""
    for name in ("alice", "guessed"):
        answers = [by_password(gateway, name + "-x", f"guess{number}") for number in range(6)]
        assert [each.status for each in answers] == [400] * 5 + [429]
        assert said(answers[-1])["error"] == "too_many_attempts"
        assert 1 <= int(answers[-1].get("Retry-After") or "") <= 15
    events = [event for event in gateway.events() if event["event"] == "somebody failed to sign in"]
    assert events
    assert not any("guess" in json.dumps(event) for event in events)


def refresh(gateway: Gateway, token: str, *lines: str, **form: str) -> Message:
    return sign_in(gateway, *lines, grant_type="refresh_token", refresh_token=token, **form)


def revoke(gateway: Gateway, *lines: str, **form: str) -> Message:
    return gateway.ask("POST", "/auth/revoke", FORM, *lines, body=urlencode(form).encode())


def test_a_token_is_refreshed(gateway: Gateway) -> None:
    first = said(by_password(gateway))["refresh_token"]
    answer = refresh(gateway, first, scope="orders:read")
    assert answer.status == 200
    document = said(answer)
    assert document["scope"] == "orders:read"
    assert document["refresh_token"] != first
    assert said(gateway.get("/auth/me", bearer(document["access_token"])))["username"] == "alice"
    again = said(refresh(gateway, document["refresh_token"]))
    assert again["scope"] == "orders:read orders:write"
    assert (said(refresh(gateway, again["refresh_token"], scope="jobs"))["error"]) == "invalid_scope"
    assert refresh(gateway, again["refresh_token"]).status == 200


def test_two_tabs_refresh_at_once(gateway: Gateway) -> None:
    token = said(by_password(gateway))["refresh_token"]
    with ThreadPoolExecutor(3) as tabs:
        answers = [*tabs.map(lambda _: said(refresh(gateway, token)), range(3))]
    assert len({each["refresh_token"] for each in answers}) == 1
    assert refresh(gateway, answers[0]["refresh_token"]).status == 200


def test_a_token_that_was_used_before_ends_all(gateway: Gateway) -> None:
    stolen = said(by_password(gateway))["refresh_token"]
    token = stolen
    for _ in range(2):
        token = said(refresh(gateway, token))["refresh_token"]
    assert said(refresh(gateway, stolen))["error"] == "invalid_grant"
    assert said(refresh(gateway, token))["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t.replace(".0.", ".1."), lambda t: "", lambda t: t.upper()]
)
def test_a_token_that_was_never_issued(gateway: Gateway, change: Callable[[str], str]) -> None:
    token = said(by_password(gateway))["refresh_token"]
    assert refresh(gateway, change(token)).status == 400
    assert refresh(gateway, token).status == 200


def test_a_token_is_its_clients_own(gateway: Gateway) -> None:
    token = said(by_password(gateway, client_id="app", client_secret="abc"))["refresh_token"]
    assert said(refresh(gateway, token))["error"] == "invalid_grant"
    assert said(refresh(gateway, token, basic("my app", ODD)))["error"] == "invalid_grant"
    assert said(revoke(gateway, basic("my app", ODD), token=token))["error"] == "invalid_grant"
    assert refresh(gateway, token, basic("app", "abc")).status == 200


def test_signing_out(gateway: Gateway) -> None:
    first = said(by_password(gateway))
    second = said(refresh(gateway, first["refresh_token"]))
    answer = revoke(gateway, token=first["refresh_token"], token_type_hint="refresh_token")
    assert (answer.status, answer.body) == (200, b"")
    for document in (first, second):
        assert said(refresh(gateway, document["refresh_token"]))["error"] == "invalid_grant"
    assert revoke(gateway, token=first["refresh_token"]).status == 200
    assert revoke(gateway, token="unknown").status == 200
    assert revoke(gateway, token=first["access_token"]).status == 200
    assert said(revoke(gateway))["error"] == "invalid_request"


def test_what_is_secret_is_in_no_log(gateway: Gateway) -> None:
    by_password(gateway, client_id="app", client_secret="abc-not-right")
    first = said(by_password(gateway))
    second = said(refresh(gateway, first["refresh_token"]))
    by_password(gateway, "alice", "tOp-sEcReT")
    revoke(gateway, token=first["access_token"])
    revoke(gateway, token=second["refresh_token"])
    secrets = ["wonderland", "abc-not-right", "tOp-sEcReT", "$argon2", SECRET]
    secrets += [each[name] for each in (first, second) for name in ("access_token", "refresh_token")]
    until(lambda: "/auth/revoke" in gateway.out(), "it is logged")
    text = gateway.out() + gateway.err() + gateway.get("/metrics").body.decode()
    text += ask(gateway.admin_port, "GET", "/admin/status", "Host: localhost").body.decode()
    assert "/auth/token" in text
    assert [each for each in secrets if each in text] == []
