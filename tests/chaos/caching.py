"""What breaks behind a cache: the Redis that it is kept in, and the service that it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from support.waiting import comes_true
from support.world import Gateway

from .gateways import CacheStore
from .scene import Scene

URLS: Final = 60
"""Small answers that the load asks for again and again."""
_HITS_WITHIN: Final = 2.0
_NO_ANSWER: Final = 0.5
"""Seconds that Redis takes for an answer where it is slow: more than any request waits for it."""
_PROBES: Final = 20
_GONE: Final = (502, 503, 504)


_Deed = Callable[[CacheStore], None]
"""What is done to the store."""


def _with_redis(break_it: _Deed, mend_it: _Deed) -> Callable[[Scene], None]:
    """Hits have to be back soon after it."""

    def play(scene: Scene) -> None:
        gateway, store = scene.subject.gateways[0], scene.subject.store
        assert store is not None
        scene.expect(comes_true(lambda: _all_hits(gateway), _HITS_WITHIN), "no hits before")
        with scene.lasting():
            break_it(store)
            scene.wait()
            mend_it(store)
        begin = time.monotonic()
        scene.expect(comes_true(lambda: _all_hits(gateway), _HITS_WITHIN), f"no hits {_HITS_WITHIN:g} s after it")
        scene.back = time.monotonic() - begin

    return play


def _kill(store: CacheStore) -> None:
    store.server.kill()


def _start(store: CacheStore) -> None:
    store.server.start()


def _stop(store: CacheStore) -> None:
    store.server.pause()


def _go_on(store: CacheStore) -> None:
    store.server.resume()


def _empty(store: CacheStore) -> None:
    store.server.ask("FLUSHALL")


def _leave(store: CacheStore) -> None:
    pass


def _slow_down(store: CacheStore) -> None:
    store.way.delay = _NO_ANSWER


def _speed_up(store: CacheStore) -> None:
    store.way.delay = 0.0


REDIS_FAULTS: Final[Mapping[str, Callable[[Scene], None]]] = {
    "cache-redis-killed": _with_redis(_kill, _start),
    "cache-redis-stopped": _with_redis(_stop, _go_on),
    "cache-redis-emptied": _with_redis(_empty, _leave),
    "cache-redis-slow": _with_redis(_slow_down, _speed_up),
}


def lose_service(scene: Scene) -> None:
    """Both instances; what is stale is used for as long as it may be, and then there is an error."""
    gateway = scene.subject.gateways[0]
    scene.expect(gateway.get("/soon").status == 200, "no answer to store")
    with scene.lasting():
        for instance in scene.instances:
            instance.kill()
        is_gone = comes_true(lambda: gateway.get("/soon").status in _GONE, _HITS_WITHIN + 2)
        scene.expect(is_gone, "a stale answer is used for longer than it may be")
        scene.wait()
        for instance in scene.instances:
            instance.start()
    scene.wait_for_traffic(lambda: gateway.get("/soon").status == 200)


def _all_hits(gateway: Gateway) -> bool:
    """Whether new connections, so in time all workers, get what was stored a moment ago."""
    return all(
        (gateway.get("/small/probe").get("cache-status") or "").startswith("portico; hit") for _ in range(_PROBES)
    )
