"""Thousands of registrations in Redis: one joins, none changes, all send heartbeats."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.scale import many
from benchmarks.scale.build import Build, Subject
from benchmarks.scale.busy import Stalls, worked, working
from benchmarks.scale.clients import Client
from benchmarks.scale.row import Figure, Measured, Row
from support.redis_process import RedisProcess
from support.waiting import until

_SERVICES: Final = 500
_INSTANCES: Final = 5000
_PERIOD: Final = 10.0
"""Seconds in which each instance sends one heartbeat."""
_TTL: Final = 600
_JOINS: Final = 10
_SETTLED: Final = 8.0
_LONG: Final = 60.0


@contextmanager
def _registered(build: Build) -> Iterator[tuple[Subject, Any, int]]:
    """A gateway that knows all, a client of its Redis, and the port of the instances."""
    service = {"discover": "redis", "health_check": False}
    with RedisProcess() as redis, many.serving() as port:
        pipe = redis.client.pipeline(transaction=False)
        for number in range(_INSTANCES):
            pipe.set(_key(number), _registration(number, port), ex=_TTL)
        pipe.execute()
        services = {f"s{number}": service for number in range(_SERVICES)}
        with Subject(build, {"gateway": {"redis_url": redis.url}, "services": services}) as gateway:
            last = f"/api/s{_SERVICES - 1}/x"
            until(lambda: gateway.get(last).status == 200, "the gateway knows the instances", _LONG)
            time.sleep(_SETTLED)
            yield gateway, redis.client, port


def _key(number: int) -> str:
    return f"service:s{number % _SERVICES}:i{number}"


def _registration(number: int, port: int) -> str:
    return json.dumps({"url": f"http://127.1.{number // 250}.{number % 250 + 1}:{port}", "ttl": _TTL})


def _joining(build: Build) -> Measured:
    """What a worker does when one more registers, above what it does at rest; and what others notice of it."""
    with _registered(build) as (gateway, redis, port):
        (worker,) = gateway.workers()
        with Stalls(gateway.port, worker) as alone, working(worker) as rest:
            time.sleep(_PERIOD / 2)
        with Stalls(gateway.port, worker) as beside, working(worker) as busy:
            for number in range(_INSTANCES, _INSTANCES + _JOINS):
                redis.set(_key(number), _registration(number, port), ex=_TTL)
                time.sleep(_PERIOD / 2 / _JOINS)
        asked = len(beside.stalls) * sum(rest.of.values()) / len(alone.stalls)
        with Client(gateway.port) as client:
            until(lambda: client.ask(f"/api/s{_INSTANCES % _SERVICES}/x") == 200)
        return {
            "worker's time": (sum(busy.of.values()) - asked) / _JOINS * 1e3,
            "longest stall": beside.longest,
            "p99 of others ÷ without": beside.p99 / alone.p99,
        }


def _beating(build: Build) -> Measured:
    """The control process while nothing happens, and while every instance says every ten seconds that it is there."""
    with _registered(build) as (gateway, redis, _):
        control = gateway.control()
        with working(control) as idle:
            time.sleep(_PERIOD)
        over = threading.Event()
        beats = threading.Thread(target=_beat, args=(redis, over), daemon=True)
        beats.start()
        try:
            time.sleep(1)
            with working(control) as beaten:
                time.sleep(_PERIOD)
        finally:
            over.set()
            beats.join()
        assert worked(control), "the control process has ended"
        return {"with none": idle.share, "with all": beaten.share}


def _beat(redis: Any, over: threading.Event) -> None:
    number, each = 0, 50
    while not over.wait(_PERIOD / _INSTANCES * each):
        pipe = redis.pipeline(transaction=False)
        for _ in range(each):
            pipe.expire(_key(number), _TTL)
            number = (number + 1) % _INSTANCES
        pipe.execute()


ROWS: Final = (
    Row(
        f"one instance joins among {_INSTANCES:,} registered",
        (
            Figure("worker's time", "ms of CPU", 2),
            Figure("longest stall", "ms of CPU"),
            Figure("p99 of others ÷ without", "", 1.2),
        ),
        _joining,
    ),
    Row(
        f"{_INSTANCES:,} heartbeats per 10 s in Redis, control's CPU",
        (Figure("with none", "%", 1), Figure("with all", "%", 5)),
        _beating,
    ),
)
