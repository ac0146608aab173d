"""A provider of OpenID Connect that others wrote: it changes its keys under load, and goes away for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from support.backend import Backend
from support.client import ask
from support.commands import python
from support.process import Process
from support.redis_servers import free_port
from support.tokens import bearer
from support.world import Gateway, until

CLIENT: Final = "an-application"
CALLBACK: Final = "https://app.example/callback"


class Provider(Process):
    """The provider, on a port of its own that it keeps when it is started again."""

    STOP_WITHIN = 0.0

    def __init__(self, port: int) -> None:
        super().__init__(*python("support.oidc_provider", port))
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        try:
            return self.keys() != []
        except httpx.HTTPError:
            return False

    def keys(self) -> list[dict[str, str]]:
        """What it publishes."""
        keys: list[dict[str, str]] = httpx.get(f"{self.url}/jwks").raise_for_status().json()["keys"]
        return keys

    def key_of(self, token: str) -> str | None:
        """The key that signed a token, by its modulus; None where it is not published any more. None is named."""
        for key in self.keys():
            try:
                jwt.decode(token, jwt.PyJWK(key, "RS256"), audience=CLIENT)
            except jwt.InvalidSignatureError:
                continue
            return key["n"]
        return None

    def rotate(self) -> None:
        httpx.post(f"{self.url}/rotate").raise_for_status()

    def sign_in(self, who: str) -> str:
        """The ID token that somebody gets by the authorization code flow (OpenID Connect Core, section 3.1)."""
        asked = {
            "client_id": CLIENT,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "openid",
            "state": "s",
        }
        answer = httpx.post(f"{self.url}/oauth2/authorize", params=asked, data={"sub": who})
        (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        answer = httpx.post(f"{self.url}/oauth2/token", data=form, auth=(CLIENT, "a-secret")).raise_for_status()
        return str(answer.json()["id_token"])


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(free_port()) as running:
        running.wait_until_ready(running.is_ready)
        running.rotate()
        yield running


@pytest.fixture(scope="module")
def gateway(provider: Provider) -> Iterator[Gateway]:
    issuer = {"issuer": provider.url, "discovery": True, "audience": CLIENT, "refresh": 1}
    with Backend() as backend:
        config = {
            "gateway": {"workers": 2},
            "services": {"own": backend},
            "policies": {"auth": {"jwt": {"issuers": [issuer]}}},
        }
        with Gateway(config) as running:
            running.wait_for_control()
            running.clean = False  # that the provider is away is an error among its events
            yield running


def status(gateway: Gateway, token: str) -> int:
    return gateway.get("/api/own/x", bearer(token)).status


class Load:
    """Users who sign in and come at once, several at a time, until the block ends."""

    def __init__(self, visit: Callable[[], None]) -> None:
        self._visit = visit
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]
        self.faults: list[BaseException] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._visit()
        except BaseException as fault:
            self.faults.append(fault)


def test_keys_change_under_load(gateway: Gateway, provider: Provider) -> None:
    admitted: list[str] = []
    refused: list[str] = []

    def visit() -> None:
        token = provider.sign_in("alice")
        is_admitted = status(gateway, token) == 200
        key = provider.key_of(token)
        if key is not None:  # else it was withdrawn on its way
            (admitted if is_admitted else refused).append(key)

    with Load(visit) as load:
        for _ in range(3):
            key = provider.keys()[0]["n"]
            old = provider.sign_in("bob")
            until(lambda key=key: key in admitted or load.faults, "users of this key come in")  # type: ignore[misc]
            provider.rotate()
            until(lambda old=old: status(gateway, old) == 401, "the withdrawn key is refused")  # type: ignore[misc]
    assert load.faults == []
    assert refused == []
    assert len(set(admitted)) >= 3


def test_a_provider_that_is_away_costs_nobody_anything(gateway: Gateway, provider: Provider) -> None:
    """Neither those who came before nor those who come for the first time while it is away."""
    token = provider.sign_in("carol")
    assert status(gateway, token) == 200
    others = [provider.sign_in(f"visitor-{number}") for number in range(20)]
    answers: list[int] = []
    with Load(lambda: answers.append(status(gateway, token))) as load:
        provider.end()
        until(lambda: _complains(gateway), "the gateway has asked it in vain")
        so_far = len(answers)
        first_visits = [status(gateway, each) for each in others]
        until(lambda: len(answers) > so_far + 50)
    assert load.faults == []
    assert set(answers) == set(first_visits) == {200}
    with Provider(provider.port) as again:
        again.wait_until_ready(again.is_ready)
        again.rotate()
        assert status(gateway, again.sign_in("carol")) == 200, "with a key of which nobody knew"
        until(lambda: status(gateway, token) == 401, "the key of before is none of its keys any more")


def _complains(gateway: Gateway) -> bool:
    page = ask(gateway.admin_port, "GET", "/admin/status", "Host: localhost").json()
    return any(issuer.get("problem") for issuer in page["issuers"])
