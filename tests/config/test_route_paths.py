"""The forms of a route: exact paths and patterns, what is asked of query and headers, fallbacks, answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.conftest import Load, Report
from portico.config import (
    ConfigError,
    RedirectSettings,
    RespondSettings,
    dump_config,
    load_config,
    load_dumped,
    named_files,
)
from portico.config.answers import redirect_target

ONE = "services: {a: {url: http://h}}\n"


@pytest.mark.parametrize(
    ("written", "path", "rewrite"),
    [
        ("/x/", "/x", "/{path}"),
        ("= /health", "= /health", "keep"),
        ("=/%68ealth/", "= /health/", "keep"),
        ("~ ^/users/(?P<id>[0-9]+)$", "~ ^/users/(?P<id>[0-9]+)$", "keep"),
        ("~*^/Users", "~* ^/Users", "keep"),
    ],
)
def test_the_forms_of_a_path(load: Load, written: str, path: str, rewrite: str) -> None:
    route = load(f"{ONE}routes: [{{service: a, path: '{written}'}}]").all_routes[0]
    assert (route.path, route.rewrite, route.is_fallback) == (path, rewrite, False)
    assert route.redirect_slash == (rewrite != "keep")


def test_what_a_pattern_captures_can_be_written_into_the_path(load: Load, report: Report) -> None:
    route = "routes: [{service: a, path: '~ ^/users/(?P<id>[0-9]+)$', rewrite: '/u/%s'}]"
    assert load(ONE + route % "{id}").all_routes[0].rewrite == "/u/{id}"
    assert load(ONE + route % "{path}").all_routes[0].rewrite == "/u/{path}"
    assert report(ONE + route % "{ide}") == [
        "portico.yaml:2:67: routes[0].rewrite: no group of the path is called ide: write (?P<ide>…) there; "
        'did you mean "id"?'
    ]


def test_patterns_of_fields_and_parameters(load: Load) -> None:
    text = """\
    routes:
      - {service: a, path: /x, headers: {X-Beta: "~^(1|yes)$"}, query: {version: "2", debug: true, q: "~* ^a"}}
    """
    route = load(ONE + text.replace("\n    ", "\n").lstrip()).all_routes[0]
    assert dict(route.headers) == {"X-Beta": "~ ^(1|yes)$"}
    assert dict(route.query) == {"version": "2", "debug": True, "q": "~* ^a"}


def test_routes_that_differ_in_form_or_query_alone(load: Load, report: Report) -> None:
    forms = ["path: /x", "path: = /x", "path: ~ ^/x$", "fallback: true", "path: /x, query: {v: '1'}", "path: /"]
    lines = "\n".join(f"  - {{service: a, {form}}}" for form in forms)
    assert len(load(f"{ONE}routes:\n{lines}").routes) == len(forms)
    for form in forms:
        (line,) = report(f"{ONE}routes: [{{service: a, {form}}}, {{service: a, {form}}}]")
        assert "matches the very same requests" in line


def test_a_fallback_is_a_route_without_a_path(load: Load) -> None:
    config = load(ONE + "routes: [{service: a, fallback: true, hosts: [old.example]}, {respond: 404, fallback: true}]")
    first, second = config.all_routes[:2]
    assert (first.place, first.rewrite, first.is_fallback, first.redirect_slash) == ("fallback", "keep", True, False)
    assert isinstance(second.answer, RespondSettings)


def test_routes_that_answer_themselves(load: Load) -> None:
    text = """\
    routes:
      - {path: = /robots.txt, respond: {body: "User-agent: *", headers: {Cache-Control: max-age=60}}}
      - {path: /gone, respond: 410}
      - {path: /old, redirect: "/new/{path}"}
      - {path: /away, name: moved, redirect: {to: "https://new.example{path}", status: 308}}
    """
    routes = load(ONE + text.replace("\n    ", "\n").lstrip()).all_routes
    assert [(route.name, route.service) for route in routes[:4]] == [
        *(("respond", None), ("respond-2", None), ("redirect", None), ("moved", None))
    ]
    assert routes[1].answer == RespondSettings(status=410)
    assert routes[2].answer == RedirectSettings(to="/new/{path}", status=307)
    assert routes[3].answer == RedirectSettings(to="https://new.example/{path}", status=308)


def test_policies_of_the_gateway_and_of_the_route_hold_for_an_answer(load: Load) -> None:
    text = """\
    policies: {cors: {}, rate_limit: {requests_per_minute: 60}}
    routes: [{path: /x, respond: 204, policies: {cors: false, headers: {response: {set: {X-A: b}}}}}]
    """
    (route,) = load(text.replace("\n    ", "\n").strip().removeprefix("    ")).all_routes
    assert set(route.policies) == {"rate_limit", "headers"}


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ("respond: {status: 99}", "respond.status: has to be 200 or more"),
        ("respond: {status: 204, body: x}", "respond: a response with the status 204 has no body"),
        ("respond: {body: x, file: y}", "respond: has both body and file; keep one of them"),
        ("respond: {headers: {Content-Length: '1'}}", "respond.headers.Content-Length: Content-Length follows"),
        ('respond: {headers: {X: "a\\nb"}}', "respond: the value of X has an end of line"),
        ("respond: {bodi: x}", 'respond.bodi: unknown key; did you mean "body"?'),
        ("respond: ", "respond: nothing is written after the colon: write respond: {status: 200, body: text}"),
        ("redirect: {to: /x, status: 300}", "redirect.status: expected one of 301, 302, 303, 307, 308"),
        ("redirect: {status: 301}", 'redirect: the key "to" has to be written'),
        (
            "redirect: //evil.example",
            "redirect.to: // begins a host: write https:// before it",
        ),
        ("redirect: ftp://x/", "redirect.to: expected a path that starts with /"),
        ("redirect: 'https://{path}'", "redirect.to: behind http:// or https:// comes a host"),
        ("redirect: 'https://a@b/'", "redirect.to: behind http:// or https:// comes a host"),
        ("redirect: 'https://x{id}'", "redirect.to: behind the host comes a / or {path}"),
        ("redirect: 'https://x/y{path}'", "redirect.to: {path} begins behind the prefix's slash"),
        ("redirect: '/{host}'", "redirect.to: {host} stands behind https://, and {query} behind a ?"),
        ("redirect: '/x?{query}&{query}'", "redirect.to: a query has {query} once"),
        ("redirect: '/x/{id}'", "redirect.to: of a prefix there is {path}; {id} is captured by a pattern"),
        ("redirect: '/a b'", "redirect.to: a redirect goes to a path or a URL in ASCII"),
        (
            "redirect: /x, rewrite: keep",
            "rewrite: is about a service, and a route with redirect has none",
        ),
        ("redirect: /x, respond: 200", "redirect: the route has a respond already: keep one of them"),
        ("redirect: /x, service: a", "redirect: the route has a service already: keep one of them"),
    ],
)
def test_what_is_wrong_with_an_answer(report: Report, route: str, message: str) -> None:
    (line,) = report(f"{ONE}routes: [{{path: /p, {route}}}]")
    where, _, said = message.partition(": ")
    assert f"routes[0].{where.removesuffix('.to')}" in line
    assert f": {said}" in line


@pytest.mark.parametrize(
    ("to", "origin", "path", "query", "names"),
    [
        ("/new/{path}?a=b#c", "", "/new/{path}", "?a=b", []),
        ("{path}", "", "/{path}", "", []),
        ("https://new.example", "https://new.example", "/", "", []),
        ("https://{host}:8443{path}", "https://{host}:8443", "/{path}", "", []),
        ("HTTPS://www.{host}/u/{id}?{query}&x={y}", "HTTPS://www.{host}", "/u/{id}", "?{query}&x={y}", ["id", "y"]),
        ("http://[::1]:80/", "http://[::1]:80", "/", "", []),
    ],
)
def test_the_parts_of_a_redirect(to: str, origin: str, path: str, query: str, names: list[str]) -> None:
    target = redirect_target(to)
    assert (target.origin, target.path, target.query, target.names) == (origin, path, query, names)


def test_files_are_read_with_the_configuration(tmp_path: Path) -> None:
    """They are beside it, where they are not named by a whole path."""
    page, config = tmp_path / "page.html", tmp_path / "portico.yaml"
    config.write_text("routes: [{path: /page, respond: {file: page.html}}]")

    def problem() -> str:
        with pytest.raises(ConfigError) as caught:
            load_config(config, {})
        return str(caught.value)

    where = f"{config}:1:40: routes[0].respond.file: {page}: "
    assert problem() == f"{where}No such file or directory"
    page.write_bytes(b"\xff")
    loaded = load_config(config, {})
    assert named_files(loaded) == [page]
    page.unlink()
    assert loaded.files == load_dumped(dump_config(loaded)).files == {Path("page.html"): b"\xff"}
    page.write_bytes(b"x" * 1024 * 1024 + b"x")
    assert problem() == f"{where}has more than 1024 KiB, which is the most that is kept in memory"
    page.unlink()
    page.mkdir()
    assert problem() == f"{where}is not a regular file"
