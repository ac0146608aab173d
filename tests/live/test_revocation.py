"""Access tokens that end before their time: by whom, which, and that they stay ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from support.backend import Backend
from support.client import ask
from support.messages import Message
from support.passwords import hashed
from support.portico import run_portico
from support.process import free_port
from support.redis_servers import RedisServer
from support.tokens import SECRET, bearer, token
from support.world import Gateway, until

FORM = "Content-Type: application/x-www-form-urlencoded"
OTHER_SECRET = SECRET[::-1]


def configuration(service: Backend, **gateway: Any) -> dict[str, Any]:
    return {
        "gateway": {"workers": 2, "tokens": {"refresh_grace": 0}, **gateway},
        "services": {
            "s": service,
            "elsewhere": {
                "url": service.url,
                "health_check": False,
                "policies": {"auth": {"jwt": {"secret": OTHER_SECRET}}},
            },
        },
        "policies": {"auth": {"jwt": {"secret": SECRET}}},
        "consumers": [
            {"name": "alice", "password": hashed("wonderland"), "scopes": ["read"]},
            {"name": "bob", "password": hashed("builder")},
            {"name": "app", "password": hashed("abc")},
        ],
    }


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


@pytest.fixture(scope="module")
def gateway(service: Backend) -> Iterator[Gateway]:
    with Gateway(configuration(service)) as own:
        own.wait_for_control()
        yield own


def post(gateway: Gateway, path: str, **form: str) -> Message:
    return gateway.ask("POST", path, FORM, body=urlencode(form).encode())


def sign_in(gateway: Gateway, username: str = "alice", password: str = "wonderland", **form: str) -> dict[str, Any]:
    given = {"grant_type": "password", "username": username, "password": password}
    document: dict[str, Any] = post(gateway, "/auth/token", **given, **form).json()
    return document


def refresh(gateway: Gateway, document: dict[str, Any]) -> dict[str, Any]:
    form = {"grant_type": "refresh_token", "refresh_token": document["refresh_token"]}
    found: dict[str, Any] = post(gateway, "/auth/token", **form).json()
    return found


def revoke(gateway: Gateway, given: str, **form: str) -> tuple[int, str]:
    answer = post(gateway, "/auth/revoke", token=given, **form)
    return answer.status, answer.json()["error"] if answer.body else ""


def status(gateway: Gateway, document: dict[str, Any]) -> int:
    return gateway.get("/api/s/x", bearer(document["access_token"])).status


def claims_of(given: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(given, options={"verify_signature": False})
    return claims


def run(gateway: Gateway, *command: str) -> subprocess.CompletedProcess[str]:
    return run_portico("token", *command, "--admin", f"127.0.0.1:{gateway.admin_port}")


def test_a_revoked_token_ends_on_connections_that_know_it(gateway: Gateway) -> None:
    one, other = sign_in(gateway), sign_in(gateway)
    wires = [gateway.wire() for _ in range(8)]
    line, good = bearer(one["access_token"]), bearer(other["access_token"])
    assert [wire.ask("GET", "/api/s/x", line).status for wire in wires for _ in range(2)] == [200] * 16
    assert revoke(gateway, one["access_token"]) == (200, "")
    for wire in wires:
        answers = [wire.ask("GET", "/api/s/x", line) for _ in range(2)]
        assert [each.status for each in answers] == [401, 401]
        assert answers[0].json()["detail"] == "the token was revoked"
        assert 'error="invalid_token"' in (answers[0].get("WWW-Authenticate") or "")
        assert wire.ask("GET", "/api/s/x", good).status == 200, "that of another sign-in"
        wire.close()
    assert gateway.get("/auth/me", line).status == 401
    assert revoke(gateway, one["access_token"]) == (200, ""), "once more does no harm"
    again = refresh(gateway, one)
    assert status(gateway, again) == 200, "the sign-in goes on"
    assert (revoke(gateway, again["access_token"], token_type_hint="refresh_token"), status(gateway, again)) == (
        (200, ""),
        401,
    )
    (event, *_) = [each for each in gateway.events() if each["event"] == "a token was revoked"]
    assert (event["consumer"], event["jti"]) == ("alice", claims_of(one["access_token"])["jti"])


def test_a_sign_in_takes_its_tokens_along(gateway: Gateway) -> None:
    first = sign_in(gateway)
    second, other = refresh(gateway, first), sign_in(gateway)
    assert [status(gateway, each) for each in (first, second, other)] == [200, 200, 200]
    assert revoke(gateway, second["refresh_token"]) == (200, "")
    assert [status(gateway, each) for each in (first, second, other)] == [401, 401, 200]


def test_a_refresh_token_that_was_stolen_takes_them_along(gateway: Gateway) -> None:
    first = sign_in(gateway)
    second = refresh(gateway, first)
    assert refresh(gateway, first)["error"] == "invalid_grant"
    assert [status(gateway, each) for each in (first, second)] == [401, 401]


def test_commands(gateway: Gateway) -> None:
    one, other, bobs = sign_in(gateway), sign_in(gateway), sign_in(gateway, "bob", "builder")
    done = run(gateway, "revoke", one["access_token"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"the token {claims_of(one['access_token'])['jti']} is revoked, in the gateway at ")
    assert [status(gateway, each) for each in (one, other)] == [401, 200]
    assert run(gateway, "revoke", claims_of(other["access_token"])["jti"]).returncode == 0
    assert status(gateway, other) == 401
    third = refresh(gateway, other)
    assert status(gateway, third) == 200

    done = run(gateway, "revoke", "--consumer", "alice")
    assert done.stdout.startswith("every token that alice has had is revoked, in the gateway at ")
    new = sign_in(gateway)
    assert [status(gateway, each) for each in (third, new, bobs)] == [401, 200, 200]
    assert refresh(gateway, third)["error"] == "invalid_grant", "it could have another one made"
    assert status(gateway, refresh(gateway, new)) == 200
    assert "there is no consumer alicia" in run(gateway, "revoke", "--consumer", "alicia").stderr


@pytest.mark.parametrize("command", [[], ["x", "--consumer", "alice"]])
def test_commands_that_are_written_wrong(gateway: Gateway, command: list[str]) -> None:
    assert run(gateway, "revoke", *command).returncode == 2


def test_nobody_ends_the_token_of_another(gateway: Gateway) -> None:
    """What only looks like somebody's token ends nothing, and gets the answer of one that has ended."""
    victim = sign_in(gateway)
    claims = claims_of(victim["access_token"])
    head, content, signature = victim["access_token"].split(".")
    forged = [
        f"{head}.{content}.",
        f"{head}.{content}.{signature[:-4]}AAAA",
        jwt.encode(claims, "", "none"),
        jwt.encode(claims, OTHER_SECRET, "HS256"),
        jwt.encode(claims, SECRET, "HS512"),
        jwt.encode({**claims, "exp": 1}, SECRET, "HS256"),
        claims["jti"],
        claims["sid"],
        f"portico_rt_{claims['sid']}",
        "..",
        "\x00" * 20,
        "x" * 20_000,
    ]
    assert [revoke(gateway, each) for each in forged] == [(200, "")] * len(forged)
    assert status(gateway, victim) == 200
    unnamed = jwt.encode({"sub": "alice", "exp": claims["exp"]}, SECRET, "HS256")
    assert revoke(gateway, unnamed) == (400, "unsupported_token_type")
    done = run(gateway, "revoke", jwt.encode(claims, OTHER_SECRET, "HS256"))
    assert done.returncode == 1
    assert "no token that this gateway has issued" in done.stderr
    assert status(gateway, victim) == 200


