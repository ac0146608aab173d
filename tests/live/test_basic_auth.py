"""Names and passwords of consumers: who is let in, what guessing costs, and that services do not see them."""

from __future__ import annotations

import signal
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from portico.core.passwords import hashed
from support.backend import Backend
from support.messages import Message
from support.tokens import SECRET, bearer, token
from support.waiting import until
from support.world import Gateway

CHEAP = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)


def configuration(service: Backend, **gateway: Any) -> dict[str, Any]:
    def guarded(**auth: Any) -> dict[str, Any]:
        return {"url": service.url, "health_check": False, "policies": {"auth": auth}}

    return {
        "gateway": {"workers": 1, "trusted_proxies": ["127.0.0.1/32"], **gateway},
        "services": {
            "s": guarded(basic=True),
            "both": guarded(basic=True, jwt={"secret": SECRET}, api_key={}),
            "open": guarded(basic=True, optional=True),
            "cached": {
                "url": service.url,
                "health_check": False,
                "policies": {"auth": {"basic": True, "optional": True}, "cache": {"ttl": 60}},
            },
        },
        "consumers": [
            {"name": "ann", "scopes": ["a"], "password": hashed("Zażółć: gęślą")},
            {"name": "łukasz", "password": CHEAP.hash("two words")},
            {"name": "nobody"},
        ],
    }


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


@pytest.fixture(scope="module")
def gateway(service: Backend) -> Iterator[Gateway]:
    with Gateway(configuration(service)) as own:
        yield own


def basic(name: str, password: str, encoding: str = "utf-8") -> str:
    return f"Authorization: Basic {b64encode(f'{name}:{password}'.encode(encoding)).decode()}"


def told(answer: Message) -> str:
    """Whom the service was told of, or why nobody was let in."""
    if answer.status != 200:
        return str(answer.json()["reason"])
    fields = dict(answer.json()["fields"])
    assert not [name for name in fields if name.lower().replace("_", "-") == "authorization"]
    return " ".join(fields.get(name, "-") for name in ("X-Consumer-Username", "X-Consumer-Scopes"))


ANN = basic("ann", "Zażółć: gęślą")


def test_who_is_let_in(gateway: Gateway) -> None:
    for _ in range(2):
        assert told(gateway.get("/api/s/", ANN)) == "ann a"
    assert told(gateway.get("/api/s/", basic("łukasz", "two words"))) == "%C5%82ukasz -"
    assert told(gateway.get("/api/s/", basic("ann", "Zażółć: gęślą").replace("Basic", "bASIC"))) == "ann a"
    answer = gateway.get("/api/s/")
    assert (answer.status, answer.get("www-authenticate")) == (401, 'Basic realm="portico", charset="UTF-8"')


@pytest.mark.parametrize(
    "line",
    [
        basic("ann", "zażółć: gęślą"),
        basic("Ann", "Zażółć: gęślą"),
        basic("nobody", ""),
        basic("eve", "x"),
        "Authorization: Basic",
        "Authorization: Basic !",
        "Authorization: Basic\tYTpi",
        f"Authorization: Basic {b64encode(b'ann').decode()}",
        basic("łukasz", "two words", "iso-8859-2"),
        basic("an\n", "x"),
    ],
)
def test_who_is_not(gateway: Gateway, line: str) -> None:
    answer = gateway.get("/api/s/", line, f"X-Forwarded-For: 2001:db8:{hash(line) & 0xFFFF:x}::1")
    assert (answer.status, told(answer)) == (401, "credentials_invalid")
    assert answer.get("www-authenticate") == 'Basic realm="portico", charset="UTF-8"'


def test_beside_other_ways(gateway: Gateway) -> None:
    assert told(gateway.get("/api/both/", ANN)) == "ann a"
    answer = gateway.get("/api/both/", bearer(token(sub="erin")))
    assert (answer.status, dict(answer.json()["fields"])["X-Consumer-Username"]) == (200, "erin")
    assert dict(answer.json()["fields"])["Authorization"].startswith("Bearer ")
    assert gateway.get("/api/both/", ANN, ANN).status == 401
    assert told(gateway.get("/api/open/")) == "- -"
    assert told(gateway.get("/api/open/", basic("ann", "x"))) == "credentials_invalid"


def test_no_password_is_in_what_the_gateway_writes(gateway: Gateway) -> None:
    assert told(gateway.get("/api/s/?x", ANN)) == "ann a"
    assert gateway.get("/api/both/", ANN, "X-API-Key: x").status >= 400, "a key comes first"
    written = gateway.out() + gateway.err() + gateway.get("/metrics").body.decode()
    assert not [secret for secret in ("gęślą", ANN.split()[-1], "argon2") if secret in written]


def test_many_requests_of_one_page_have_the_password_checked_once(gateway: Gateway) -> None:
    there = "X-Forwarded-For: 192.0.2.50"
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: gateway.get(f"/api/s/{n}", ANN, there), range(48)))
    assert {told(answer) for answer in answers} == {"ann a"}


def test_guessing_is_slowed_down(gateway: Gateway) -> None:
    there = "X-Forwarded-For: 198.51.100.7"
    with ThreadPoolExecutor(16) as threads:
        guesses = list(threads.map(lambda n: gateway.get("/api/s/", basic("ann", str(n)), there), range(32)))
    assert sorted({answer.status for answer in guesses}) == [401, 429]
    assert sum(answer.status == 401 for answer in guesses) == 5, "however many come at once"
    refused = gateway.get("/api/s/", ANN, there)
    assert (refused.status, told(refused)) == (429, "rate_limited"), "the right one tells nothing now"
    assert int(refused.get("retry-after") or 0) > 0
    assert told(gateway.get("/api/s/", ANN)) == "ann a", "others are not concerned"


def test_nobody_gets_what_the_cache_keeps_for_another(gateway: Gateway) -> None:
    other = basic("łukasz", "two words")
    for _ in range(2):
        assert told(gateway.get("/api/cached/x", ANN)) == "ann a"
        assert told(gateway.get("/api/cached/x")) == "- -"
        assert told(gateway.get("/api/cached/x", other)) == "%C5%82ukasz -"
        guess = gateway.get("/api/cached/x", basic("ann", "x"), "X-Forwarded-For: 192.0.2.77")
        assert told(guess) == "credentials_invalid"


def test_a_client_library_of_others(gateway: Gateway) -> None:
    answer = httpx.get(f"http://127.0.0.1:{gateway.port}/api/s/", auth=("ann", "Zażółć: gęślą"))
    assert answer.status_code == 200


def test_a_password_that_is_taken_back_holds_no_longer(service: Backend) -> None:
    config = configuration(service)
    with Gateway(config) as gateway, gateway.wire() as wire:
        assert told(wire.ask("GET", "/api/s/", ANN)) == "ann a"
        config["consumers"][0]["password"] = CHEAP.hash("new")
        gateway.write(config)
        gateway.wait_for_control()
        gateway.signal(signal.SIGHUP)
        until(lambda: any("reloaded" in event["event"] for event in gateway.events()), "it is reloaded")
        assert told(wire.ask("GET", "/api/s/", ANN)) == "credentials_invalid"
        assert told(wire.ask("GET", "/api/s/", basic("ann", "new"))) == "ann a"
