"""What is left of limits, wherever they are counted, and how one is made whole again."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest

from support.backend import Backend
from support.client import ask
from support.messages import Message
from support.redis_process import RedisProcess
from support.world import Gateway, until

HEADER = "X-Team"
OWN: dict[str, dict[str, Any]] = {
    "ann": {"rate_limit": {"burst": 5}},
    "bob": {},
    "eve": {"rate_limit": {"burst": 5, "requests_per_minute": 2}},
}
"""Consumers, with their keys for a name."""


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


def config(service: Backend, **gateway: Any) -> dict[str, Any]:
    return {
        "gateway": gateway,
        "services": {"s": service},
        "routes": [
            {"name": "rate", "path": "/rate", "service": "s", "policies": {"rate_limit": {
                "requests_per_minute": 1, "burst": 4, "by": {"header": HEADER}}}},
            {"name": "day", "path": "/day", "service": "s", "policies": {"rate_limit": [
                {"requests_per_day": 3, "by": {"header": HEADER}, "name": "daily"}]}},
            {"name": "key", "path": "/key", "service": "s", "policies": {"rate_limit": [
                {"requests_per_minute": 1, "burst": 2, "by": {"header": "X-Api-Key"}}]}},
            {"name": "own", "path": "/own", "service": "s", "policies": {
                "auth": {"api_key": {}},
                "rate_limit": {"requests_per_minute": 1, "burst": 2, "by": "consumer"}}},
            {"name": "free", "path": "/free", "service": "s", "policies": {"rate_limit": False}},
        ],
        "policies": {"rate_limit": {"requests_per_minute": 6000, "burst": 1000}},
        "consumers": [
            {"name": name, "keys": [f"sha256:{sha256(name.encode()).hexdigest()}"], **numbers}
            for name, numbers in OWN.items()
        ],
    }  # fmt: skip


@pytest.fixture(scope="module", params=["memory", "workers", "redis"])
def gateway(request: pytest.FixtureRequest, service: Backend) -> Iterator[Gateway]:
    if request.param == "redis":
        with RedisProcess() as redis, Gateway(config(service, workers=2, redis_url=redis.url)) as own:
            own.wait_for_control()
            until(lambda: _serves(own), "Redis serves limits")
            yield own
    else:
        with Gateway(config(service, workers=2 if request.param == "workers" else 1)) as own:
            own.wait_for_control()
            yield own


def _serves(gateway: Gateway) -> bool:
    workers = admin(gateway, "GET", "/admin/status").json()["workers"]
    return all(worker["redis_up"] for worker in workers)


@pytest.fixture
def store(gateway: Gateway) -> str:
    return str(limit(gateway, "route:rate/x-team")["store"])


def admin(gateway: Gateway, method: str, path: str) -> Message:
    return ask(gateway.admin_port, method, path, "Host: localhost")


def limits(gateway: Gateway, query: str = "") -> list[dict[str, Any]]:
    answer = admin(gateway, "GET", f"/admin/limits{query}")
    assert answer.status == 200, answer.body
    page = answer.json()
    assert (page["late"], page["problem"]) == ([], None)
    found: list[dict[str, Any]] = page["limits"]
    return found


def limit(gateway: Gateway, name: str, query: str = "") -> dict[str, Any]:
    (found,) = limits(gateway, f"?limit={quote(name)}{query}")
    return found


def reset(gateway: Gateway, name: str, key: str) -> Message:
    return admin(gateway, "DELETE", f"/admin/limits?limit={quote(name)}&key={quote(key)}")


def spend(gateway: Gateway, path: str, team: str, times: int) -> list[int]:
    return [gateway.get(path, f"{HEADER}: {team}").status for _ in range(times)]


def test_all_limits_are_listed_with_their_numbers(gateway: Gateway) -> None:
    found = {each["id"]: each for each in limits(gateway)}
    assert {*found} >= {"gateway/client_ip", "route:rate/x-team", "route:day/daily"}
    rate, day = found["route:rate/x-team"], found["route:day/daily"]
    assert (rate["by"], rate["enforced"], rate["scope"]) == ("header.x-team", True, "route:rate")
    (measure,) = rate["measures"]
    assert (measure["of"], measure["allowed"], measure["per_minute"]) == ("rate", 4, 1)
    (measure,) = day["measures"]
    assert (measure["of"], measure["name"], measure["allowed"]) == ("day", "daily-day", 3)
    assert str(gateway.file) in rate["where"]


def test_a_rate_that_is_spent_is_seen_and_reset(gateway: Gateway) -> None:
    name = "route:rate/x-team"
    before = limit(gateway, name)
    assert spend(gateway, "/rate/x", "red", 6) == [200] * 4 + [429] * 2
    assert spend(gateway, "/rate/x", "blue sky/1", 1) == [200]
    seen = limit(gateway, name)
    assert (seen["allowed"] - before["allowed"], seen["refused"] - before["refused"]) == (5, 2)
    red, blue = seen["keys"][:2]
    assert (red["key"], red["left"], red["allowed"], red["of"]) == ("red", 0, 4, "rate")
    assert 170 < red["whole_in"] <= 240
    assert (blue["key"], blue["left"]) == ("blue sky/1", 3)
    (only,) = limit(gateway, name, "&key=red")["keys"]
    assert (only["key"], only["left"]) == ("red", 0)
    assert limit(gateway, name, "&key=nobody")["keys"] == []
    assert len(limit(gateway, name, "&most=1")["keys"]) == 1
    assert limit(gateway, name)["keys"][0]["left"] == 0, "looking takes nothing"
    assert limit(gateway, name, "&key=blue%20sky/1")["keys"][0]["left"] == 3
    answer = reset(gateway, name, "red")
    assert (answer.status, answer.json()["late"]) == (200, [])
    assert [each["key"] for each in limit(gateway, name)["keys"]] == ["blue sky/1"]
    assert spend(gateway, "/rate/x", "red", 5) == [200] * 4 + [429]
    reset(gateway, name, "red")
    reset(gateway, name, "blue sky/1")


def test_a_quota_that_is_spent_is_seen_and_reset(gateway: Gateway, store: str) -> None:
    name = "route:day/daily"
    statuses = spend(gateway, "/day/x", "green", 12)
    assert statuses.count(200) >= 3
    assert statuses[-1] == 429
    keys = limit(gateway, name)["keys"]
    assert {(each["key"], each["of"], each["left"]) for each in keys} == {("green", "day", 0)}
    assert 0 < keys[0]["whole_in"] <= 86_400
    assert ("worker" in keys[0] and keys[0]["worker"] is not None) == (store == "workers"), "else it is one count"
    assert reset(gateway, name, "green").status == 200
    assert limit(gateway, name)["keys"] == []
    assert spend(gateway, "/day/x", "green", 1) == [200]
    assert reset(gateway, name, "green").status == 200


def test_consumers_with_numbers_of_their_own(gateway: Gateway) -> None:
    for name, burst in (("ann", 5), ("bob", 2), ("eve", 5)):
        answers = [ask(gateway.port, "GET", "/own", f"X-API-Key: {name}").status for _ in range(burst + 1)]
        assert answers == [*[200] * burst, 429]
    own = limit(gateway, "route:own/consumer")
    assert {(each["key"], each["left"], each["allowed"]) for each in own["keys"]} == {
        ("ann", 0, 5), ("bob", 0, 2), ("eve", 0, 5)
    }  # fmt: skip
    assert limits(gateway, "?limit=route:own/consumer&key=ann")[0]["keys"][0]["allowed"] == 5
    assert admin(gateway, "DELETE", "/admin/limits?limit=route:own/consumer&key=ann").status == 200
    assert ask(gateway.port, "GET", "/own", "X-API-Key: ann").status == 200
    assert ask(gateway.port, "GET", "/own", "X-API-Key: eve").status == 429


@pytest.mark.parametrize(
    ("method", "query"), [("GET", "?limit=route:rat/x-team"), ("DELETE", "?limit=route:rat/x-team&key=a")]
)
def test_a_limit_that_there_is_not(gateway: Gateway, method: str, query: str) -> None:
    answer = admin(gateway, method, f"/admin/limits{query}")
    assert answer.status == 404
    assert "did you mean route:rate/x-team" in answer.json()["detail"]


def test_both_have_to_be_named(gateway: Gateway) -> None:
    assert admin(gateway, "DELETE", "/admin/limits?limit=gateway/client_ip").status == 422
    assert admin(gateway, "DELETE", "/admin/limits").status == 422
    assert admin(gateway, "GET", "/admin/limits?most=1000").status == 422


def test_what_was_refused_is_counted_on_over_a_reload(gateway: Gateway) -> None:
    name = "route:rate/x-team"
    before = limit(gateway, name)["refused"]
    assert spend(gateway, "/rate/x", "white", 5)[-1] == 429
    gateway.reload()
    after = limit(gateway, name)
    assert after["refused"] == before + 1
    assert after["keys"][0]["key"] == "white"
    reset(gateway, name, "white")


def test_a_value_that_lets_others_in_is_not_shown_and_reset_by_what_is(gateway: Gateway) -> None:
    name, secret = "route:key/x-api-key", "hunter2-hunter2"
    spent = ("X-Api-Key: " + secret, "X-Api-Key: other")
    assert [gateway.get("/key/x", line).status for line in (spent[0], spent[0], spent[0], spent[1])] == [
        200,
        200,
        429,
        200,
    ]
    text = admin(gateway, "GET", "/admin/limits").body.decode()
    assert secret not in text
    keys = {each["left"]: each["key"] for each in limit(gateway, name)["keys"]}
    assert keys[0].startswith("***")
    assert keys[0] != keys[1]
    (one,) = limit(gateway, name, f"&key={secret}")["keys"]
    assert one["key"] == keys[0]
    assert reset(gateway, name, keys[0]).json()["key"] == keys[0]
    assert [each["key"] for each in limit(gateway, name)["keys"]] == [keys[1]]
    assert gateway.get("/key/x", spent[0]).status == 200
    assert reset(gateway, name, secret).json()["key"] == keys[0]
    assert reset(gateway, name, keys[1]).status == 200
    assert limit(gateway, name)["keys"] == []
    assert secret not in admin(gateway, "GET", "/admin/audit").body.decode()
    assert secret not in gateway.err()