def test_the_token_of_a_client_is_revoked_by_it_alone(gateway: Gateway) -> None:
    apps = sign_in(gateway, client_id="app", client_secret="abc")
    assert revoke(gateway, apps["access_token"]) == (400, "invalid_grant")
    assert revoke(gateway, apps["access_token"], client_id="bob", client_secret="builder") == (400, "invalid_grant")
    assert revoke(gateway, apps["access_token"], client_id="app", client_secret="ab") == (400, "invalid_client")
    assert status(gateway, apps) == 200
    assert revoke(gateway, apps["access_token"], client_id="app", client_secret="abc") == (200, "")
    assert status(gateway, apps) == 401


def test_tokens_of_others_are_not_looked_up(gateway: Gateway) -> None:
    """One of another issuer that has the same words in it is that issuer's matter."""
    mine = sign_in(gateway)
    theirs = bearer(jwt.encode(claims_of(mine["access_token"]), OTHER_SECRET, "HS256"))
    assert revoke(gateway, mine["access_token"]) == (200, "")
    assert gateway.get("/api/elsewhere/x", theirs).status == 200


def test_tokens_of_services_with_the_same_secret_end_with_their_consumer(gateway: Gateway) -> None:
    made_elsewhere = token(sub="app")
    assert gateway.get("/api/s/x", bearer(made_elsewhere)).status == 200
    assert run(gateway, "revoke", "--consumer", "app").returncode == 0
    assert gateway.get("/api/s/x", bearer(made_elsewhere)).status == 401, "it does not say when it was issued"


