"""Services that know no gateway, behind a prefix and at the root of a host, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from support.browser import needs_chromium
from support.service import UvicornService
from support.world import Gateway

APP = "support.signing_in:app"

SWAGGER = """
window.SwaggerUIBundle = async options => {
    const document_ = await (await fetch(options.url)).json();
    const server = document_.servers ? document_.servers[0].url : "";
    const response = await fetch(server + "/items/");
    document.title = document_.info.title + ": " + await response.text();
};
SwaggerUIBundle.presets = {apis: null};
SwaggerUIBundle.SwaggerUIStandalonePreset = null;
"""
"""In place of what /docs loads from the Internet: read the document, call what it names."""

ECHO = """
async url => new Promise(resolve => {
    const socket = new WebSocket(url);
    socket.onopen = () => socket.send("hello");
    socket.onmessage = event => resolve(event.data);
    socket.onerror = () => resolve("refused");
})
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with UvicornService(app=APP) as plain, UvicornService(app=APP, root_path="/api/rooted") as rooted:
        services = {"plain": {"url": plain.url}, "other": {"url": plain.url}, "rooted": {"url": rooted.url}}
        routes = [{"service": "plain", "path": "/", "hosts": ["plain.localhost"]}]
        with Gateway({"services": services, "routes": routes}) as own:
            yield own


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    own = browser.new_page()
    own.set_default_timeout(15_000)
    yield own
    own.close()


def places(gateway: Gateway) -> list[str]:
    return [f"{gateway.url}/api/plain", f"{gateway.url}/api/rooted", f"http://plain.localhost:{gateway.port}"]


@needs_chromium
def test_redirects_stay_behind_the_gateway(gateway: Gateway, page: Any) -> None:
    for place in places(gateway):
        response = page.goto(f"{place}/items")
        assert (response.status, page.url, page.title()) == (200, f"{place}/items/", "items")
        response = page.goto(f"{place}/me")  # nobody is logged in
        assert (response.status, page.url, page.title()) == (200, f"{place}/login", "login")


@needs_chromium
def test_a_login_holds_where_it_was_made(gateway: Gateway, page: Any) -> None:
    """The form's origin is checked, and services that use the same cookie do not overwrite each other's."""
    users = {place: f"user{number}" for number, place in enumerate([*places(gateway), f"{gateway.url}/api/other"])}
    for place, user in users.items():
        page.goto(f"{place}/login")
        page.fill("input", user)
        page.click("button")
        page.wait_for_url(f"{place}/me")
        assert page.title() == f"hello {user}"
    for place, user in users.items():
        page.goto(f"{place}/me")
        assert page.title() == f"hello {user}", place


@needs_chromium
def test_a_websocket_whose_origin_is_checked_opens(gateway: Gateway, page: Any) -> None:
    for place in places(gateway):
        page.goto(f"{place}/items/")
        assert page.evaluate(ECHO, f"ws{place.removeprefix('http')}/echo") == "hello"
    page.goto(f"{gateway.url}/api/plain/items/")
    assert page.evaluate(ECHO, f"ws://plain.localhost:{gateway.port}/echo") == "refused", "of another origin"


@needs_chromium
def test_docs_work_with_root_path(gateway: Gateway, page: Any) -> None:
    page.route(re.compile("^https:"), lambda route: route.fulfill(body=SWAGGER, content_type="text/javascript"))
    for place in (f"{gateway.url}/api/rooted", f"http://plain.localhost:{gateway.port}"):
        page.goto(f"{place}/docs")
        page.wait_for_function("document.title.startsWith('Signing in: ')")
        host = place.split("/")[2]
        assert page.title() == f"Signing in: <title>items</title><p>{host}</p>"
