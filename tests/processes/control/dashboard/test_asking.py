"""What forms name reaches the admin API as it was written, or not at all."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest

from portico.processes.control.dashboard.app import Dashboard
from support.asgi import status_of

LOCAL = ("Host", "localhost:9000")
FORM = ("Content-Type", "application/x-www-form-urlencoded")


class Api:
    """An admin API that knows nothing, and remembers what it was asked to do."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.tags: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "GET":
            self.asked.append(scope["path"])
            self.tags += [value for name, value in scope["headers"] if name == b"if-match"]
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b'{"detail": "there is none"}'})


def send(page: str, **fields: str) -> tuple[int, str, Api]:
    """What becomes of a form: the status, the page, and what the API was asked."""
    api = Api()
    state: Any = SimpleNamespace(config=SimpleNamespace(gateway=SimpleNamespace(admin_callers=(), title="Shop")))
    app = Dashboard(api, state, is_local=True)
    found = re.search(r'name="csrf" value="(\w+)"', status_of(app, "GET", "/dashboard/explain", [LOCAL])[1].decode())
    assert found is not None
    body = urlencode({"csrf": found[1], **fields}).encode()
    status, text = status_of(app, "POST", f"/dashboard/{page}", [LOCAL, FORM], body)
    return status, text.decode(), api


@pytest.mark.parametrize("name", ["..", ".", "../..", "a.b", "é"])
def test_a_name_is_one_segment_of_a_path_whatever_it_is(name: str) -> None:
    """`..` as the route of a canary, and `reload` as what to do with it, were a reload."""
    assert send("services", do="canary", route=name, action="reload")[2].asked == [f"/admin/canaries/{name}/reload"]
    assert send("services", do="canary", route="x", action=name)[2].asked == [f"/admin/canaries/x/{name}"]
    assert send("services", do="drain", service=name, url="u")[2].asked == [f"/admin/services/{name}/instances/drain"]
    assert send("consumers", do="revoke", id=name)[2].asked == [f"/admin/keys/{name}/revoke"]


@pytest.mark.parametrize(
    ("page", "fields"),
    [
        ("configuration", {"do": "apply", "text": "a: b", "why": "x" * 70_000}),
        ("limits", {"do": "reset", "limit": "x" * 70_000, "key": "k"}),
        ("services", {"do": "drain", "service": "x" * 70_000, "url": "u"}),
    ],
)
def test_what_is_too_long_for_a_request_is_refused_in_words(page: str, fields: dict[str, str]) -> None:
    status, text, api = send(page, **fields)
    assert (status, api.asked) == (414, [])
    assert "longer than a request can name" in text


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 30, "-1", "1.5", "one", "\u0661"])
def test_what_is_no_number_is_not_the_entry_before(number: str) -> None:
    status, text, api = send("configuration", do="rollback", to=number, tag="*")
    assert (status, api.asked) == (422, [])
    assert "no number of an entry" in text


@pytest.mark.parametrize("number", ["", "7"])
def test_an_entry_is_named_by_its_number(number: str) -> None:
    assert send("configuration", do="rollback", to=number, tag="*")[2].asked == ["/admin/config/rollback"]


def test_a_weight_of_thousands_of_digits_is_for_the_api_to_refuse() -> None:
    assert send("services", do="weight", service="web", url="u", weight="9" * 5000)[0] == 404


def test_a_tag_is_sent_as_utf_8() -> None:
    assert send("configuration", do="apply", text="a: b", tag='"€"')[2].tags == ['"€"'.encode()]
