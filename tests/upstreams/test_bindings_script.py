"""The script that remembers who issued a value, in a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from portico.upstreams.shared_bindings import SCRIPT
from support.redis_process import RedisProcess


@pytest.fixture(scope="module")
def store() -> Iterator[RedisProcess]:
    with RedisProcess() as own:
        yield own


def run(store: RedisProcess, *asked: tuple[str, str, int]) -> Any:
    """What it says of each key; `asked` are keys with their instance, or nothing, and a lifetime."""
    arguments = [part for _, instance, ttl in asked for part in (instance, ttl)]
    clock, *replies = store.client.eval(SCRIPT.source.decode(), len(asked), *(key for key, *_ in asked), *arguments)
    seconds, microseconds = store.client.time()
    assert 0 <= seconds * 1_000_000 + microseconds - clock < 60_000_000
    return replies


def test_it_finds_what_it_remembers_and_prolongs_it(store: RedisProcess) -> None:
    assert run(store, ("a", "", 9), ("b", "10.0.0.1:80", 50), ("b", "", 500)) == [None, "10.0.0.1:80", "10.0.0.1:80"]
    assert 50 < store.client.ttl("b") <= 500
    assert not store.client.exists("a")
    assert run(store, ("b", "10.0.0.2:80", 9), ("b", "", 9)) == ["10.0.0.2:80"] * 2


def test_a_key_of_another_kind_is_unknown(store: RedisProcess) -> None:
    store.client.rpush("list", "x")
    assert run(store, ("list", "", 9), ("c", "10.0.0.1:80", 9)) == [None, "10.0.0.1:80"]


def test_what_redis_refuses_to_remember_costs_no_other_question(store: RedisProcess) -> None:
    run(store, ("known", "10.0.0.1:80", 100))
    store.client.config_set("maxmemory", 1)
    try:
        refused, found = run(store, ("new", "10.0.0.1:80", 9), ("known", "", 100))
    finally:
        store.client.config_set("maxmemory", 0)
    assert isinstance(refused, redis.ResponseError)
    assert found == "10.0.0.1:80"
