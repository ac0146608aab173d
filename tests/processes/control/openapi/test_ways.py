"""By which paths clients get to what services have, as the router has it."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from portico.config import Config, load_text
from portico.openapi.document import judged
from portico.openapi.merge import merge
from portico.processes.control.openapi.ways import key_of, parts_for
from support.openapi_validator import validate


def document(*paths: str, servers: list[Any] | None = None) -> Any:
    items: dict[str, Any] = {}
    for path in paths:
        method, _, where = path.rpartition(" ")
        items.setdefault(where, {})[method.lower() or "get"] = {"operationId": path, "responses": {}}
    content = {"openapi": "3.1.0", "info": {"title": "T", "version": "1"}, "paths": items}
    return judged({**content, **({"servers": servers} if servers else {})})


def load(text: str, **environ: str) -> Config:
    return load_text(dedent(text), "portico.yaml", environ)


def merged(config: Config, documents: dict[Any, Any], listener: int = 0) -> Any:
    about: dict[Any, Any] = {key: {"state": "current"} for key in documents}
    parts, schemes = parts_for(config, config.gateway.listeners[listener], documents, about)
    found = merge(parts, "Gateway", schemes)
    assert found.failed == {}
    validate(found.content)
    return found.content


def paths_of(written: str, *paths: str, servers: list[Any] | None = None) -> set[str]:
    """The public ones, with their methods, of a service `s` with one route."""
    config = load(f"services: {{s: {{url: http://h, default_routes: false}}}}\nroutes: [{{service: s, {written}}}]\n")
    content = merged(config, {("s", None): document(*paths, servers=servers)})
    return {f"{method.upper()} {path}" for path, item in content["paths"].items() for method in item}


@pytest.mark.parametrize(
    ("written", "paths", "public"),
    [
        ("path: /api/s", ["/", "/x", "/x/{id}", "/x/"], ["/api/s/", "/api/s/x", "/api/s/x/{id}", "/api/s/x/"]),
        ("path: /", ["/x", "/health", "POST /health", "/livez", "/docs"], ["/x", "POST /health"]),
        ("path: /s, rewrite: keep", ["/s", "/s/x", "/other"], ["/s", "/s/x"]),
        ("path: /new, rewrite: '/old/{path}'", ["/old/x", "/x", "/old/{id}"], ["/new/x", "/new/{id}"]),
        ("path: /new, rewrite: '/old/{path}'", ["/new/x"], []),
        ("path: /s, rewrite: '/a/{path}/b'", ["/a/x/b", "/a/{id}/b", "/a/x"], ["/s/x", "/s/{id}"]),
        ("path: /one, rewrite: /fixed", ["/fixed", "/x"], ["/one"]),
        ("path: '= /exact'", ["/exact", "/exact/x"], ["/exact"]),
        ("path: '= /exact', rewrite: /other", ["/other", "/exact"], ["/exact"]),
        ("path: '~ ^/u/(?P<id>[0-9]+)$', rewrite: '/users/{id}'", ["/users/{user}", "/users"], ["/u/{user}"]),
        ("path: '~ ^/u/(?P<id>[a-z]+)$', rewrite: '/users/{id}'", ["/users/{user}"], ["/u/{user}"]),
        ("path: '~ ^/u/(?P<id>[0-9a-f-]{36})$', rewrite: '/users/{id}'", ["/users/{user}"], ["/u/{user}"]),
        (
            "path: '~ ^/(?P<b>[a-z0-9]+)/by/(?P<a>[a-z0-9]+)$', rewrite: '/x/{a}/{b}'",
            ["/x/{one}/{two}"],
            ["/{two}/by/{one}"],
        ),
        ("path: '~ ^/t/(?P<t>[a-z]+)/x$', rewrite: /x", ["/x"], []),
        ("path: '~ ^/files/.*\\.(png|jpg)$'", ["/files/{name}.png", "/files/{name}"], ["/files/{name}.png"]),
        ("fallback: true", ["/x", "/health"], ["/x"]),
        ("path: /api/s, methods: [GET]", ["/x", "POST /x", "HEAD /y"], ["/api/s/x", "HEAD /api/s/y"]),
        ("path: /s", ["/x/{a}/{b}/{a}"], ["/s/x/{a}/{b}/{a}"]),
        ("path: /s", ["/ü/{ö}"], ["/s/%C3%BC/{ö}"]),
        ("path: /s", ["/x/../y"], []),
    ],
)
def test_paths_are_those_of_the_router(written: str, paths: list[str], public: list[str]) -> None:
    assert paths_of(written, *paths) == {each if " " in each else f"GET {each}" for each in public}


@pytest.mark.parametrize(
    ("written", "server", "public"),
    [
        ("path: /api/s", "/api/s", "/api/s/x"),
        ("path: /api/s", "https://example.com/outer/api/s/", "/api/s/x"),
        ("path: /api/s", "http://10.0.0.1:8080/context", "/api/s/context/x"),
        ("path: /api/s", "/{base}", "/api/s/v3/x"),
        ("path: /api/s, rewrite: keep", "/api/s", "/api/s/x"),
        ("path: /s, rewrite: '/context/{path}'", "/context", "/s/x"),
        ("path: /s, rewrite: '/{path}'", "http://[", "/s/x"),
    ],
)
def test_the_server_of_a_document_is_part_of_the_path_unless_it_is_the_public_one(
    written: str, server: str, public: str
) -> None:
    servers = [{"url": server, "variables": {"base": {"default": "v3"}}}]
    assert paths_of(written, "/x", servers=servers) == {f"GET {public}"}


def test_a_route_that_others_take_paths_from() -> None:
    config = load(
        """
        services: {a: {url: http://h, default_routes: false}, b: {url: http://h, default_routes: false}}
        routes:
          - {service: a, path: /x}
          - {service: b, path: /x/deeper}
          - {service: b, path: /x, methods: [DELETE]}
        """
    )
    content = merged(
        config, {("a", None): document("/y", "/deeper/z", "DELETE /y"), ("b", None): document("/z", "DELETE /y")}
    )
    owners = {
        f"{method.upper()} {path}": operation["tags"]
        for path, item in content["paths"].items()
        for method, operation in item.items()
    }
    assert owners == {
        "GET /x/y": ["a"],
        "GET /x/deeper/z": ["b"],
        "DELETE /x/deeper/y": ["b"],
        "DELETE /x/y": ["b"],
    }


def test_versions() -> None:
    """Those with instances of their own have documents of their own; others go by the service's."""
    config = load(
        """
        services:
          s:
            url: http://h
            version_by: [path, header]
            versions: {v1: {deprecated: 2026-01-01}, v2: {url: http://i}, v3: {url: http://j, sunset: 2020-01-01}}
        """
    )
    assert [key_of(config, "s", each) for each in (None, "v1", "v2")] == [("s", None), ("s", None), ("s", "v2")]
    documents = {
        ("s", None): document("/api/x"),
        ("s", "v2"): document("/api/x", "/api/y"),
        ("s", "v3"): document("/api/z"),
    }
    content = merged(config, documents)
    assert set(content["paths"]) == {"/api/s/api/x", "/v1/s/x", "/v2/s/x", "/v2/s/y", "/api/s/api/y"}
    assert content["paths"]["/v1/s/x"]["get"]["deprecated"] is True
    assert content["paths"]["/v2/s/y"]["get"]["tags"] == ["s v2"]
    (asked,) = content["paths"]["/api/s/api/y"]["get"]["parameters"]
    assert asked == {
        "name": "API-Version",
        "in": "header",
        "required": True,
        "schema": {"type": "string", "enum": ["v2"]},
    }


def test_conditions_and_hosts() -> None:
    config = load(
        """
        services: {s: {url: http://h, default_routes: false}}
        routes:
          - service: s
            path: /x
            hosts: [a.example, "*.b.example"]
            headers: {X-Beta: "~ ^[0-9]$"}
            query: {q: true, p: "1"}
        """
    )
    operation = merged(config, {("s", None): document("/y")})["paths"]["/x/y"]["get"]
    assert operation["servers"] == [
        {"url": "//a.example"},
        {"url": "//{name}.b.example", "variables": {"name": {"default": "www"}}},
    ]
    assert {(each["in"], each["name"]): each["schema"] for each in operation["parameters"]} == {
        ("header", "X-Beta"): {"type": "string", "pattern": "^[0-9]$"},
        ("query", "q"): {"type": "string"},
        ("query", "p"): {"type": "string", "enum": ["1"]},
    }


def test_what_the_policies_of_a_route_ask_for() -> None:
    config = load(
        """
        gateway: {tls: {client_certificates: {ca: ca.pem}, certificate: c, key: k}}
        consumers: [{name: a, password: "$argon2id$v=19$m=19456,t=2,p=1$MTIzNDU2Nzg$MTIzNDU2Nzg5MDEyMzQ1Ng"}]
        services: {s: {url: http://h, default_routes: false}}
        routes:
          - {service: s, path: /own, policies: {auth: {jwt: {}}}}
          - {service: s, path: /other, policies: {auth: {jwt: {jwks_url: "https://id.example/jwks"}, optional: true}}}
          - {service: s, path: /key, policies: {auth: {api_key: {}}}}
          - {service: s, path: /key2, policies: {auth: {api_key: {query: k}}}}
          - {service: s, path: /basic, policies: {auth: {basic: {}}, authorize: {any_scopes: [a, b]}}}
          - {service: s, path: /cert, policies: {auth: {client_certificate: {}}}}
          - {service: s, path: /cookie, policies: {auth: {jwt: {from: [{cookie: t}]}}}}
          - {service: s, path: /open}
        """,
        SECRET_KEY="0123456789abcdef0123456789abcdef",
    )
    content = merged(config, {("s", None): document("/x")})
    needed = {path: item["get"].get("security") for path, item in content["paths"].items()}
    assert needed == {
        "/own/x": [{"gateway_token": []}, {"gateway_bearer": []}],
        "/other/x": [{"gateway_bearer": []}, {}],
        "/key/x": [{"gateway_api_key": []}],
        "/key2/x": [{"gateway_api_key_2": []}],
        "/basic/x": [{"gateway_basic": ["a"]}, {"gateway_basic": ["b"]}],
        "/cert/x": [{"gateway_certificate": []}],
        "/cookie/x": [{"gateway_token_in_cookie": []}],
        "/open/x": None,
    }
    schemes = content["components"]["securitySchemes"]
    assert schemes["gateway_api_key"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert schemes["gateway_api_key_2"] == {"type": "apiKey", "in": "query", "name": "k"}
    assert schemes["gateway_certificate"] == {"type": "mutualTLS"}
    assert schemes["gateway_token_in_cookie"] == {"type": "apiKey", "in": "cookie", "name": "t"}


def test_paths_of_the_gateway_are_no_services() -> None:
    """A service at `/` has a way in of its own; where the gateway issues tokens, that is hidden."""
    text = """
        services: {s: {url: http://h, default_routes: false}}
        routes: [{service: s, path: /}]
        """
    signing = 'consumers: [{name: a, password: "$argon2id$v=19$m=19456,t=2,p=1$MTIzNDU2Nzg$MTIzNDU2Nzg5MDEyMzQ1Ng"}]\n'
    documents = {("s", None): document("POST /auth/token", "/auth/token", "POST /x", "OPTIONS /health")}
    secret = "0123456789abcdef0123456789abcdef"
    assert set(merged(load(text), documents)["paths"]) == {"/auth/token", "/x"}
    paths = merged(load(dedent(text) + signing, SECRET_KEY=secret), documents)["paths"]
    assert {path: [*item] for path, item in paths.items()} == {"/auth/token": ["get"], "/x": ["post"]}


def test_a_listener_shows_what_it_serves() -> None:
    config = load(
        """
        gateway: {listen: [{port: 1}, {port: 2, routes: [s]}]}
        services: {s: {url: http://h}, hidden: {url: http://h}}
        """
    )
    documents = {("s", None): document("/x"), ("hidden", None): document("/y")}
    assert set(merged(config, documents)["paths"]) == {"/api/s/x", "/api/hidden/y"}
    own = merged(config, documents, listener=1)
    assert set(own["paths"]) == {"/api/s/x"}
    assert "hidden" not in str(own)
