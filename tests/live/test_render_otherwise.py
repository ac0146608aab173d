"""Odd requests, asked of Portico and of all targets: whatever a target does otherwise, it is listed for it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import pytest
import yaml

from live.render_beside import NEEDLESS, is_needless, load
from live.render_cases import service
from live.test_render_envoy import start as start_envoy
from live.test_render_haproxy import start_haproxy
from live.test_render_nginx import start_nginx
from portico.render import Rendering, render_envoy, render_haproxy, render_nginx
from support.backend import Backend
from support.client import Wire
from support.envoy import envoy_program
from support.nginx import lua_library, module
from support.process import free_port
from support.site import program
from support.world import Gateway

HAS_LUA: Final = module("ngx_http_lua_module") is not None and lua_library("cjson") is not None
TARGETS: Final[Mapping[str, tuple[Callable[..., Rendering], Callable[..., Any], bool]]] = {
    "nginx": (render_nginx, start_nginx, program("nginx") is not None),
    "lua": (partial(render_nginx, lua=True), start_nginx, program("nginx") is not None and HAS_LUA),
    "haproxy": (render_haproxy, start_haproxy, program("haproxy") is not None),
    "envoy": (render_envoy, start_envoy, envoy_program() is not None),
}
CONFIG: Final = """
services:
  deep: {default_routes: false}
routes:
  - {name: ex, path: = /ex, service: deep, policies: {ip_filter: {deny: [127.0.0.0/8]}}}
  - {name: users, path: /users, service: deep, rewrite: keep}
  - {name: user, path: '~ ^/users/(?P<id>[0-9]+)$', service: deep, rewrite: '/u/{id}'}
  - {name: api, path: /api, service: deep}
  - {name: admin, path: /admin, service: deep, policies: {ip_filter: {deny: [127.0.0.0/8]}}}
  - {name: secret, path: '~ ^/like/[a-z]+/secret$', service: deep, policies: {ip_filter: {deny: [127.0.0.0/8]}}}
  - {name: gone, path: /gone, respond: 410}
  - {name: moved, path: /moved, redirect: '/new/{path}'}
  - {name: valued, path: /q, query: {t: v}, service: deep, rewrite: '/tv/{path}'}
  - {name: spaced, path: /q, query: {'a b': '3 4'}, service: deep, rewrite: '/ab/{path}'}
  - {name: there, path: /q, query: {z: true}, service: deep, rewrite: '/z/{path}'}
  - {name: tried, path: /q, headers: {X-Try: 'Yes'}, service: deep, rewrite: '/h/{path}'}
  - {name: denied, path: /deny, service: deep, policies: {deny: [
      {when: {query: {t: v}}}, {when: {query: {e: ''}}}, {when: {path: /deny/secret}}, {when: {path: = /deny/only}},
      {when: {path: '~ ^/deny/[0-9]+$'}}]}}
  - {name: front, path: /, hosts: [front.test], service: deep, rewrite: '/front/{path}'}
  - {name: health, path: /health, hosts: [front.test], service: deep, rewrite: keep}
  - {name: rest, path: /, service: deep, rewrite: '/rest/{path}'}
"""
PATHS: Final = re.findall(
    r"\S+",
    r"""
