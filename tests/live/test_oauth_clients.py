"""Signing in with the clients that people use: Authlib's, and what FastAPI's documentation does with its own."""

from __future__ import annotations

import importlib
import ssl
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.authority import Authority
from support.backend import Backend
from support.passwords import hashed
from support.process import free_port
from support.service import UvicornService
from support.world import Gateway

with warnings.catch_warnings(record=True):  # both say that they prefer httpx2
    warnings.simplefilter("always")
    from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
    from authlib.integrations.httpx_client import OAuth2Client  # type: ignore[import-untyped]
    from authlib.oauth2.rfc8414 import (  # type: ignore[import-untyped]
        AuthorizationServerMetadata,
        get_well_known_url,
    )
    from fastapi.testclient import TestClient


class World:
    """A gateway with TLS that issues tokens, before a service that checks them itself and one that does not."""

    def __init__(self, gateway: Gateway, authority: Authority) -> None:
        self.gateway = gateway
        self.url = f"https://localhost:{gateway.port}"
        self.ca = authority.ca
        self.trust = ssl.create_default_context(cafile=authority.ca)
        self._open: list[httpx.Client] = []

    def authlib(self, **settings: Any) -> Any:
        """A client of Authlib's that knows the two addresses."""
        client = OAuth2Client(verify=self.trust, token_endpoint=f"{self.url}/auth/token", **settings)
        self._open.append(client)
        return client

    def browser(self) -> httpx.Client:
        """A client that knows nothing of tokens."""
        client = httpx.Client(verify=self.trust, base_url=self.url)
        self._open.append(client)
        return client

    def close(self) -> None:
        for client in self._open:
            client.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    port = free_port()
    issuer = f"https://localhost:{port}"
    env = {"ISSUER": issuer, "CA": str(authority.ca)}
    with Backend() as backend, UvicornService(env, app="support.fastapi_service:app") as service:
        service.wait_until_ready(service.is_ready)
        config = {
            "gateway": {
                "tls": authority.leaf("gateway", "localhost").written,
                "tokens": {"algorithm": "ES256", "issuer": issuer},
            },
            "services": {
                "shop": {"url": service.url, "health_check": False, "policies": {"auth": {"optional": True}}},
                "own": backend,
            },
            "policies": {"auth": {"jwt": {}}},
            "consumers": [
                {"name": "alice", "password": hashed("wonder&land"), "scopes": ["read", "write"]},
                {"name": "re ports", "password": hashed("s%3A é"), "scopes": ["read"]},
            ],
        }
        with Gateway(config, port=port) as gateway:
            own = World(gateway, authority)
            yield own
            own.close()


def test_authlib_with_a_password(world: World) -> None:
    client = world.authlib()
    token = client.fetch_token(username="alice", password="wonder&land")
    assert token["scope"] == "read write"
    assert client.get(f"{world.url}/api/own/x").status_code == 200
    with pytest.raises(OAuthError, match="invalid_grant"):
        world.authlib().fetch_token(username="alice", password="wonderland")
    with pytest.raises(OAuthError, match="invalid_scope"):
        world.authlib(scope="admin").fetch_token(username="alice", password="wonder&land")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_as_a_program(world: World, method: str) -> None:
    client = world.authlib(client_id="re ports", client_secret="s%3A é", token_endpoint_auth_method=method)
    first = client.fetch_token()["access_token"]
    client.token["expires_at"] = 1
    assert client.get(f"{world.url}/auth/me").json() == {"username": "re ports", "scopes": ["read"]}
    assert client.token["access_token"] != first, "one that has ended is replaced before it is used"


def test_authlib_stays_signed_in(world: World) -> None:
    turned: list[str] = []
    client = world.authlib(update_token=lambda token, refresh_token: turned.append(refresh_token))
    given = [client.fetch_token(username="alice", password="wonder&land")["refresh_token"]]
    for _ in range(3):
        client.token["expires_at"] = 1
        assert client.get(f"{world.url}/auth/me").json()["username"] == "alice"
        given.append(client.token["refresh_token"])
    assert turned == given[:-1]
    assert len(set(given)) == 4
    with pytest.raises(OAuthError, match="invalid_grant"):
        client.refresh_token(refresh_token=given[0])  # stolen: it was used before
    with pytest.raises(OAuthError, match="invalid_grant"):
        client.refresh_token(refresh_token=given[-1])


def test_authlib_signs_out(world: World) -> None:
    client = world.authlib()
    token = client.fetch_token(username="alice", password="wonder&land")
    first, address = token["access_token"], f"{world.url}/auth/revoke"
    assert client.revoke_token(address, first, token_type_hint="access_token").status_code == 200
    assert client.get(f"{world.url}/auth/me").status_code == 401
    client.refresh_token()
    assert client.get(f"{world.url}/auth/me").status_code == 200
    token = client.token
    answer = client.revoke_token(address, token_type_hint="refresh_token")
    assert (answer.status_code, answer.content) == (200, b"")
    assert client.get(f"{world.url}/auth/me").status_code == 401
    with pytest.raises(OAuthError, match="invalid_grant"):
        client.refresh_token(refresh_token=token["refresh_token"])


def test_authlib_finds_everything_by_the_issuer(world: World) -> None:
    browser = world.browser()
    metadata = AuthorizationServerMetadata(browser.get(get_well_known_url(world.url, external=True)).json())
    metadata.validate()
    assert metadata.issuer == world.url
    client = world.authlib()
    client.fetch_token(metadata.token_endpoint, username="alice", password="wonder&land")
    assert client.get(f"{world.url}/auth/me").json()["username"] == "alice"
    assert client.revoke_token(metadata.revocation_endpoint).status_code == 200
    assert len(browser.get(metadata.jwks_uri).json()["keys"]) == 1


def test_a_service_of_fastapis_tutorial(world: World) -> None:
    """The steps of Swagger UI and of FastAPI's own tests: the address comes from the service's document."""
    browser = world.browser()
    schemes = browser.get("/api/shop/openapi.json").json()["components"]["securitySchemes"]
    address = schemes["OAuth2PasswordBearer"]["flows"]["password"]["tokenUrl"]
    answer = browser.get("/api/shop/users/me")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")

    form = {"username": "alice", "password": "wonder&land"}  # FastAPI's form has no need of grant_type
    token = browser.post(address, data=form).json()
    fields = {"Authorization": f"{token['token_type']} {token['access_token']}"}
    assert browser.get("/api/shop/users/me", headers=fields).json() == {"username": "alice"}
    assert browser.get("/api/shop/orders", headers=fields).json() == ["an order of alice"]
    assert browser.get("/api/shop/users/me", headers={"Authorization": "Bearer x.y.z"}).status_code == 401

    narrow = browser.post(address, data={**form, "grant_type": "password", "scope": "write"}).json()
    fields = {"Authorization": f"Bearer {narrow['access_token']}"}
    assert browser.get("/api/shop/orders", headers=fields).status_code == 403
    assert browser.get("/api/shop/users/me", headers=fields).status_code == 200


def test_a_service_of_fastapis_tutorial_in_its_test_client(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its author tests it, without a gateway before it: with a token of the gateway's."""
    monkeypatch.setenv("ISSUER", world.url)
    monkeypatch.setenv("CA", str(world.ca))
    with TestClient(importlib.import_module("support.fastapi_service").app) as client:
        assert client.get("/users/me").status_code == 401
        form = {"username": "alice", "password": "wonder&land"}
        token = world.browser().post("/auth/token", data=form).json()["access_token"]
        answer = client.get("/users/me", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()) == (200, {"username": "alice"})
