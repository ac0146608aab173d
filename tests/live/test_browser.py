"""A page of another origin calls a service through the gateway, in a real browser."""

from __future__ import annotations

import base64
import json
from typing import Any

from support.backend import Backend, Connection, content
from support.browser import browser_page, needs_chromium, page_server
from support.tokens import SECRET, token
from support.world import Gateway

CALL = """
async ([url, token, body]) => {
    const options = {
        method: "PUT",
        body: Uint8Array.from(atob(body), c => c.charCodeAt(0)),
        headers: {"X-Own": "from the page", "Content-Type": "application/octet-stream"},
    };
    if (token) options.headers["Authorization"] = "Bearer " + token;
    try {
        const response = await fetch(url, options);
        const bytes = new Uint8Array(await response.arrayBuffer());
        let text = "";
        for (const byte of bytes) text += String.fromCharCode(byte);
        return {status: response.status, body: btoa(text), exposed: response.headers.get("x-total")};
    } catch (error) {
        return {error: String(error)};
    }
}
"""


def service(connection: Connection) -> None:
    while (asked := connection.next_request()) is not None:
        connection.answer(asked.body, "200 OK", "X-Total: 7")


@needs_chromium
def test_fetch_from_another_origin() -> None:
    body = content(70_000)
    with Backend(page_server) as pages, Backend(service) as backend:
        cors = {"allow_origins": [pages.url], "allow_credentials": True, "expose_headers": ["X-Total"]}
        plain = {"url": backend.url, "health_check": False}
        guarded = {"auth": {"jwt": {"secret": SECRET}}}
        config = {
            "services": {
                "open": {**plain, "policies": {"cors": {}, **guarded}},
                "named": {**plain, "policies": {"cors": cors, **guarded}},
                "closed": {**plain, "policies": {"cors": {"allow_origins": ["https://else.test"]}}},
            }
        }
        with Gateway(config) as gateway, browser_page() as page:
            page.goto(f"{pages.url}/")

            def fetch(target: str, text: str) -> Any:
                coded = base64.b64encode(body).decode()
                return page.evaluate(CALL, [f"{gateway.url}{target}", text, coded])

            for name, exposed in (("open", None), ("named", "7")):
                found = fetch(f"/api/{name}/x", token(sub="alice"))
                assert found.get("status") == 200, json.dumps(found)[:500]
                assert base64.b64decode(found["body"]) == body
                assert found["exposed"] == exposed
            assert fetch("/api/open/x", "")["status"] == 401, "a page can read why it was refused"
            assert "error" in fetch("/api/closed/x", ""), "the browser keeps it from a page of an origin not named"
        # no preflight reached the service, and the refused ones did not either
        assert [each.method for each in backend.requests] == ["PUT", "PUT"]
        fields = {name.lower(): value for name, value in backend.requests[0].fields}
        assert fields["x-own"] == "from the page"
        assert fields["x-consumer-username"] == "alice"
        assert fields["authorization"].startswith("Bearer ")