/ex /ex;x /ex/ /ex%3Bx /ex%20 /ex// //ex /%65x /ex%2F /EX /ex; /ex%0A /ex%3Fx
/users//7 /users/7 //users/7 /users/%37 /users/7/ /users/7;a /users%2F7 /users/a%2Fb /users/7%20 /users\7 /users/%2537
//admin /admin /%61dmin /%2561dmin /admin;x /admin%2Fx /Admin /admin%20 /admin/;/x /a//b /x//admin /;/admin /admin%09
/admin%00 /admin% /admin%3Fx /admin%23 /admin%0a /admin%253Bx /admin/x%3f
/like/a/secret /like//a/secret /like/a%2Fsecret /like/a;b/secret /like/a/sec%72et /like/a/secret%20 /like/a/b /x;y
/api//x /api/%61 /api/a%2Fb /api/a%20b /api/..%2fadmin /api/./x /api/../admin /api;x/y /api/x;y /%61pi/x //api/x /api
/api/ /api? /api/x?a?b /api/x?? /api/a+b /api/{x} /api/a|b /api/a"b /api/Ã© /api/%C3%A9 /api/%ff /api/a'b
/api/<x> /api/a^b /api/x#y /api/%23 /api/%3F /api/%5c /api/\x /api/~x /api/%7Ex /api/... /api/.x /api/x. /api/*
/api/a:b /api/a@b /api/a,b /api/a=b&c /api/a$b /api/$uri /api/%24
/gone /gone/x //gone /%67one /gone;x /moved/a%2Fb /moved/a//b /moved/x?y /moved? /moved /moved//evil.example //moved/x
/moved/%0d%0ax /moved/Ã©
/q?t=v /q?T=v /q?t=V /q?t=%76 /q?%74=v /q?t=v&t=v /q?t=v&t=w /q?t=w&t=v /q?x&t=v /q?t=v;x /q?a+b=3+4 /q?a%20b=3%204
/q?A+b=3+4 /q?z /q?z= /q?Z /q?%7A /q?zz /q?t /q?t= /q /q?t=v#x /q?xt=v /q??t=v /q?&t=v /q?t=v&
/deny?t=v /deny?T=v /deny?t=%76 /deny?t=x&t=v /deny?e /deny?e= /deny?e=x /deny/secret /deny//secret /deny/secret;x
/deny/%73ecret /deny/secret/ /deny/secret/x /deny%2Fsecret /deny/secret%2Fx /deny/;a/secret /deny/Secret /deny/only
/deny/only/ /deny/only;x /deny/12 /deny//12 /deny/12;a /deny/%31 /deny/secret%20 /deny/secretx /deny/secret%3Fx /deny
/health /livez / // /// /?x /%2e%2e/admin /.%2e /. /.. * http://gateway.test/api/x http://gateway.test/admin /x%2 /x%zz
/%
""",
)
METHODS: Final = ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "FOO", "get", "HEAD", "TRACE", "PROPFIND")
OWN: Final = ("/health", "/", "/livez", "/metrics")
TRIES: Final = (
    ["X-Try: Yes"],
    ["X-Try: yes"],
    ["X-Try: Yes", "X-Try: No"],
    ["X-Try: No", "X-Try: Yes"],
    ["x-try:   Yes  "],
)


class Asked(NamedTuple):
    method: str
    target: str
    lines: tuple[str, ...] = ()
    host: str = "gateway.test"


class Got(NamedTuple):
    """The status, what the service saw, and where a client is sent, or what is allowed."""

    status: int
    target: str = ""
    field: str = ""


CASES: Final = (
    *(Asked("GET", path) for path in PATHS),
    *(Asked(method, path) for method in METHODS for path in ("/api/x", "/gone")),
    *(Asked(method, path) for method in ("POST", "DELETE", "HEAD") for path in OWN),
    *(Asked("GET", path, (), "front.test") for path in ("/", "/health", "/livez", "/metrics", "/x")),
    *(Asked("GET", "/q", tuple(lines)) for lines in TRIES),
    Asked("OPTIONS", "*"),
)
Excuse: TypeAlias = "Callable[[Asked, Got, Got], bool]"
ODD: Final = re.compile(r"//|;|%3b|\\|%2f|%5c|%25|%20(?:/|$)|%3f|%23|%[01]|%7f", re.IGNORECASE)


def _is_like(expression: str) -> Excuse:
    return lambda asked, ours, theirs: bool(re.match(expression, asked.target))


def _is_odd(asked: Asked, ours: Got, theirs: Got) -> bool:
    """It is refused by one of them, for what it may be read as."""
    return bool(ODD.search(asked.target.partition("?")[0])) and 400 in (ours.status, theirs.status)


def _is_method(*methods: str) -> Excuse:
    return lambda asked, ours, theirs: asked.method in methods


EXCUSES: Final[Mapping[str, Excuse]] = {
    "no /metrics, /docs and /openapi.json": _is_like("/metrics$"),
    "two slashes are one where paths are compared": _is_like(".*//"),
    "a percent-encoded letter": lambda asked, ours, theirs: is_needless(asked.target) and theirs.status == 400,
    NEEDLESS: lambda asked, ours, theirs: is_needless(asked.target) and theirs.status == 400,
    "what a pattern captured is sent without needless percent-encoding": _is_like("/users/%37$"),
    "a path that services may read as": _is_odd,
    "TRACE gets 405": _is_method("TRACE", "get", "OPTIONS"),
    "methods that Envoy's parser does not know": _is_method("QUERY", "OPTIONS"),
    "of a field that comes twice": lambda asked, ours, theirs: len(asked.lines) > 1 and ours.status == 400,
    "a parameter that comes twice": lambda asked, ours, theirs: asked.target.count("t=") > 1 and theirs.status == 400,
    "deny compares paths decoded": lambda asked, ours, theirs: (
        theirs.status == 403 and asked.target.startswith("/deny") and bool(re.search("//|%2F", asked.target))
    ),
}
"""For words of what is listed: whether a difference is this one."""


def ask(port: int, asked: Asked) -> Got:
    head = "".join(f"{line}\r\n" for line in (f"Host: {asked.host}", *asked.lines))
    with Wire(port) as wire:
        wire.send(f"{asked.method} {asked.target} HTTP/1.1\r\n{head}\r\n".encode())
        answer = wire.receive(asked.method)
    field = answer.get("location") or answer.get("allow") or ""
    if answer.status == 200 and answer.body.startswith(b'{"'):
        return Got(200, json.loads(answer.body).get("target", ""), field)
    return Got(answer.status, "", field)


class World(NamedTuple):
    portico: int
    written: dict[str, Any]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        backend = stack.enter_context(Backend(service))
        written = yaml.safe_load(CONFIG)
        written["services"]["deep"]["url"] = backend.url
        unchecked = {"deep": {**written["services"]["deep"], "health_check": False}}
        portico = stack.enter_context(Gateway({**written, "services": unchecked}))
        yield World(portico.port, written)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_done_otherwise_is_listed(world: World, name: str, tmp_path: Path) -> None:
    render, start, is_there = TARGETS[name]
    if not is_there:
        pytest.skip(f"{name} is not installed")
    port = free_port()
    rendering = render(load(world.written, port))
    assert not rendering.losses
    excuses = [excuse for words, excuse in EXCUSES.items() if words in " ".join(rendering.otherwise)]
    unlisted = []
    with start(rendering, port, tmp_path):
        for asked in CASES:
            ours, theirs = ask(world.portico, asked), ask(port, asked)
            if ours != theirs and not any(excuse(asked, ours, theirs) for excuse in excuses):
                unlisted.append((asked, ours, theirs))
    assert not unlisted, "\n".join(map(str, unlisted))
