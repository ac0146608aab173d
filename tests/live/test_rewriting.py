"""Redirects, links and cookies of services behind prefixes come out under the gateway's address."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.client import Wire, ask
from support.world import Gateway, until

leave = threading.Event()
"""Whether the service answers what it was asked as it left."""


def saying(connection: Connection) -> None:
    """A service that answers with the lines that the request names, OWN in them for its own address."""
    while (asked := connection.next_request()) is not None:
        if asked.target == "/leaving":
            assert leave.wait(20)
        own = connection.backend.url.partition("://")[2]
        fields = {name.lower(): value for name, value in asked.fields}
        lines = [line.replace("OWN", own) for line in fields["x-say"].split("|")]
        if asked.target.endswith("?early"):
            connection.send(
                "".join(["HTTP/1.1 103 Early Hints\r\n", *(f"{line}\r\n" for line in lines), "\r\n"]).encode()
            )
        connection.answer(b"", fields.get("x-status", "200 OK"), *lines)


@pytest.fixture(scope="module")
def backends() -> Iterator[list[Backend]]:
    with Backend(saying) as one, Backend(saying) as other:
        yield [one, other]
        assert not one.errors + other.errors


@pytest.fixture(scope="module")
def gateway(backends: list[Backend]) -> Iterator[Gateway]:
    instances = {"instances": [each.url for each in backends], "health_check": False}
    own = {"url": backends[0].url, "health_check": False}
    config = {
        "gateway": {"trusted_proxies": ["127.0.0.1"]},
        "services": {
            "shop": {**instances, "versions": {"v1": {}}},
            "other": own,
            "comes": {"discover": "admin", "health_check": False},
            "off": {**own, "policies": {"rewrite_location": False, "rewrite_cookies": False}},
            "named": {**own, "policies": {"rewrite_cookies": {"path": "off", "domain": "gw.example"}}},
        },
        "routes": [
            {"service": "shop", "path": "/", "hosts": ["shop.example"]},
            {"service": "off", "path": "/on", "policies": {"rewrite_location": True}},
        ],
    }
    with Gateway(config) as own_gateway:
        yield own_gateway


@pytest.fixture(scope="module")
def wire(gateway: Gateway) -> Iterator[Wire]:
    with gateway.wire() as own:
        yield own


def said(wire: Wire, target: str, *lines: str, fields: tuple[str, ...] = (), status: str = "200 OK") -> list[Any]:
    """What the client gets of the lines that the service says."""
    names = {line.partition(":")[0].lower() for line in lines}
    answer = wire.ask("GET", target, f"X-Say: {'|'.join(lines)}", f"X-Status: {status}", *fields)
    assert answer.status == int(status[:3])
    return [f"{name}: {value}" for name, value in answer.fields if name.lower() in names]


OUTSIDE = ("X-Forwarded-Proto: https", "X-Forwarded-Host: gw.example:8443")


@pytest.mark.parametrize("status", ["302 Found", "201 Created", "308 Permanent Redirect", "200 OK"])
def test_urls_of_any_instance_are_the_gateway_s(wire: Wire, backends: list[Backend], status: str) -> None:
    for backend in backends:  # whichever answers
        there = f"{backend.url}/v1/units/8?x={backend.url}/"
        lines = [
            f"Location: {there}",
            "content-location: /graph",
            f"Link: <{there}>; rel=next, </a>; rel=b",
            "Refresh: 0; url=/x",
        ]
        here = f"https://gw.example:8443/api/shop/v1/units/8?x={backend.url}/"
        assert said(wire, "/api/shop/units", *lines, fields=OUTSIDE, status=status) == [
            f"Location: {here}",
            "content-location: /api/shop/graph",
            f"Link: <{here}>; rel=next, </api/shop/a>; rel=b",
            "Refresh: 0; url=/api/shop/x",
        ]


def test_the_way_back_is_that_of_the_route(wire: Wire) -> None:
    assert said(wire, "/v1/shop/x", "Location: http://OWN/api/x") == ["Location: http://gateway.test/v1/shop/x"]
    assert said(wire, "/v1/shop/x", "Location: /elsewhere") == ["Location: /elsewhere"]
    assert said(wire, "/api/shop/x", "Location: /api/other/login") == ["Location: /api/other/login"]
    assert said(wire, "/api/shop/x", "Location: /health") == ["Location: /api/shop/health"]
    for untouched in ("graph", "?x", "#f", "https://else.example/", "mailto:a@b", "//else.example/"):
        assert said(wire, "/api/shop/x", f"Location: {untouched}") == [f"Location: {untouched}"]


def test_without_a_prefix_only_the_address_changes(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(
            b"GET /x HTTP/1.1\r\nHost: shop.example\r\nX-Say: Location: http://OWN/x|Set-Cookie: a=1; Path=/\r\n\r\n"
        )
        answer = wire.receive()
    assert answer.get("Location") == "http://shop.example/x"
    assert answer.get("Set-Cookie") == "a=1; Path=/"


def test_an_application_at_the_root_takes_no_front_page_from_others(gateway: Gateway) -> None:
    lines = ("Host: shop.example", "X-Say: Location: /?welcome|Link: </login>; rel=next")
    answer = gateway.get("/api/other/x", *lines)
    assert answer.get("location") == "/api/other/?welcome"
    assert answer.get("link") == "</api/other/login>; rel=next"


def test_early_hints(gateway: Gateway) -> None:
    with gateway.wire() as wire:
        wire.send(b"GET /api/shop/x?early HTTP/1.1\r\nHost: a\r\nX-Say: Link: </a.css>; rel=preload\r\n\r\n")
        early, final = wire.receive(), wire.receive()
    assert early.status == 103
    assert early.get("Link") == final.get("Link") == "</api/shop/a.css>; rel=preload"


def test_cookies(wire: Wire) -> None:
    own = ["Set-Cookie: a=1; Path=/; Domain=127.0.0.1; HttpOnly", "Set-Cookie: b=2; Path=/login; Domain=.gw.example"]
    assert said(wire, "/api/shop/x", *own, fields=OUTSIDE) == [
        "Set-Cookie: a=1; Path=/api/shop; HttpOnly",
        "Set-Cookie: b=2; Path=/api/shop/login; Domain=.gw.example",
    ]
    assert said(wire, "/v1/shop/x", "Set-Cookie: a=1; Path=/api/x") == ["Set-Cookie: a=1; Path=/v1/shop/x"]
    assert said(wire, "/api/named/x", *own, fields=OUTSIDE) == [
        "Set-Cookie: a=1; Path=/; Domain=gw.example; HttpOnly",
        own[1],
    ]


def test_it_can_be_off(wire: Wire, backends: list[Backend]) -> None:
    own = backends[0].url.partition("://")[2]
    lines = ["Location: /x", "Set-Cookie: a=1; Path=/; Domain=127.0.0.1", f"Link: <http://{own}/>"]
    assert said(wire, "/api/off/x", *lines) == lines
    assert said(wire, "/on/x", *lines) == ["Location: /on/x", lines[1], "Link: <http://gateway.test/on/>"]


def test_a_head_that_repeats_is_rewritten_for_each_client(wire: Wire) -> None:
    """What is remembered of responses is the same for all routes and hosts."""
    for _ in range(3):
        for fields, host in ((OUTSIDE, "https://gw.example:8443"), ((), "http://gateway.test")):
            lines = said(
                wire, "/api/other/x", "Location: http://OWN/a", "Date: Mon, 30 Nov 2026 06:00:00 GMT", fields=fields
            )
            assert lines[0] == f"Location: {host}/api/other/a"


def test_an_instance_that_has_deregistered_answers_what_it_had_begun(gateway: Gateway, backends: list[Backend]) -> None:
    entry = "/admin/registry/comes/a"

    def is_known() -> bool:
        return gateway.get("/api/comes/x", "X-Say: X-A: 1").status == 200

    ask(gateway.admin_port, "PUT", entry, "Host: localhost", body=json.dumps({"url": backends[0].url}).encode())
    until(is_known, "it has registered")
    with gateway.wire() as wire:
        lines = "X-Say: Location: http://OWN/a|Set-Cookie: a=1; Domain=127.0.0.1"
        wire.send(f"GET /api/comes/leaving HTTP/1.1\r\nHost: gw.example\r\n{lines}\r\n\r\n".encode())
        until(lambda: "/leaving" in backends[0].targets(), "the request is there")
        assert ask(gateway.admin_port, "DELETE", entry, "Host: localhost").status == 204
        until(lambda: not is_known(), "it has deregistered")
        leave.set()
        answer = wire.receive()
    assert answer.get("Location") == "http://gw.example/api/comes/a"
    assert answer.get("Set-Cookie") == "a=1"