def test_it_outlasts_every_process(service: Backend) -> None:
    with Gateway(configuration(service), port=free_port()) as gateway:
        gateway.wait_for_control()
        kept, revoked, out = sign_in(gateway), sign_in(gateway), sign_in(gateway)
        assert revoke(gateway, revoked["access_token"]) == revoke(gateway, out["refresh_token"]) == (200, "")
        (file,) = gateway.directory.glob("portico/*.revoked-tokens.sqlite")
        assert {each.stat().st_mode & 0o777 for each in file.parent.glob(f"{file.name}*")} == {0o600}
        gateway.stop()
        gateway.start()
        first = [status(gateway, each) for each in (revoked, out, kept)]
        assert first == [401, 401, 200], "also before control has come"
        gateway.clean = False
        for pid in (gateway.control(), gateway.workers()[0]):
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: pid not in gateway.family(), "it is gone")  # type: ignore[misc]
        until(lambda: len(gateway.workers()) == 2, "others serve")
        for _ in range(20):
            assert [status(gateway, each) for each in (revoked, out)] == [401, 401]
        gateway.wait_for_control()
        assert status_page(gateway)["tokens"] == {"revoked": 2, "shared": None}


def status_page(gateway: Gateway) -> Any:
    return ask(gateway.admin_port, "GET", "/admin/status", "Host: localhost").json()


def test_two_gateways_with_one_redis(service: Backend) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        issuer = {"algorithm": "Ed25519", "issuer": "https://api.example.com"}
        config = {**configuration(service, redis_url=redis.url, tokens=issuer), "policies": {"auth": {"jwt": {}}}}
        one, other = (stack.enter_context(Gateway(config, port=free_port())) for _ in range(2))
        documents = [sign_in(one) for _ in range(6)]
        until(lambda: [status(other, each) for each in documents] == [200] * 6, "both accept them")
        single, family, later, last, missed, good = documents
        assert revoke(other, single["access_token"]) == revoke(other, family["refresh_token"]) == (200, "")
        assert [status(other, each) for each in (single, family)] == [401, 401]
        until(lambda: [status(one, each) for each in (single, family)] == [401, 401], "the other has heard of it")
        assert run(one, "revoke", later["access_token"]).returncode == 0
        until(lambda: status(other, later) == 401, "and the other way")

        redis.kill()
        one.clean = other.clean = False
        assert revoke(one, last["access_token"]) == (503, "temporarily_unavailable"), "it is not certain"
        assert status(one, last) == 401, "and yet it is in force here"
        done = run(one, "revoke", missed["access_token"])
        assert done.returncode == 1
        assert "once Redis is back" in done.stderr
        assert status(one, missed) == 401
        redis.start()
        redis.wait_until_ready(redis.is_ready)
        until(lambda: [status(other, each) for each in (last, missed)] == [401, 401], "it has come with Redis")
        assert [status(each, good) for each in (one, other)] == [200, 200]
        for gateway in (one, other):
            assert all(status(gateway, each) == 401 for each in documents[:-1])
            until(lambda gateway=gateway: status_page(gateway)["tokens"]["shared"], "all is shared")  # type: ignore[misc]
