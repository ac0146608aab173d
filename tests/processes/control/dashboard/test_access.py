"""Who gets to the dashboard where no admin token is set, and what an admin API that fails looks like."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any

import pytest

from portico.processes.control.dashboard.app import Dashboard
from support.asgi import status_of

LOCAL = ("Host", "localhost:9000")
FORM = ("Content-Type", "application/x-www-form-urlencoded")


async def failing(scope: Any, receive: Any, send: Any) -> None:
    """An admin API that is overloaded."""
    await send({"type": "http.response.start", "status": 503, "headers": []})
    await send({"type": "http.response.body", "body": b'{"detail": "too many <b>ask</b>"}'})


def dashboard(*, is_local: bool = True) -> Dashboard:
    gateway = SimpleNamespace(admin_callers=(), title="Shop")
    state: Any = SimpleNamespace(config=SimpleNamespace(gateway=gateway))
    return Dashboard(failing, state, is_local=is_local)


@pytest.mark.parametrize(
    ("fields", "is_local", "status"),
    [
        ([LOCAL], True, 200),
        ([LOCAL], False, 403),
        ([("Host", "evil.example")], True, 403),
        ([LOCAL, ("Via", "1.1 portico")], True, 403),
        ([LOCAL, LOCAL], True, 400),
        ([], True, 403),
    ],
)
def test_without_a_token_it_is_for_this_machine(fields: list[tuple[str, str]], is_local: bool, status: int) -> None:
    assert status_of(dashboard(is_local=is_local), "GET", "/dashboard/", fields)[0] == status
    assert status_of(dashboard(is_local=is_local), "GET", "/dashboard/stream/events", fields)[0] in (status, 503)


def test_a_page_says_what_is_wrong_when_the_api_does_not_answer() -> None:
    status, page = status_of(dashboard(), "GET", "/dashboard/services", [LOCAL])
    assert status == 200
    assert b"too many &lt;b&gt;ask&lt;/b&gt;" in page
    assert b"open to this machine" in page


def test_forms_need_the_token_of_this_process() -> None:
    app = dashboard()
    page = status_of(app, "GET", "/dashboard/explain", [LOCAL])[1].decode()
    found = re.search(r'name="csrf" value="(\w+)"', page)
    assert found
    right = f"csrf={found[1]}&do=explain&url=/x"
    assert status_of(app, "POST", "/dashboard/explain", [LOCAL, FORM], right.encode())[0] == 503, "it was asked"
    for body, fields in (
        ("do=explain&url=/x", [LOCAL, FORM]),
        (f"csrf={'0' * 64}&do=explain", [LOCAL, FORM]),
        (right, [LOCAL, FORM, ("Sec-Fetch-Site", "same-site")]),
        (right, [("Host", "evil.example"), FORM]),
    ):
        assert status_of(app, "POST", "/dashboard/explain", fields, body.encode())[0] == 403
    assert status_of(app, "POST", "/dashboard/explain", [LOCAL], right.encode())[0] == 400, "a type that forms have"
    assert status_of(app, "POST", "/dashboard/explain", [LOCAL, FORM], f"{right}&do=nothing".encode())[0] == 400


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard/nothing",
        "/dashboard/static/nothing.js",
        "/dashboard/static/..%2Fapp.py",
        "/dashboard/services/",  # a redirect would be to whatever Host names
    ],
)
def test_what_is_not_there_is_not_found(path: str) -> None:
    assert status_of(dashboard(), "GET", path, [LOCAL])[0] == 404


def test_a_form_that_is_cut_off_is_no_failure() -> None:
    messages = [{"type": "http.request", "body": b"csrf=", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    fields = [(name.lower().encode(), value.encode()) for name, value in (LOCAL, FORM)]
    scope = {"type": "http", "method": "POST", "path": "/dashboard/explain", "query_string": b"", "headers": fields}
    asyncio.run(dashboard()(scope, receive, send))
    assert sent[0]["status"] == 400
