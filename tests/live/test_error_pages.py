"""Own error pages in a whole gateway: who gets which, at which level, and what stays of a service's error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.backend import Backend, Connection, Refusing, content
from support.client import ask, request
from support.documented import example
from support.messages import Message
from support.portico import run_portico
from support.world import Gateway, until

BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PROBLEM = "application/problem+json"
HTML = "text/html; charset=utf-8"

PAGES = {
    "4xx.html": "<h1>{status} {title}</h1><p>{detail}</p><style>p{margin:0}</style>",
    "sorry.html": "<h1>Sorry</h1><p>{request_id} {reason}</p>",
    "sorry.json": '{"error": {"code": "{reason}", "status": "{status}", "id": "{request_id}"}}',
    "lost.html": "<h1>Lost</h1>{reason}{detail}",
}
REFUSE = """
from portico.plugin import Policy, answer, refuse

class Judge(Policy):
    def request(self, exchange):
        if "refuse" in exchange.path:
            return refuse(403, "not_you", "<b>not</b> you")
        if "answer" in exchange.path:
            return answer(404, "as it is")

    def response(self, exchange, head):
        if "late" in exchange.path:
            return refuse(404, "late", "too late")
        if "gone" in exchange.path:
            head.status = 404
"""


def says(connection: Connection) -> None:
    """An error with much about its content, as the target says: in one piece, in chunks, or long."""
    while (asked := connection.next_request()) is not None:
        status = "404 Not Found" if "404" in asked.target else "401 Unauthorized" if "401" in asked.target else "200 OK"
        lines = [
            *("Content-Type: text/x-own", "Content-Encoding: identity", 'ETag: "a"', "Last-Modified: now"),
            *("Set-Cookie: a=b", "WWW-Authenticate: Own", "Vary: Cookie", "Cache-Control: max-age=5"),
        ]
        if asked.method == "HEAD":
            connection.send("\r\n".join([f"HTTP/1.1 {status}", *lines, "Content-Length: 9", "", ""]).encode())
        else:
            body = content(300_000) if "long" in asked.target else b"the own one"
            connection.answer(body, status, *lines, chunked="chunked" in asked.target)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with ExitStack() as stack:
        backend, dead = stack.enter_context(Backend(says)), stack.enter_context(Refusing())
        lost = {"404": {"html": "pages/lost.html", "intercept": True}}
        down = {"url": dead.url, "health_check": False, "retries": 0}
        errors: dict[str, Any] = {
            "4xx": {"html": "pages/4xx.html"},
            "5xx": {"html": "pages/sorry.html", "text": {"body": "{status} {title}\n"}},
        }
        config = {
            "services": {
                "own": backend,
                "down": {**down, "policies": {"errors": {"5xx": {"json": "pages/sorry.json"}}}},
                "plain": {**down, "policies": {"errors": False}},
                "lost": {
                    "url": backend.url,
                    "health_check": False,
                    "policies": {
                        "errors": lost,
                        "headers": {"response": {"set": {"X-Added": "1"}}},
                        "plugins": [{"use": "./judge.py:Judge"}],
                    },
                },
            },
            "routes": [{"service": "down", "path": "/bare", "name": "bare", "policies": {"errors": {"502": False}}}],
            "policies": {"errors": errors, "cors": {"allow_origins": ["https://app.example"]}},
        }
        own = Gateway()
        (own.directory / "pages").mkdir()
        for name, text in PAGES.items():
            (own.directory / "pages" / name).write_text(text)
        (own.directory / "judge.py").write_text(REFUSE)
        own.write(config)
        with own:
            own.wait_for_control()
            yield own


def page(answer: Message) -> str:
    assert answer.get("content-type") == HTML
    assert "Accept" in answer.all("vary")
    return answer.body.decode()


# ---- the gateway's own answers


def test_no_route(gateway: Gateway) -> None:
    expected = "<h1>404 Not Found</h1><p>no route leads from this path to a service</p><style>p{margin:0}</style>"
    answer = gateway.get("/nowhere", BROWSER)
    assert (answer.status, page(answer)) == (404, expected)
    assert answer.get("cache-control") == "no-store"
    assert answer.all("vary") == ["Accept"]
    assert gateway.logged(answer.get("x-request-id"))["reason"] == "no_route"
    for accept in ("Accept: */*", "Accept: application/json", "Accept: image/png", "X: y"):
        answer = gateway.get("/nowhere", accept)
        assert (answer.status, answer.get("content-type"), answer.get("vary")) == (404, PROBLEM, "Accept")
        assert answer.json()["request_id"] == answer.get("x-request-id")


def test_head_says_what_get_says(gateway: Gateway) -> None:
    got, headed = (gateway.ask(method, "/nowhere", BROWSER) for method in ("GET", "HEAD"))
    assert (headed.status, headed.body) == (404, b"")
    for name in ("content-type", "content-length", "vary"):
        assert headed.get(name) == got.get(name)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("GET", "/api/own/../x", 400), ("POST", "/health", 405), ("GET", "/api/own/%zz", 400)],
)
def test_what_comes_before_any_route(gateway: Gateway, method: str, target: str, status: int) -> None:
    answer = gateway.ask(method, target, BROWSER)
    assert answer.status == status
    assert page(answer).startswith(f"<h1>{status} ")


def test_what_is_no_request_gets_a_document(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(b"GET /x HTTP/1.1\r\nAccept: text/html\r\nHost: a\r\nHost: b\r\n\r\n")
        answer = wire.receive()
    assert (answer.status, answer.get("content-type")) == (400, PROBLEM)


@pytest.mark.parametrize(
    ("accept", "kind", "body"),
    [
        (BROWSER, HTML, "<h1>Sorry</h1><p>{id} upstream_refused</p>"),
        ("Accept: text/plain", "text/plain; charset=utf-8", "502 Bad Gateway\n"),
        ("Accept: */*", "application/json", '{"error":{"code":"upstream_refused","status":502,"id":"{id}"}}'),
    ],
)
def test_a_service_that_is_down(gateway: Gateway, accept: str, kind: str, body: str) -> None:
    """JSON is its service's, the others are the gateway's."""
    answer = gateway.get("/api/down/x", accept, "Origin: https://app.example")
    assert (answer.status, answer.get("content-type")) == (502, kind)
    assert answer.body.decode() == body.replace("{id}", answer.get("x-request-id") or "")
    assert answer.get("proxy-status") == "portico; error=connection_refused"
    assert answer.get("access-control-allow-origin") == "https://app.example"
    assert answer.all("vary") == ["Origin", "Accept"] or answer.all("vary") == ["Accept", "Origin"]


@pytest.mark.parametrize("target", ["/api/plain/x", "/bare/x"])
def test_where_they_are_turned_off(gateway: Gateway, target: str) -> None:
    answer = gateway.get(target, BROWSER)
    assert (answer.status, answer.get("content-type"), answer.get("vary")) == (502, PROBLEM, "Origin")


def test_what_policies_refuse(gateway: Gateway) -> None:
    answer = gateway.get("/api/lost/refuse", BROWSER)
    assert (answer.status, answer.get("x-added")) == (403, "1")
    assert "<p>&lt;b&gt;not&lt;/b&gt; you</p>" in page(answer)
    answer = gateway.get("/api/lost/late", BROWSER)
    assert (answer.status, page(answer)) == (404, "<h1>Lost</h1>latetoo late")
    answer = gateway.get("/api/lost/answer", BROWSER)
    assert (answer.status, answer.body) == (404, b"as it is"), "which is no error"


# ---- in place of a service's errors


@pytest.mark.parametrize("target", ["/api/lost/404", "/api/lost/404-chunked", "/api/lost/404-long", "/api/lost/gone"])
def test_a_services_error_is_replaced_for_who_wants_a_page(gateway: Gateway, target: str) -> None:
    answer = gateway.get(target, BROWSER)
    assert (answer.status, page(answer)) == (404, "<h1>Lost</h1>")
    fields = {name.lower() for name, _ in answer.fields}
    assert fields.isdisjoint({"content-encoding", "etag", "last-modified", "server-timing"})
    kept = ("set-cookie", "www-authenticate", "cache-control", "x-added")
    assert [answer.get(name) for name in kept] == ["a=b", "Own", "max-age=5", "1"]
    assert {"Cookie", "Accept"} <= set(answer.all("vary"))
    assert len(answer.all("date")) == len(answer.all("x-request-id")) == len(answer.all("x-added")) == 1
    line = gateway.logged(answer.get("x-request-id"))
    assert (line["status_code"], line["reason"], line["service"]) == (404, None, "lost")
    assert line["upstream_ms"] is not None


@pytest.mark.parametrize("target", ["/api/lost/404", "/api/lost/404-chunked"])
def test_who_would_get_a_document_gets_the_services_own(gateway: Gateway, target: str) -> None:
    answer = gateway.get(target, "Accept: application/json")
    assert (answer.status, answer.body, answer.get("content-type")) == (404, b"the own one", "text/x-own")
    assert answer.get("etag") == '"a"'
    assert {"Cookie", "Accept"} <= set(answer.all("vary"))


@pytest.mark.parametrize("target", ["/api/lost/401", "/api/lost/200", "/api/own/404"])
def test_other_responses_pass(gateway: Gateway, target: str) -> None:
    answer = gateway.get(target, BROWSER)
    assert (answer.body, answer.get("content-type"), answer.get("etag")) == (b"the own one", "text/x-own", '"a"')
    assert "Accept" not in answer.all("vary")


def test_head_of_one_that_is_replaced(gateway: Gateway) -> None:
    got, headed = (gateway.ask(method, "/api/lost/404", BROWSER) for method in ("GET", "HEAD"))
    assert (headed.status, headed.body, headed.get("content-length")) == (404, b"", got.get("content-length"))


def test_connections_are_kept_around_pages(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        for target in ("404", "200", "404-chunked", "refuse", "404", "200") * 3:
            wire.send(request("GET", f"/api/lost/{target}", BROWSER))
            assert wire.receive().status in (200, 403, 404)


# ---- files


def test_a_reload_reads_them_anew_and_refuses_what_is_not_there(backend: Backend) -> None:
    config = {"services": {"s": backend}, "policies": {"errors": {"404": {"html": "lost.html"}}}}
    gateway = Gateway()
    file = gateway.directory / "lost.html"
    file.write_text("one")
    gateway.write(config)
    with gateway:
        gateway.wait_for_control()
        assert gateway.get("/x", BROWSER).body == b"one"
        file.write_text("two")
        assert gateway.get("/x", BROWSER).body == b"one"
        assert ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost").status == 200
        assert gateway.get("/x", BROWSER).body == b"two"
        file.unlink()
        refused = ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost")
        assert refused.status == 422
        assert f"policies.errors.404.html: there is no file {file}" in refused.json()["detail"]
        assert gateway.get("/x", BROWSER).body == b"two"
        gateway.clean = False  # the error was wanted


def test_a_changed_page_is_enough_where_files_are_watched(backend: Backend) -> None:
    config = {"services": {"s": backend}, "policies": {"errors": {"404": {"html": "lost.html"}}}}
    gateway = Gateway(command=("run", "--reload"))
    (gateway.directory / "lost.html").write_text("one")
    gateway.write(config)
    with gateway:
        gateway.wait_for_control()
        assert ask(gateway.admin_port, "GET", "/admin/status", "Host: localhost").status == 200, "it watches by now"
        (gateway.directory / "lost.html").write_text("two")
        until(lambda: gateway.get("/x", BROWSER).body == b"two", "it is taken over")


def test_check_says_where_a_missing_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "portico.yaml"
    file.write_text("services: {s: {url: http://h}}\npolicies:\n  errors:\n    404: {html: missing.html}\n")
    checked = run_portico("check", "--config", str(file))
    assert checked.returncode == 1
    missing = tmp_path / "missing.html"
    assert f"{file}:4:17: policies.errors.404.html: there is no file {missing}" in checked.stdout + checked.stderr


# ---- the documentation


def test_the_documented_example() -> None:
    with Refusing() as dead:
        config, (before, after) = example("errors.md", "intercept: true", dead.url)
        for written, shown in (
            ({"services": {"shop": {"url": dead.url, "health_check": False}}}, before),
            (config, after),
        ):
            with Gateway(written) as gateway:
                answer = gateway.get("/api/shop/cart", BROWSER)
                assert answer.start == shown[0]
                for line in shown[1:]:
                    name, _, value = line.partition(": ")
                    assert answer.all(name) == [value]
        assert f"say {answer.get('x-request-id')}." in page(answer)
