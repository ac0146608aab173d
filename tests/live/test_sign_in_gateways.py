"""Signing in at gateways that share a Redis, and at one that gets another configuration."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

from support.backend import Backend
from support.passwords import hashed
from support.redis_process import RedisProcess
from support.tokens import SECRET
from support.world import Gateway, until

FORM = "Content-Type: application/x-www-form-urlencoded"


def configuration(service: Backend, *consumers: dict[str, Any], **gateway: Any) -> dict[str, Any]:
    return {
        "gateway": gateway,
        "services": {"s": service},
        "policies": {"auth": {"jwt": {"secret": SECRET}}},
        "consumers": list(consumers),
    }


HASH = hashed("wonderland")


def alice(*scopes: str, password: str = HASH) -> dict[str, Any]:
    return {"name": "alice", "password": password, "scopes": list(scopes)}


def token(gateway: Gateway, **form: str) -> dict[str, Any]:
    document: dict[str, Any] = gateway.ask("POST", "/auth/token", FORM, body=urlencode(form).encode()).json()
    return document


def sign_in(gateway: Gateway) -> str:
    given: str = token(gateway, grant_type="password", username="alice", password="wonderland")["refresh_token"]
    return given


def refresh(gateway: Gateway, given: str) -> dict[str, Any]:
    return token(gateway, grant_type="refresh_token", refresh_token=given)


def test_two_gateways_with_one_redis() -> None:
    with ExitStack() as stack:
        service, redis = stack.enter_context(Backend()), stack.enter_context(RedisProcess())
        config = configuration(service, alice(), redis_url=redis.url, tokens={"refresh_grace": "1s"})
        one, other = stack.enter_context(Gateway(config)), stack.enter_context(Gateway(config))
        first = sign_in(one)
        with ThreadPoolExecutor(3) as tabs:
            answers = [*tabs.map(lambda gateway: refresh(gateway, first), (one, other, one))]
        (second,) = {each["refresh_token"] for each in answers}
        third = refresh(other, second)["refresh_token"]
        assert refresh(one, first)["error"] == "invalid_grant"
        assert refresh(one, third)["error"] == refresh(other, third)["error"] == "invalid_grant"

        first = sign_in(one)
        second = refresh(other, first)["refresh_token"]
        until(lambda: "error" in refresh(one, first), "the grace is over")
        assert refresh(other, second)["error"] == "invalid_grant"

        assert {each["client_ip"] for each in one.events() if "refresh token came" in each["event"]} == {"127.0.0.1"}
        redis.kill()
        one.clean = other.clean = False
        assert "refresh_token" not in token(one, grant_type="password", username="alice", password="wonderland")
        assert refresh(one, second)["error"] == "temporarily_unavailable"


def test_a_change_of_the_consumer() -> None:
    with Backend() as service, Gateway(configuration(service, alice("read", "write"))) as gateway:
        kept, ended = sign_in(gateway), sign_in(gateway)
        gateway.write(configuration(service, alice("read")))
        gateway.reload()
        answer = refresh(gateway, kept)
        assert answer["scope"] == "read"
        gateway.write(configuration(service, alice("read", password=hashed("another"))))
        gateway.reload()
        assert refresh(gateway, ended)["error"] == refresh(gateway, answer["refresh_token"])["error"] == "invalid_grant"
