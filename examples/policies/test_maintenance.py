"""Who gets the page, and when."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from maintenance import Maintenance
from portico.plugin import Refusal
from portico.testing import RunningGateway, StartGateway, make_exchange, make_policy

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
BEHIND_PROXY = {"gateway": {"trusted_proxies": ["127.0.0.1/32"]}}


def is_closed(response: httpx.Response) -> bool:
    return response.status_code == 503 and response.headers["Retry-After"] == "300"


def test_a_file_begins_and_ends_it(gateway: StartGateway, tmp_path: Path) -> None:
    switch = tmp_path / "maintenance"
    running = gateway(Maintenance, switch=switch)
    assert running.client.get("/").status_code == 200
    switch.touch()
    assert is_closed(running.client.get("/"))
    switch.unlink()
    assert running.client.get("/").status_code == 200
    assert len(running.service.requests) == 2


def test_browsers_get_a_page_and_programs_a_problem(gateway: StartGateway, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p>Zurück um drei", encoding="utf-8")
    running = gateway(Maintenance, closed=True, page=page)
    response = running.client.get("/", headers=BROWSER)
    assert is_closed(response)
    assert response.text == "<p>Zurück um drei"
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    response = running.client.post("/", headers={"Accept": "application/json"}, json={})
    assert is_closed(response)
    assert response.json()["reason"] == "maintenance"
    assert running.client.head("/", headers=BROWSER).content == b""
    assert running.service.requests == []


@pytest.mark.parametrize(
    ("accept", "html"),
    [("text/html", True), ("text/html;q=0.9", True), ("*/*", False), ("", False), ("text/html-x", False)],
)
def test_what_is_taken_for_a_browser(accept: str, html: bool) -> None:
    policy = make_policy(Maintenance, closed=True)
    asyncio.run(policy.open())
    verdict = policy.request(make_exchange(headers={"Accept": accept}))
    assert verdict is not None
    assert isinstance(verdict, Refusal) is not html


def ask(running: RunningGateway, client_ip: str) -> int:
    return running.client.get("/", headers={"X-Forwarded-For": client_ip}).status_code


def test_those_who_work_on_it_are_let_through(gateway: StartGateway) -> None:
    running = gateway(Maintenance, closed=True, allow=["10.0.0.0/8", "2001:db8::/32"], config=BEHIND_PROXY)
    assert [ask(running, each) for each in ("10.1.2.3", "2001:db8::7", "11.0.0.1", "2001:db9::7")] == [
        200,
        200,
        503,
        503,
    ]


def test_nobody_lets_himself_through(gateway: StartGateway) -> None:
    """A client's own X-Forwarded-For is worth nothing where it comes from no proxy that is trusted."""
    assert ask(gateway(Maintenance, closed=True, allow=["10.0.0.0/8"]), "10.1.2.3") == 503


@pytest.mark.parametrize(
    ("client_ip", "is_allowed"), [("::ffff:10.1.2.3", True), ("::ffff:11.0.0.1", False), ("?", False)]
)
def test_addresses_in_other_forms(client_ip: str, is_allowed: bool) -> None:
    assert make_policy(Maintenance, allow=["10.0.0.0/8"]).is_allowed(client_ip) is is_allowed


@pytest.mark.parametrize("settings", [{"page": "/nowhere/page.html"}, {"switch": "maintenance"}])
def test_what_cannot_work_is_said_at_once(gateway: StartGateway, settings: dict[str, Any]) -> None:
    with pytest.raises((OSError, ValueError), match=r"page\.html|write the whole path"):
        gateway(Maintenance, **settings)
