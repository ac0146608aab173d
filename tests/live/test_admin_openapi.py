"""The admin API describes itself, rightly, and shows its description where no other page can be loaded."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from support import openapi_validator
from support.backend import Backend
from support.browser import browser_page, needs_chromium
from support.client import ask
from support.messages import Message
from support.world import Gateway, until

TOKENS = "of-ada", "of-ops"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Backend(name="a") as a, Backend(name="b") as b:
        config = {
            "gateway": {
                "admin_tokens": [
                    {"name": "ada", "token": TOKENS[0], "access": "write"},
                    {"name": "ops", "token": TOKENS[1]},
                ],
                "tokens": {"algorithm": "Ed25519"},
            },
            "services": {
                "shop": {
                    "instances": [{"url": a.url}, {"url": b.url, "backup": True}],
                    "health_check": {"path": "/status/200"},
                    "policies": {"cache": {"ttl": 30}},
                },
                "next": b,
                "found": {"discover": "admin", "health_check": False},
                "books": {"url": a.url, "health_check": False, "versions": {"v1": {}, "v2": {"url": b.url}}},
            },
            "routes": [
                {"name": "shop", "path": "/shop", "service": "shop", "methods": ["GET"], "hosts": ["a.example"]},
                {
                    "name": "new",
                    "path": "/new",
                    "service": "shop",
                    "canary": {"to": "next", "steps": [50], "every": "1h"},
                    "policies": {"cache": False},
                },
                {"name": "old", "path": "= /old", "redirect": {"to": "/new"}, "query": {"x": True}},
                {"name": "kept", "path": "/kept", "service": "next", "policies": {"auth": {"api_key": {}, "jwt": {}}}},
            ],
            "policies": {"rate_limit": {"requests_per_minute": 600, "burst": 100}, "rewrite_cookies": False},
            "consumers": [{"name": "ann", "scopes": ["read"], "rate_limit": {"requests_per_day": 5}}],
        }
        with Gateway(config, env={"SECRET_KEY": "k" * 32}) as own:
            own.wait_for_control()
            until(lambda: admin(own, "GET", "/admin/status").status == 200, "the admin API answers")
            yield own


@pytest.fixture(scope="module")
def document(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = admin(gateway, "GET", "/admin/openapi.json").json()
    return found


def admin(gateway: Gateway, method: str, path: str, body: object = None, token: str = TOKENS[0]) -> Message:
    lines = ["Host: localhost", *([f"Authorization: Bearer {token}"] if token else [])]
    lines += ["Content-Type: application/json"] if body is not None else []
    content = json.dumps(body).encode() if body is not None else None
    return ask(gateway.admin_port, method, path, *lines, body=content)


def test_it_is_a_valid_document(document: dict[str, Any]) -> None:
    openapi_validator.validate(document)
    assert {"token": []} in document["security"]


def test_every_operation_has_a_name_of_its_own_a_tag_and_says_what_it_does(document: dict[str, Any]) -> None:
    operations = [each for path in document["paths"].values() for each in path.values()]
    names = [each["operationId"] for each in operations]
    assert len(names) == len(set(names)) > 25
    assert {tag["name"] for tag in document["tags"]} >= {tag for each in operations for tag in each["tags"]}
    assert not [each["operationId"] for each in operations if not each.get("description") or not each.get("summary")]


def strict(document: dict[str, Any]) -> dict[str, Any]:
    """The same where no object has a key that is not described."""
    changed = copy.deepcopy(document)
    for schema in changed["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return changed


def check(document: dict[str, Any], method: str, path: str, answer: Message) -> None:
    described = document["paths"][path][method.lower()]["responses"]
    own = described.get(str(answer.status), described["default"])
    if answer.status == 204:
        assert "content" not in own
        return
    schema = own["content"][answer.get("content-type")]["schema"]
    whole = {**strict(document), **schema}
    jsonschema_rs.Draft202012Validator(whole).validate(answer.json())


OTHER = {"gateway": {"port": 0}, "services": {"a": {"url": "http://a"}}}
CALLS: list[tuple[str, str, str, object, int]] = [
    ("POST", "/admin/reload", "/admin/reload", None, 200),
    ("GET", "/admin/services", "/admin/services", None, 200),
    ("GET", "/admin/services/{name}", "/admin/services/shop", None, 200),
    ("GET", "/admin/services/{name}", "/admin/services/books@v2", None, 200),
    ("GET", "/admin/services/{name}", "/admin/services/shopp", None, 404),
    ("GET", "/admin/status", "/admin/status", None, 200),
    ("GET", "/admin/openapi", "/admin/openapi", None, 200),
    ("GET", "/admin/routes", "/admin/routes", None, 200),
    ("GET", "/admin/routes", "/admin/routes?limit=0", None, 422),
    ("GET", "/admin/routes/{name}", "/admin/routes/new", None, 200),
    ("GET", "/admin/routes/{name}", "/admin/routes/newer", None, 404),
    ("GET", "/admin/consumers", "/admin/consumers", None, 200),
    ("GET", "/admin/limits", "/admin/limits", None, 200),
    ("GET", "/admin/limits", "/admin/limits?limit=none", None, 404),
    ("DELETE", "/admin/limits", "/admin/limits?limit=gateway/client_ip&key=127.0.0.1", None, 200),
    ("DELETE", "/admin/limits", "/admin/limits?limit=gateway/client_ip", None, 422),
    ("GET", "/admin/live", "/admin/live", None, 200),
    ("POST", "/admin/explain", "/admin/explain", {"url": "/shop/x"}, 200),
    ("POST", "/admin/explain", "/admin/explain", {"url": "http://a.example/shop/x"}, 200),
    ("POST", "/admin/explain", "/admin/explain", {"uri": "/shop/x"}, 422),
    ("GET", "/admin/certificates", "/admin/certificates", None, 200),
    ("GET", "/admin/config", "/admin/config", None, 200),
    ("GET", "/admin/config", "/admin/config?form=xml", None, 400),
    ("PUT", "/admin/config", "/admin/config", {"services": {}}, 428),
    ("POST", "/admin/config/validate", "/admin/config/validate", OTHER, 200),
    ("POST", "/admin/config/validate", "/admin/config/validate", {"routs": {}}, 422),
    ("POST", "/admin/config/plan", "/admin/config/plan", OTHER, 200),
    ("POST", "/admin/config/rollback", "/admin/config/rollback", {}, 428),
    ("GET", "/admin/config/history", "/admin/config/history", None, 200),
    ("GET", "/admin/config/history/{number}", "/admin/config/history/1", None, 200),
    ("GET", "/admin/config/history/{number}", "/admin/config/history/77", None, 404),
    ("GET", "/admin/live", "/admin/live?most=0", None, 422),
    ("GET", "/admin/exchanges", "/admin/exchanges?status=9xx", None, 422),
    ("GET", "/admin/events", "/admin/events?kind=nothing", None, 422),
    ("GET", "/admin/audit", "/admin/audit?limit=5", None, 200),
    ("PUT", "/admin/registry/{name}/{instance}", "/admin/registry/found/1", {"url": "http://127.0.0.1:1"}, 201),
    ("PUT", "/admin/registry/{name}/{instance}", "/admin/registry/found/1", {"url": "http://127.0.0.1:1"}, 200),
    ("PUT", "/admin/registry/{name}/{instance}", "/admin/registry/found/1", {"link": "http://127.0.0.1:1"}, 422),
    ("GET", "/admin/registry", "/admin/registry", None, 200),
    ("POST", "/admin/registry/{name}/{instance}/heartbeat", "/admin/registry/found/1/heartbeat", None, 204),
    ("DELETE", "/admin/registry/{name}/{instance}", "/admin/registry/found/1", None, 204),
    ("GET", "/admin/cache/stats", "/admin/cache/stats", None, 200),
    ("GET", "/admin/cache/show", "/admin/cache/show?url=/shop/x", None, 200),
    ("GET", "/admin/cache/show", "/admin/cache/show", None, 422),
    ("POST", "/admin/cache/purge", "/admin/cache/purge", {"all": True}, 200),
    ("POST", "/admin/cache/purge", "/admin/cache/purge", {}, 422),
    ("GET", "/admin/canaries", "/admin/canaries", None, 200),
    ("POST", "/admin/canaries/{route}/{action}", "/admin/canaries/new/pause", None, 200),
    ("POST", "/admin/canaries/{route}/{action}", "/admin/canaries/shop/pause", None, 404),
    ("POST", "/admin/keys", "/admin/keys", {"consumer": "ann"}, 200),
    ("POST", "/admin/keys", "/admin/keys", {"consumer": "bob"}, 422),
    ("GET", "/admin/keys", "/admin/keys", None, 200),
    ("POST", "/admin/tokens", "/admin/tokens", {"consumer": "ann"}, 200),
    ("POST", "/admin/tokens/revoke", "/admin/tokens/revoke", {"consumer": "ann"}, 200),
    ("POST", "/admin/tokens/rotate", "/admin/tokens/rotate", None, 200),
]


QUESTIONS = "/admin/config/validate", "/admin/config/plan", "/admin/explain"
"""What is asked by POST and changes nothing."""


def test_answers_are_as_described(gateway: Gateway, document: dict[str, Any]) -> None:
    for method, path, target, body, status in CALLS:
        answer = admin(gateway, method, target, body)
        assert answer.status == status, (method, target, answer.body)
        check(document, method, path, answer)


def test_a_service_that_is_called_and_drained_is_as_described(gateway: Gateway, document: dict[str, Any]) -> None:
    gateway.get("/shop/x", "Host: a.example")
    check(document, "GET", "/admin/cache/show", admin(gateway, "GET", "/admin/cache/show?url=/shop/x"))
    (own,) = [each["url"] for each in admin(gateway, "GET", "/admin/services/next").json()["service"]["instances"]]
    for action, more in (("drain", {}), ("weight", {"weight": 3}), ("enable", {})):
        path = f"/admin/services/{{name}}/instances/{action}"
        answer = admin(gateway, "POST", path.format(name="next"), {"url": own, **more})
        assert answer.status == 200
        check(document, "POST", path, answer)
        check(document, "GET", "/admin/services", admin(gateway, "GET", "/admin/services"))
    answer = admin(gateway, "POST", "/admin/keys", {"consumer": "ann"})
    key = answer.json()["key"]["id"]
    check(document, "POST", "/admin/keys/{key}/rotate", admin(gateway, "POST", f"/admin/keys/{key}/rotate"))
    check(document, "POST", "/admin/keys/{key}/revoke", admin(gateway, "POST", f"/admin/keys/{key}/revoke"))


def test_events_that_are_kept_are_as_described(gateway: Gateway, document: dict[str, Any]) -> None:
    lines = "Host: localhost", f"Authorization: Bearer {TOKENS[1]}", "Accept: application/json"
    answer = ask(gateway.admin_port, "GET", "/admin/events?kind=worker&kind=audit", *lines)
    assert answer.json()["events"]
    check(document, "GET", "/admin/events", answer)


def test_a_route_says_what_it_matches_where_it_leads_and_whose_policies_it_has(gateway: Gateway) -> None:
    page = admin(gateway, "GET", "/admin/routes").json()
    routes = {each["name"]: each for each in page["routes"]}
    assert page["total"] == len(routes)
    assert [*routes][:4] == ["shop", "new", "old", "kept"]
    shop = routes["shop"]
    assert (shop["path"], shop["methods"], shop["hosts"], shop["default"]) == ("/shop", ["GET"], ["a.example"], False)
    text = gateway.file.read_text().splitlines()
    for name in ("shop", "kept"):
        file, _, line = routes[name]["where"].rpartition(":")
        assert file == str(gateway.file)
        assert f"name: {name}" in text[int(line) - 1].replace('"', "").replace("'", "")
    levels = {each["key"]: each["level"] for each in shop["policies"] if not each["off"]}
    assert levels == {"rate_limit": "gateway", "cache": "service"}
    assert {each["key"]: each["level"] for each in routes["kept"]["policies"]}["auth"] == "route"
    off = [each for each in shop["policies"] if each["off"]]
    assert [each["key"] for each in off] == ["rewrite_cookies"]
    assert [each["service"] for each in routes["new"]["leads_to"]] == ["shop", "next"]
    assert (routes["old"]["answer"], routes["old"]["leads_to"]) == ({"status": 307, "to": "/new", "file": None}, [])
    only = admin(gateway, "GET", "/admin/routes?service=next&limit=1&offset=1").json()
    assert (only["total"], [each["name"] for each in only["routes"]]) == (3, ["kept"])
    assert {side["version"] for each in routes.values() for side in each["leads_to"]} == {None, "v1", "v2"}
    assert admin(gateway, "GET", "/admin/services/shop").json()["service"]["routes"][:2] == ["shop", "new"]


def test_a_consumer_is_shown_without_what_proves_it(gateway: Gateway) -> None:
    (ann,) = admin(gateway, "GET", "/admin/consumers").json()["consumers"]
    assert (ann["name"], ann["scopes"], ann["signs_in"]) == ("ann", ["read"], False)
    assert ann["rate_limit"] == {"requests_per_day": 5}


def test_a_token_to_read_sees_all_and_changes_nothing(gateway: Gateway, document: dict[str, Any]) -> None:
    for method, path, target, body, status in CALLS:
        answer = admin(gateway, method, target, body, TOKENS[1])
        if method == "GET" or path in QUESTIONS:
            assert answer.status == status, target
        else:
            assert (answer.status, answer.json()["status"]) == (403, 403), target
            check(document, method, path, answer)
    entries = admin(gateway, "GET", "/admin/audit?caller=ops").json()["entries"]
    refused = [call for call in CALLS if call[0] != "GET" and call[1] not in QUESTIONS]
    assert sum(each["times"] for each in entries) == len(refused)
    assert {(each["status"], each["result"]) for each in entries} == {(403, "refused")}


@pytest.mark.parametrize("path", ["/admin/openapi.json", "/admin/docs", "/admin/docs/start.js"])
def test_what_is_the_same_for_all_gateways_needs_no_token(gateway: Gateway, path: str) -> None:
    assert admin(gateway, "GET", path, token="").status == 200
    assert admin(gateway, "POST", path, token="").status == 401


@pytest.mark.parametrize("path", ["/admin/docs/../status", "/admin/docs/%2e%2e/status", "/admin/docsx", "/docs"])
def test_nothing_else_does(gateway: Gateway, path: str) -> None:
    assert admin(gateway, "GET", path, token="").status in (401, 404)


@needs_chromium
def test_a_browser_shows_it_and_asks_with_a_token_and_loads_nothing_from_elsewhere(gateway: Gateway) -> None:
    here, complaints, asked = f"http://127.0.0.1:{gateway.admin_port}/", [], []
    with browser_page() as page:
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{here}admin/docs")
        page.click(".btn.authorize")
        page.fill(".auth-container input", TOKENS[1])
        page.click(".auth-btn-wrapper .authorize")
        page.click(".btn-done")
        for part in ("opblock-summary", "try-out__btn", "execute"):
            page.click(f"#operations-consumers-consumers .{part}")
        answer = page.locator("#operations-consumers-consumers .live-responses-table")
        answer.locator(".response-col_status", has_text="200").first.wait_for()
        assert '"ann"' in answer.inner_text()
    assert f"{here}admin/consumers" in asked
    assert all(url.startswith(here) for url in asked)
    assert complaints == []
