"""Clients without a token find who issues some: metadata of the resource (RFC 9728), and where challenges point."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from support.backend import Backend
from support.tokens import SECRET, bearer, token
from support.world import Gateway

URL = "https://gw.example/api/mcp"
WHERE = "https://gw.example/.well-known/oauth-protected-resource/api/mcp"


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


@pytest.fixture(scope="module")
def gateway(service: Backend) -> Iterator[Gateway]:
    jwt = {"secret": SECRET, "issuer": "https://id.example/realms/shop"}
    resource = {"url": URL, "scopes": ["mcp:read"], "name": "Tools", "documentation": "https://gw.example/docs"}
    root = {"url": "https://gw.example/", "authorization_servers": ["https://a.example", "https://b.example"]}

    def guarded(**auth: object) -> dict[str, object]:
        return {"url": service.url, "health_check": False, "policies": {"auth": auth}}

    services = {
        "mcp": guarded(jwt=jwt, resource=resource),
        "root": guarded(jwt={"secret": SECRET}, api_key={}, resource=root),
        "plain": guarded(jwt={"secret": SECRET}),
    }
    config = {
        "gateway": {"workers": 1},
        "services": services,
        "routes": [{"name": "all", "path": "/", "service": "plain"}],
        "policies": {"cors": {}, "deny": [{"when": {"headers": {"User-Agent": "bot"}}}]},
    }
    with Gateway(config) as own:
        yield own


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((), "credentials_missing"),
        ((bearer("x.y.z"),), "credentials_invalid"),
        ((bearer(token(exp=1)),), "credentials_invalid"),
        ((bearer(token(exp=1, iss="https://id.example/realms/shop")),), "credentials_expired"),
        (("Authorization: Basic YTpi",), "credentials_missing"),
        ((bearer("x"), bearer("y")), "credentials_missing"),
    ],
)
def test_every_challenge_points_there(gateway: Gateway, lines: tuple[str, ...], reason: str) -> None:
    answer = gateway.get("/api/mcp/x", *lines)
    assert (answer.status, answer.json()["reason"]) == (401, reason)
    challenge = answer.get("www-authenticate") or ""
    assert challenge.startswith('Bearer realm="portico"')
    assert re.findall(r'resource_metadata="([^"]*)"', challenge) == [WHERE]
    assert ('error="invalid_token"' in challenge) == (reason != "credentials_missing")


def test_whoever_follows_it_learns_who_issues_tokens(gateway: Gateway) -> None:
    answer = gateway.get(urlsplit(WHERE).path)
    said = answer.json()
    assert "ES256" in said.pop("dpop_signing_alg_values_supported")
    assert (answer.status, answer.get("content-type")) == (200, "application/json")
    assert said == {
        "resource": URL,
        "authorization_servers": ["https://id.example/realms/shop"],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["mcp:read"],
        "resource_name": "Tools",
        "resource_documentation": "https://gw.example/docs",
    }
    root = gateway.get("/.well-known/oauth-protected-resource").json()
    assert (root["resource"], root["authorization_servers"]) == (
        "https://gw.example/",
        ["https://a.example", "https://b.example"],
    )


def test_only_the_challenge_for_bearer_tokens_points_there(gateway: Gateway) -> None:
    bearer_challenge, key_challenge = gateway.get("/api/root/").all("www-authenticate")
    assert bearer_challenge.endswith('resource_metadata="https://gw.example/.well-known/oauth-protected-resource"')
    assert key_challenge == 'ApiKey realm="portico"'
    assert gateway.get("/api/plain/").get("www-authenticate") == 'Bearer realm="portico"'


def test_a_token_is_accepted_as_without_it(gateway: Gateway) -> None:
    good = bearer(token(iss="https://id.example/realms/shop"))
    assert gateway.get("/api/mcp/x", good).status == 200


def test_it_is_an_endpoint_of_the_gateways_own(gateway: Gateway) -> None:
    path = urlsplit(WHERE).path
    assert gateway.ask("HEAD", path).status == 200
    assert gateway.ask("POST", path, "Content-Length: 0").status in (401, 405)
    assert gateway.get(path, "User-Agent: bot").status == 403
    assert gateway.get(path, "Origin: https://app.example").get("access-control-allow-origin") == "*"
    preflight = gateway.ask(
        "OPTIONS",
        path,
        "Origin: https://app.example",
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: mcp-protocol-version",
    )
    assert preflight.status in (200, 204)
    assert gateway.get(f"{path}/x").status == 401, "what nothing is said of is the service's"
