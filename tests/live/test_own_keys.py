"""Tokens signed with keys of the gateway's own: accepted, published, found by OAuth clients, replaced, withdrawn."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from portico.policies.auth.keys import key_set
from support.backend import Backend
from support.passwords import hashed
from support.portico import run_portico
from support.redis_process import RedisProcess
from support.tokens import SECRET, bearer, token
from support.world import Gateway, until

FORM = "Content-Type: application/x-www-form-urlencoded"
ISSUER = "https://api.example.com"
ALICE = {"name": "alice", "password": hashed("wonderland"), "scopes": ["read"]}


def configuration(service: Backend, algorithm: str, **gateway: Any) -> dict[str, Any]:
    return {
        "gateway": {"tokens": {"algorithm": algorithm, "issuer": ISSUER}, **gateway},
        "services": {"s": service},
        "policies": {"auth": {"jwt": {}}},
        "consumers": [ALICE],
    }


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


def sign_in(gateway: Gateway) -> dict[str, Any]:
    form = {"grant_type": "password", "username": "alice", "password": "wonderland"}
    document: dict[str, Any] = gateway.ask("POST", "/auth/token", FORM, body=urlencode(form).encode()).json()
    return document


def run(gateway: Gateway, *command: str) -> str:
    done = run_portico("token", *command, "--admin", f"127.0.0.1:{gateway.admin_port}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def published(gateway: Gateway) -> list[dict[str, Any]]:
    answer = gateway.get("/.well-known/jwks.json")
    assert (answer.status, answer.get("Content-Type")) == (200, "application/jwk-set+json")
    keys: list[dict[str, Any]] = answer.json()["keys"]
    return keys


def test_each_algorithm(service: Backend) -> None:
    with Gateway(configuration(service, "Ed25519", workers=2), env={"SECRET_KEY": SECRET}) as gateway:
        for number, algorithm in enumerate(["Ed25519", "ES256", "RS256", "EdDSA", "ES512", "PS256"]):
            gateway.write(configuration(service, algorithm, workers=2))
            gateway.reload()
            keys = published(gateway)
            assert [key["alg"] for key in keys][number:] == [algorithm]
            assert not {"d", "p", "q", "k"} & set().union(*keys)
            signed = sign_in(gateway)["access_token"]
            header, claims = jwt.get_unverified_header(signed), jwt.decode(signed, options={"verify_signature": False})
            assert (header["alg"], header["kid"]) == ("Ed25519", keys[0]["kid"])  # the first signs until others know
            assert (claims["iss"], claims["sub"], claims["scope"]) == (ISSUER, "alice", "read")
            assert gateway.get("/api/s/x", bearer(signed)).status == 200
            assert gateway.get("/auth/me", bearer(signed)).json() == {"username": "alice", "scopes": ["read"]}
        assert gateway.get("/api/s/x", bearer(token())).status == 401  # SECRET_KEY signs none any more
        assert gateway.get("/auth/me", bearer(token())).status == 401
        assert len(key_set(json.dumps({"keys": published(gateway)})).keys) == 6


@pytest.fixture(scope="module")
def gateway(service: Backend) -> Iterator[Gateway]:
    with Gateway(configuration(service, "ES256", workers=2)) as own:
        yield own


def test_metadata_for_clients(gateway: Gateway) -> None:
    answer = gateway.get("/.well-known/oauth-authorization-server")
    assert answer.status == 200
    document = answer.json()
    assert document["issuer"] == ISSUER
    assert document["token_endpoint"] == f"{ISSUER}/auth/token"
    assert document["jwks_uri"] == f"{ISSUER}/.well-known/jwks.json"
    assert document["grant_types_supported"] == ["password", "client_credentials", "refresh_token"]


def test_a_key_follows_and_all_others_are_withdrawn(gateway: Gateway) -> None:
    first = sign_in(gateway)
    (key,) = published(gateway)
    done = run(gateway, "rotate")
    assert "in ten minutes" in done
    following = published(gateway)
    assert (following[0], len(following)) == (key, 2)
    second = sign_in(gateway)
    assert jwt.get_unverified_header(second["access_token"])["kid"] == key["kid"]
    assert "now, and alone" in run(gateway, "rotate", "--withdraw")
    assert len(published(gateway)) == 1
    for document in (first, second):
        until(partial(is_refused, gateway, document), "it is withdrawn")
    form = {"grant_type": "refresh_token", "refresh_token": second["refresh_token"]}
    third = gateway.ask("POST", "/auth/token", FORM, body=urlencode(form).encode()).json()
    assert gateway.get("/api/s/x", bearer(third["access_token"])).status == 200


def is_refused(gateway: Gateway, document: dict[str, Any]) -> bool:
    return gateway.get("/api/s/x", bearer(document["access_token"])).status == 401


def test_a_token_for_a_consumer(gateway: Gateway) -> None:
    issued = run(gateway, "issue", "alice", "--life", "1h").strip()
    assert gateway.get("/auth/me", bearer(issued)).json() == {"username": "alice", "scopes": ["read"]}
    claims = jwt.decode(issued, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 3600


def test_two_gateways_sign_with_the_same_keys(service: Backend) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisProcess())
        config = configuration(service, "Ed25519", redis_url=redis.url)
        one, other = (stack.enter_context(Gateway(config)) for _ in range(2))
        assert published(one) == published(other)
        assert other.get("/api/s/x", bearer(sign_in(one)["access_token"])).status == 200
        run(one, "rotate", "--withdraw")
        until(lambda: published(one) == published(other), "the other has taken the new key")
        assert other.get("/api/s/x", bearer(sign_in(one)["access_token"])).status == 200
        redis.kill()
        one.clean = other.clean = False
        assert one.get("/api/s/x", bearer(sign_in(other)["access_token"])).status == 200


def test_keys_outlast_a_restart(service: Backend) -> None:
    config = configuration(service, "Ed25519")
    with Gateway(config) as gateway:
        signed, keys = sign_in(gateway), published(gateway)
        gateway.clean = False
        (file,) = gateway.directory.rglob("*.token-keys.json")
        assert file.stat().st_mode & 0o777 == 0o600
        os.kill(gateway.control(), signal.SIGKILL)
        until(lambda: published(gateway) == keys, "another control process serves")
        assert gateway.get("/api/s/x", bearer(signed["access_token"])).status == 200
