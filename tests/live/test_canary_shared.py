"""Two gateways that share a Redis: a canary is decided once for both, and goes back at each without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from live.test_canary import admin, begin, canary, goes_on_until, happened, script, seen, served, sides, steer, well
from support.backend import Backend
from support.redis_servers import RedisServer
from support.waiting import comes_true
from support.world import Gateway, until

__all__ = ["sides", "well"]

AWAY = "Redis does not answer: no canary steps up, and each gateway aborts by itself"
BACK = "Redis answers: canaries are decided for all gateways again"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as own:
        yield own


@pytest.fixture(scope="module")
def gateways(sides: dict[str, Backend], redis: RedisServer) -> Iterator[list[Gateway]]:
    written = {"gateway": {"redis_url": redis.url}, "services": sides}
    with Gateway(written) as one, Gateway(written) as other:
        for each in (one, other):
            each.wait_for_control()
        yield [one, other]


def begin_at_both(
    gateways: list[Gateway], sides: dict[str, Backend], redis: RedisServer, name: str, **settings: Any
) -> dict[str, Any]:
    route = {"name": name, "service": "shop", "path": "/", "canary": canary(**settings)}
    written = {"gateway": {"redis_url": redis.url}, "services": sides, "routes": [route]}
    for each in gateways:
        begin(each, written)
    until(lambda: seen(gateways[0])["history"] == seen(gateways[1])["history"], "both go by one decision")
    return written


def test_one_decision_by_the_counts_of_both(
    gateways: list[Gateway], sides: dict[str, Backend], redis: RedisServer
) -> None:
    begin_at_both(gateways, sides, redis, "both", steps=[100], every="1s", min_requests=60)
    for each in gateways:
        served(each, 40)
    until(lambda: all(seen(each)["phase"] == "promoted" for each in gateways), "80 requests are enough")
    one, other = (seen(each)["history"] for each in gateways)
    assert one == other
    assert [entry["what"] for entry in one] == ["began", "promoted"]


def test_what_turns_bad_goes_back_at_both(
    gateways: list[Gateway], sides: dict[str, Backend], redis: RedisServer
) -> None:
    begin_at_both(gateways, sides, redis, "worse", steps=[50], abort_if={"errors": "2%"})
    script(sides["next"]).status = "500 Broken"
    goes_on_until(gateways[0], "aborted")
    until(lambda: served(gateways[1]) == {"shop": 100}, "the other one goes back, too")
    assert [happened(seen(each)) for each in gateways] == [[("began", 50), ("aborted", 0)]] * 2
    script(sides["next"]).status = "200 OK"
    steer(gateways[1], "worse", "retry", who="anna")
    until(lambda: seen(gateways[0])["share"] == 50, "the other one follows")
    assert seen(gateways[0])["history"][-1]["who"] == "anna"


def test_redis_goes_away_and_comes_back(gateways: list[Gateway], sides: dict[str, Backend], redis: RedisServer) -> None:
    one, other = gateways
    begin_at_both(
        gateways, sides, redis, "alone", steps=[40, 50, 100], every="1s", min_requests=0, abort_if={"errors": "2%"}
    )
    for each in gateways:
        until(lambda each=each: seen(each)["step"] == 2, "it has stepped up")  # type: ignore[misc]
        steer(each, "alone", "pause") if each is one else None
    until(lambda: seen(other)["phase"] == "paused", "the other one knows")
    steer(one, "alone", "resume")
    redis.kill()
    for each in gateways:
        until(lambda each=each: admin(each, "GET", "/admin/canaries").json()["shared"] is False)  # type: ignore[misc]
    before = [seen(each) for each in gateways]
    steps = [each["step"] for each in before]
    assert not comes_true(lambda: [seen(each)["step"] for each in gateways] != steps, 2.5), "no step up"
    assert before[0]["phase"] == "running"
    refused = admin(one, "POST", "/admin/canaries/alone/promote")
    assert (refused.status, refused.get("retry-after")) == (503, "1")
    script(sides["next"]).status = "500 Broken"
    goes_on_until(one, "aborted")
    until(lambda: served(one) == {"shop": 100}, "it goes back by itself")
    assert [seen(other)["share"], seen(other)["step"]] == [before[1]["share"], steps[1]], "nobody said so to it"
    for each in gateways:
        events = [event["event"] for event in each.events()]
        assert events.count(AWAY) == 1
    redis.start()
    until(lambda: seen(other)["phase"] == "aborted", "now it knows")
    assert seen(other)["history"][-1]["why"] == seen(one)["history"][-1]["why"]
    for each in gateways:
        until(lambda each=each: BACK in [event["event"] for event in each.events()])  # type: ignore[misc]


def test_a_gateway_that_comes_later_goes_by_what_is_decided(
    gateways: list[Gateway], sides: dict[str, Backend], redis: RedisServer
) -> None:
    written = begin_at_both(gateways, sides, redis, "later")
    steer(gateways[0], "later", "promote")
    with Gateway(written) as late:
        late.wait_for_control()
        assert seen(late)["history"] == seen(gateways[0])["history"]
        assert served(late) == {"next": 100}
        told = [event["event"] for event in late.events() if "the canary has" in event["event"]]
    assert told == ["the canary has been promoted: all requests go to the new service"]


def test_an_abort_does_not_wait_for_redis(
    gateways: list[Gateway], sides: dict[str, Backend], redis: RedisServer
) -> None:
    begin_at_both(gateways, sides, redis, "urgent")
    one, other = gateways
    with redis.stopped():
        assert steer(one, "urgent", "abort", why="now")["share"] == 0
        assert served(one) == {"shop": 100}
        assert seen(other)["share"] == 25
    until(lambda: seen(other)["share"] == 0, "it is told once Redis answers")
    assert seen(other)["history"][-1]["why"] == "now"
