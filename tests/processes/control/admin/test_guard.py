"""Who may use the admin API."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from portico.config.admin import Caller, Callers
from portico.processes.control.admin.guard import Guard

TOKEN = "s3cret-ü"
NAMED: Callers = (
    (TOKEN.encode(), Caller("admin")),
    (b"of-ada", Caller("ada")),
    (b"of-ops", Caller("ops", can_write=False)),
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(scope["state"]["caller"].name).encode()})


def asked(*fields: tuple[str, str], token: str | None = None, is_local: bool = True) -> tuple[int, Any]:
    """Status and document of the answer to a request with these header fields."""
    return sent("POST", "/admin/reload", *fields, callers=NAMED[:1] if token else (), is_local=is_local)


def sent(
    method: str, path: str, *fields: tuple[str, str], callers: Callers = NAMED, is_local: bool = True
) -> tuple[int, Any]:
    """The same to a request with this method and path; a right one is answered with the name of its caller."""
    headers = [(name.lower().encode(), value.encode()) for name, value in fields]
    answer: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        answer.append(dict(message))

    scope = {"type": "http", "method": method, "path": path, "scheme": "http", "headers": headers}
    asyncio.run(Guard(app, lambda: callers, is_local=is_local)(scope, receive, send))
    if answer[0]["status"] != 200:
        assert (b"content-type", b"application/problem+json") in answer[0]["headers"]
    return answer[0]["status"], json.loads(answer[1]["body"])


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9000", "LocalHost:1", "127.0.0.1:9000", "127.9.9.9", "[::1]:9000", "[::1]"]
)
def test_without_a_token_programs_on_this_machine_may(host: str) -> None:
    assert asked(("Host", host))[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9000", "10.0.0.1:9000", "localhost.evil.example", "", "[::2]:9000", ":9000"]
)
def test_a_name_that_was_made_to_lead_here_is_refused(host: str) -> None:
    status, document = asked(("Host", host))
    assert status == 403
    assert "loopback" in document["detail"]


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("hosts", [("localhost", "evil.example"), ("localhost", "localhost"), ("evil.example", "")])
def test_two_hosts_are_refused(hosts: tuple[str, str], token: str | None) -> None:
    """One may be checked here and the other be what was meant (RFC 9112, section 3.2)."""
    fields = [("Host", host) for host in hosts]
    assert asked(*fields, ("Authorization", f"Bearer {TOKEN}"), token=token)[0] == 400


def test_without_a_token_nobody_else_may() -> None:
    status, document = asked(("Host", "127.0.0.1"), is_local=False)
    assert status == 403
    assert "ADMIN_TOKEN" in document["detail"]


@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer  {TOKEN}"])
def test_the_token_opens(shown: str) -> None:
    fields = ("Host", "gateway.internal:9000"), ("Authorization", shown)
    assert asked(*fields, token=TOKEN, is_local=False)[0] == 200


@pytest.mark.parametrize(
    "shown",
    [[], ["Bearer wrong"], ["Bearer "], [TOKEN], [f"Basic {TOKEN}"], [f"Bearer {TOKEN}x"], [f"Bearer {TOKEN}"] * 2],
)
def test_anything_else_does_not(shown: list[str]) -> None:
    status, document = asked(("Host", "localhost"), *(("Authorization", value) for value in shown), token=TOKEN)
    assert status == 401
    assert TOKEN not in document["detail"]


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost:9000", "http://localhost:8000"])
def test_pages_of_other_origins_may_not(origin: str, token: str | None) -> None:
    fields = [("Host", "localhost:9000"), ("Origin", origin), ("Authorization", f"Bearer {TOKEN}")]
    assert asked(*fields, token=token)[0] == 403


def test_its_own_pages_may() -> None:
    assert asked(("Host", "localhost:9000"), ("Origin", "http://localhost:9000"))[0] == 200


def bearer(token: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("Host", "gateway.internal:9000"), ("Authorization", f"Bearer {token}")


@pytest.mark.parametrize(("token", "name"), [(TOKEN, "admin"), ("of-ada", "ada"), ("of-ops", "ops")])
def test_who_shows_a_token_has_its_name(token: str, name: str) -> None:
    assert sent("GET", "/admin/status", *bearer(token)) == (200, name)


def test_who_needs_none_is_local() -> None:
    assert sent("PATCH", "/admin/x", ("Host", "localhost"), callers=()) == (200, "local")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "Get", "HEAD ", "QUERY", "X"])
@pytest.mark.parametrize("path", ["/admin/reload", "/admin/config", "/admin/config/plan/", "/admin//config/plan"])
def test_a_token_to_read_does_not_write_by_whatever_method(method: str, path: str) -> None:
    status, document = sent(method, path, *bearer("of-ops"))
    assert status == 403
    assert "ops" in document["detail"]
    assert sent(method, path, *bearer("of-ada")) == (200, "ada")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_it_reads(method: str) -> None:
    assert sent(method, "/admin/services", *bearer("of-ops")) == (200, "ops")


@pytest.mark.parametrize("path", ["/admin/config/validate", "/admin/config/plan", "/admin/explain"])
def test_it_asks_questions_that_are_posted(path: str) -> None:
    assert sent("POST", path, *bearer("of-ops")) == (200, "ops")
    assert sent("PUT", path, *bearer("of-ops"))[0] == 403, "which is no question"


def test_a_token_in_the_url_is_none() -> None:
    query = "/admin/status?token=of-ada&access_token=of-ada"
    assert sent("GET", query, ("Host", "localhost"))[0] == 401
    assert sent("GET", "/admin/status", ("Host", "localhost"), ("X-Portico-Token", "of-ada"))[0] == 401
    assert sent("GET", "/admin/status", ("Host", "localhost"), ("Cookie", "token=of-ada"))[0] == 401
