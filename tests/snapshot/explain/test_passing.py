"""What is said of instances and of traces, in every state that they may have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from portico.config import load_text
from portico.snapshot.explain import Explanation, Question, explain
from portico.snapshot.explain.offline import offline
from portico.upstreams.breaker import OPEN
from portico.upstreams.service import Service

TEXT = """
gateway: {%s}
services:
  s:
    instances: [{url: "http://127.0.0.1:1", weight: 2}, {url: "http://127.0.0.1:2"}, {url: "http://127.0.0.1:3", %s}]
    circuit_breaker: {failures: 1, open_for: 60}
    default_routes: false
routes: [{name: r, service: s, path: /}]
"""


def explained(
    prepare: Callable[[Service], None] = lambda service: None,
    *,
    gateway: str = "",
    third: str = "weight: 1",
    headers: tuple[tuple[str, str], ...] = (),
) -> Explanation:
    config = load_text(TEXT % (gateway, third), "portico.yaml", {})

    async def run() -> Explanation:
        builder, snapshot = offline(config)
        service = builder.live.service("s", None)
        prepare(service)
        service.refresh()
        return await explain(builder, snapshot, config, Question("GET", "http://gw.example/x", headers))

    return asyncio.run(run())


def against(said: Explanation) -> dict[str, str | None]:
    assert said["instance"] is not None
    return {each["url"][-1]: each["against"] for each in said["instance"]["others"]}


def down(*ports: int) -> Callable[[Service], None]:
    def prepare(service: Service) -> None:
        for port in ports:
            service.instances[port - 1].healthy = False

    return prepare


def broken(*ports: int) -> Callable[[Service], None]:
    def prepare(service: Service) -> None:
        for port in ports:
            breaker: Any = service.instances[port - 1].breaker
            breaker.failed(object())
            assert breaker.state == OPEN

    return prepare


def full(*ports: int) -> Callable[[Service], None]:
    def prepare(service: Service) -> None:
        for port in ports:
            instance = service.instances[port - 1]
            instance.max_connections = instance.in_flight = 4

    return prepare


@pytest.mark.parametrize(
    ("prepare", "third", "url", "why", "others"),
    [
        (down(), "weight: 1", None, "its turn is next (round robin)", {}),
        (down(1), "weight: 0", "2", "it is the only one that can be used", {"1": "health checks", "3": "weight is 0"}),
        (broken(1, 2), "weight: 1", "3", "it is the only one that can be used", {"1": "breaker", "2": "breaker"}),
        (down(1, 2), "backup: true", "3", "it is the only one that can be used", {"1": "health", "2": "health"}),
        (down(), "backup: true", None, "its turn is next (round robin)", {"3": "backup"}),
        (
            full(1, 2),
            "weight: 1",
            "3",
            "its turn is next (round robin)",
            {"1": "all its 4 connections", "2": "all its 4"},
        ),
    ],
)
def test_the_instance_and_what_stands_against_the_others(
    prepare: Callable[[Service], None], third: str, url: str | None, why: str, others: dict[str, str]
) -> None:
    said = explained(prepare, third=third)
    instance = said["instance"]
    assert instance is not None
    assert (said["outcome"], instance["why"]) == ("forwarded", why)
    assert url is None or instance["url"] == f"http://127.0.0.1:{url}"
    found = against(said)
    for port, words in others.items():
        assert words in str(found[port])
    assert all(found[port] is None for port in found.keys() - others.keys())


@pytest.mark.parametrize(
    ("prepare", "reason", "words"),
    [
        (down(1, 2, 3), "no_healthy_upstream", "health checks"),
        (broken(1, 2, 3), "circuit_open", "breaker is open"),
        (full(1, 2, 3), "overloaded", "all its 4 connections are in use"),
    ],
)
def test_none_can_be_used(prepare: Callable[[Service], None], reason: str, words: str) -> None:
    said = explained(prepare)
    assert said["answer"] is not None
    assert said["instance"] is not None
    assert (said["outcome"], said["answer"]["status"], said["answer"]["reason"]) == ("refused", 503, reason)
    assert said["instance"]["url"] is None
    assert all(words in str(each) for each in against(said).values())


@pytest.mark.parametrize(
    ("tracing", "flags"),
    [
        ("", "00"),
        ("tracing: {endpoint: http://127.0.0.1:9}", "03"),
        ("tracing: {endpoint: http://127.0.0.1:9, sample: 0}", "02"),
    ],
)
def test_traces_begin_as_they_would(tracing: str, flags: str) -> None:
    said = explained(gateway=tracing)
    assert said["head"] is not None
    (line,) = [line for line in said["head"].split("\r\n") if line.startswith("traceparent: ")]
    assert line.rpartition("-")[2] == flags
