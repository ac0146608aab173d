"""Two gateways that share a Redis have the same API keys: what one revokes, no other accepts, now or later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from live.test_api_keys import id_of, keys, made, revoke, shown
from live.test_canary import admin
from portico.processes.control.api_keys import _PAUSE
from support.backend import Backend
from support.process import free_port
from support.redis_process import SlowWay
from support.redis_servers import RedisServer
from support.waiting import comes_true
from support.world import Gateway, until

AWAY = "API keys are not shared with other gateways: Redis does not answer"
ANN = [{"name": "ann", "scopes": ["a", "b"]}]


@pytest.fixture(scope="module")
def service() -> Iterator[Backend]:
    with Backend() as own:
        yield own


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as own:
        yield own


@pytest.fixture(scope="module")
def way(redis: RedisServer) -> Iterator[SlowWay]:
    """The one by which the second gateway asks Redis."""
    with SlowWay(redis.port) as own:
        yield own


def config(service: Backend, url: str, consumers: list[dict[str, Any]] = ANN) -> dict[str, Any]:
    return {
        "gateway": {"redis_url": url, "workers": 2},
        "services": {"s": service},
        "policies": {"auth": {"api_key": {}}},
        "consumers": consumers,
    }


@pytest.fixture(scope="module")
def gateways(service: Backend, redis: RedisServer, way: SlowWay) -> Iterator[list[Gateway]]:
    other_url = f"redis://127.0.0.1:{way.port}"
    with (
        Gateway(config(service, redis.url), port=free_port()) as one,
        Gateway(config(service, other_url), port=free_port()) as other,
    ):
        for each in (one, other):
            each.wait_for_control()
        yield [one, other]


def statuses(gateways: list[Gateway], key: str) -> list[int]:
    return [each.get("/api/s/x", f"X-API-Key: {key}").status for each in gateways]


def held(gateways: list[Gateway], key: str) -> str:
    until(lambda: statuses(gateways, key) == [200, 200], "both accept it")
    return key


class Traffic:
    """Clients that show a key to every gateway all the time, on connections that they keep."""

    def __init__(self, gateways: list[Gateway], key: str) -> None:
        self._line = f"X-API-Key: {key}"
        self.seen: list[tuple[float, int]] = []
        """When an answer came, and its status."""
        self._is_over = threading.Event()
        self._clients = [threading.Thread(target=self._ask, args=[each]) for each in gateways for _ in range(2)]

    def __enter__(self) -> Traffic:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for client in self._clients:
            client.join()

    def _ask(self, gateway: Gateway) -> None:
        with gateway.wire() as wire:
            while not self._is_over.wait(0.02):
                self.seen.append((time.monotonic(), wire.ask("GET", "/api/s/x", self._line).status))

    def accepted_after(self, moment: float) -> int:
        return sum(status == 200 for at, status in self.seen if at > moment)


def ended_within_a_second(gateways: list[Gateway], key: str, end: Callable[[], object], then: float = 1.5) -> None:
    """Requests come all the while: from a second after the command nobody is let in by the key."""
    with Traffic(gateways, key) as traffic:
        until(lambda: traffic.accepted_after(0.0) > 20, "they come")
        end()
        done = time.monotonic()
        comes_true(lambda: traffic.accepted_after(done + 1.0), 1.0 + then)
    assert traffic.accepted_after(done + 1.0) == 0
    assert {status for _, status in traffic.seen} == {200, 401}


def test_a_key_of_one_is_a_key_of_the_other_until_it_is_revoked(gateways: list[Gateway]) -> None:
    one, other = gateways
    key = held(gateways, made(one))
    assert shown(other)[id_of(key)]["consumer"] == "ann"
    until(lambda: shown(one)[id_of(key)]["last_used"], "used at either")
    ended_within_a_second(gateways, key, lambda: keys(other, "revoke", id_of(key)))
    assert shown(one)[id_of(key)]["state"] == "revoked"


def test_a_slow_answer_does_not_bring_a_revoked_key_back(gateways: list[Gateway], way: SlowWay) -> None:
    """What the other gateway asked just before is answered after it has heard of the end."""
    one, other = gateways
    key = held(gateways, made(one))
    way.delay = 0.4
    try:
        assert not comes_true(lambda: statuses(gateways, key) != [200, 200], 3 * _PAUSE), "slow is not away"
        ended_within_a_second(gateways, key, lambda: revoke(one, key))
    finally:
        way.delay = 0.0
    assert statuses(gateways, key) == [401, 401]
    for gateway in gateways:
        gateway.stop()
        gateway.start()
        gateway.wait_for_control()
    assert statuses(gateways, key) == [401, 401]
    listed = keys(other, "list", "--all")
    assert f"portico_{id_of(key)}  ann       a b     revoked" in listed.stdout


def test_a_key_that_expires_and_one_that_is_narrowed(gateways: list[Gateway]) -> None:
    one, _ = gateways
    key = held(gateways, made(one))

    def rotate() -> None:
        answer = admin(one, "POST", f"/admin/keys/{id_of(key)}/rotate", {"overlap": 1, "scopes": ["b"]})
        assert answer.status == 200, answer.body
        fields = one.get("/api/s/x", f"X-API-Key: {answer.json()['secret']}").json()["fields"]
        assert ["X-Consumer-Scopes", "b"] in fields
        until(lambda: 401 in statuses([one], key), "it expires")

    ended_within_a_second(gateways, key, rotate, 0.5)


def test_redis_is_away_while_a_key_is_revoked_and_comes_back_empty(gateways: list[Gateway], redis: RedisServer) -> None:
    one, other = gateways
    key, kept = held(gateways, made(one)), held(gateways, made(other))
    redis.kill()
    until(lambda: not admin(one, "GET", "/admin/keys").json()["shared"], "it is noticed")
    assert statuses(gateways, key) == [200, 200], "what was known holds"
    done = keys(one, "revoke", key)
    assert (done.returncode, done.stderr) == (
        1,
        "other gateways will know of it once Redis is back: it does not answer now\n",
    )
    assert statuses([one], key) == [401]
    made_alone = admin(one, "POST", "/admin/keys", {"consumer": "ann"})
    assert made_alone.status == 202
    redis.start()
    until(lambda: statuses(gateways, key) == [401, 401], "now it knows")
    held(gateways, made_alone.json()["secret"])
    assert statuses(gateways, kept) == [200, 200]
    late = config_of(one)
    with Gateway(late) as third:
        third.wait_for_control()
        assert statuses([third, third], kept) == [200, 200], "what Redis had lost is there again"
        assert statuses([third], key) == [401]
        assert shown(third)[id_of(key)]["state"] == "revoked"
    assert [event["event"] for event in one.events()].count(AWAY) == 1


def test_a_restart_while_redis_is_away(gateways: list[Gateway], redis: RedisServer) -> None:
    """What this gateway last knew is in its own file."""
    one, _ = gateways
    key, revoked = held(gateways, made(one)), held(gateways, made(one))
    assert revoke(one, revoked).status == 200
    redis.kill()
    one.stop()
    one.start()
    one.wait_for_control()
    assert (statuses([one], key), statuses([one], revoked)) == ([200], [401])
    with Gateway(config_of(one)) as new:
        new.clean = False
        new.wait_for_control()
        answer = new.get("/api/s/x", f"X-API-Key: {key}")
        assert (answer.status, answer.json()["reason"]) == (503, "keys_unavailable"), "it has never known one"
        assert admin(new, "POST", "/admin/keys", {"consumer": "ann"}).status == 503
        redis.start()
        until(lambda: statuses([new], key) == [200], "Redis has been told by the others")


def config_of(gateway: Gateway) -> dict[str, Any]:
    import yaml

    written: dict[str, Any] = yaml.safe_load(gateway.file.read_text())
    written["gateway"].pop("port")
    return written


def test_a_consumer_that_is_removed(gateways: list[Gateway], service: Backend, redis: RedisServer) -> None:
    one, _ = gateways
    key = held(gateways, made(one))
    with Traffic([one], key) as traffic:
        until(lambda: traffic.accepted_after(0.0) > 5, "they come")
        one.write(config(service, redis.url, [{"name": "bob"}]))
        assert admin(one, "POST", "/admin/reload").status == 200
        done = time.monotonic()
        comes_true(lambda: traffic.accepted_after(done + 1.0), 1.5)
    assert traffic.accepted_after(done + 1.0) == 0
    assert shown(one)[id_of(key)]["state"] == "without its consumer"
