"""`auth.forward` and `auth.introspection`: what may be written, and what a mistake is answered with."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from portico.config.files import file_problems, named_files
from portico.policies.auth import AuthSettings

from .conftest import Load, Report


def forward(settings: str) -> str:
    return f"services: {{a: {{url: http://h, policies: {{auth: {{forward: {settings}}}}}}}}}"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("{pass_headers: [X-User]}", 'the key "url" has to be written'),
        ("{url: auth:9000}", "expected an address such as http://auth:9000/check"),
        ("{url: ftp://auth/x}", "expected an address such as http://auth:9000/check"),
        ("{url: http://me:pw@auth/x}", "expected an address such as http://auth:9000/check"),
        ("{url: http://auth:0/x}", "expected an address such as http://auth:9000/check"),
        ("{url: http://auth:99999/x}", "expected an address such as http://auth:9000/check"),
        ('{url: "http://auth/x#y"}', "without a fragment"),
        ('{url: "http://auth/a b"}', "in ASCII, with all else percent-encoded"),
        ('{url: "http://auth/x\\r\\ny"}', "in ASCII, with all else percent-encoded"),
        ("{url: http://auth/é}", "in ASCII, with all else percent-encoded"),
        ("{url: http://auth/x, timeout: 26}", "25 or less"),
        ("{url: http://auth/x, timeout: 0}", "more than 0"),
        ("{url: http://auth/x, pass_headers: [X-Forwarded-For]}", "this field is written by the gateway itself"),
        ("{url: http://auth/x, pass_headers: [x_consumer_scopes]}", "this field is written by the gateway itself"),
        ("{url: http://auth/x, pass_headers: [Content-Length]}", "this field is written by the gateway itself"),
        ("{url: http://auth/x, response_headers: [Connection]}", "this field is about one connection"),
        ("{url: http://auth/x, response_headers: [content-length]}", "this field is about one connection"),
        ("{url: http://auth/x, cache: -1}", "0 or more"),
        ("true", "expected keys and values"),
    ],
)
def test_what_may_not_be_written(report: Report, settings: str, problem: str) -> None:
    (line,) = report(forward(settings))
    assert problem in line


def test_it_asks_about_every_request(report: Report) -> None:
    (line,) = report("services: {a: {url: http://h, policies: {auth: {forward: {url: http://x}, optional: true}}}}")
    assert "optional has no meaning beside forward" in line


def test_a_level_turns_off_what_is_on_above(load: Load) -> None:
    config = load("""
        policies: {auth: {forward: {url: "http://auth:9000/check", pass_headers: [X-User]}}}
        services:
          a: {url: http://h}
          b: {url: http://h, policies: {auth: {forward: {cache: 5}}}}
          c: {url: http://h, policies: {auth: {forward: false, jwt: {secret: "0123456789abcdef0123456789abcdef"}}}}
        """)
    written = {route.service: cast(AuthSettings, route.policies["auth"][0]) for route in config.all_routes}
    assert [written[name].methods for name in "abc"] == [("forward",), ("forward",), ("jwt",)]
    assert written["b"].forward is not None
    assert (written["b"].forward.pass_headers, written["b"].forward.cache) == (["X-User"], 5)


def test_the_secret_is_not_shown(load: Load, report: Report) -> None:
    text = "services: {a: {url: http://h, policies: {auth: {introspection: {url: http://x, client_id: me%s}}}}}"
    shown = repr(load(text % ", client_secret: hush-hush"))
    assert "hush-hush" not in shown
    (line,) = report(text % ", client_secret: 'hush-hush ', cache: x")[:1]
    assert "hush-hush" not in line
    (line,) = report(text % "")
    assert "client_secret" in line


def test_a_secret_is_not_sent_to_an_address_of_another_level(report: Report) -> None:
    text = """
        policies: {auth: {introspection: {url: "http://one", client_id: me, client_secret: hush-hush}}}
        services:
          a: {url: http://h, policies: {auth: {introspection: {cache: 5}}}}
          b: {url: http://h, policies: {auth: {introspection: {url: "http://two"}}}}
        """
    first, second = report(text)
    assert "services.b.policies.auth.introspection" in first
    assert 'the key "client_id" has to be written' in first
    assert 'the key "client_secret" has to be written' in second


def test_the_file_of_authorities_is_looked_at(load: Load, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    config = load(forward(f"{{url: https://auth, ca: {tmp_path}/none.pem}}"))
    assert tmp_path / "none.pem" in named_files(config)
    (problem,) = map(str, file_problems(config))
    assert "services.a.policies.auth.forward.ca" in problem
