"""An explanation changes nothing: all that a worker remembers is compared before and after it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import partial
from types import FunctionType, ModuleType
from typing import Any, Final, cast

import pytest

from portico.config import Config, load_text
from portico.core.api_keys import digest_of
from portico.core.exchange import Client, Stream
from portico.observe.metrics import Metrics
from portico.proxy.gateway import Gateway
from portico.snapshot.explain import Explanation, Question, explain
from portico.snapshot.explain.ends import ClientEnd, Outcome
from portico.snapshot.explain.offline import offline
from portico.snapshot.explain.question import limits_of, read
from portico.wire.deadlines import Deadlines
from portico.wire.turn import Turn
from support.passwords import hashed
from support.tokens import SECRET, bearer, token

KEY: Final = "a-key-of-bob"
TEXT: Final = f"""
services:
  two: {{instances: [{{url: "http://127.0.0.1:1", weight: 2}}, {{url: "http://127.0.0.1:2"}}]}}
  least:
    instances: [{{url: "http://127.0.0.1:1"}}, {{url: "http://127.0.0.1:2"}}]
    load_balancing: least_connections
  quick: {{instances: [{{url: "http://127.0.0.1:1"}}, {{url: "http://127.0.0.1:2"}}], load_balancing: power_of_two}}
  full: {{url: "http://127.0.0.1:3", max_requests: 1, queue: {{size: 2}}}}
  issued:
    instances: [{{url: "http://127.0.0.1:1"}}, {{url: "http://127.0.0.1:2"}}]
    sticky: {{issued: {{header: X-Session}}}}
consumers:
  - {{name: bob, keys: ["sha256:{digest_of(KEY.encode()).hex()}"]}}
  - {{name: carol, password: "{hashed("secret")}"}}
policies:
  rate_limit: [{{requests_per_minute: 6, burst: 500}}, {{requests_per_day: 500, by: {{header: X-Key}}}}]
routes:
  - {{name: two, service: two, path: /two}}
  - {{name: least, service: least, path: /least}}
  - {{name: quick, service: quick, path: /quick}}
  - {{name: full, service: full, path: /full}}
  - {{name: issued, service: issued, path: /issued}}
  - {{name: kept, service: two, path: /kept, policies: {{cache: {{ttl: 60, purge: {{networks: [192.0.2.0/24]}}}}}}}}
  - {{name: tokens, service: two, path: /tokens, policies: {{auth: {{jwt: {{secret: {SECRET}}}}}}}}}
  - {{name: keys, service: two, path: /keys, policies: {{auth: {{api_key: {{}}}}, rate_limit: {{by: consumer}}}}}}
  - {{name: basic, service: two, path: /basic, policies: {{auth: {{basic: {{}}}}}}}}
  - name: read
    service: two
    path: /read
    policies: {{auth: {{introspection: {{url: "http://127.0.0.1:9/i", client_id: a, client_secret: b}}}}}}
  - name: asked
    service: two
    path: /asked
    policies: {{auth: {{forward: {{url: "http://127.0.0.1:9/f", cache: 60}}}}}}
  - {{name: denied, service: two, path: /denied, policies: {{deny: [{{when: {{headers: {{X-Key: "1"}}}}}}]}}}}
  - {{name: cost, service: two, path: /cost, policies: {{rate_limit: {{cost: {{json: /usage/total_tokens}}}}}}}}
  - {{name: mcp, service: two, path: /mcp, policies: {{mcp: {{}}}}}}
  - {{name: split, path: /split, split: [{{service: two, weight: 1}}, {{service: least, weight: 1}}]}}
  - {{name: mirrored, service: two, path: /mirrored, mirror: {{service: least, share: 100%}}}}
  - {{name: failing, service: full, path: /failing, failover: [{{service: two}}]}}
"""
ROUTES: Final = (
    *("two", "least", "quick", "full", "issued", "kept", "tokens", "keys", "basic", "read", "asked", "denied"),
    *("cost", "mcp", "split", "mirrored", "failing"),
)
FIELDS: Final = (
    ("Host", "gateway.test"),
    ("X-Key", "1"),
    ("X-API-Key", KEY),
    ("X-Session", "s"),
    ("Authorization", bearer(token()).partition(": ")[2]),
)
SKIPPED: Final = (
    *(FunctionType, ModuleType, type, logging.Logger, asyncio.AbstractEventLoop, asyncio.Future, Config),
    *(socket.socket, Enum, Deadlines, Turn),
)


def remembered(root: object) -> list[str]:
    """All values that are reached from an object, in the order in which they are."""
    seen: dict[int, int] = {}
    found: list[str] = []
    left: deque[tuple[str, object]] = deque([("", root)])
    while left:
        path, value = left.popleft()
        if isinstance(value, SKIPPED) or (callable(value) and not hasattr(value, "__dict__")):
            continue
        if value is None or isinstance(value, str | bytes | int | float):
            found.append(f"{path} = {value!r}")
        elif id(value) in seen:
            found.append(f"{path} = #{seen[id(value)]}")
        else:
            seen[id(value)] = len(seen)
            left.extend((f"{path}.{name}", part) for name, part in parts(value))
    return found


def parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((repr(key)[:40], part) for key, part in value.items())
    elif isinstance(value, list | tuple | deque):
        yield from ((str(index), part) for index, part in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from (("in", part) for part in sorted(value, key=repr) if isinstance(part, str | bytes | int))
        yield "size", len(value)
    elif isinstance(value, partial):
        yield "args", value.args
    elif type(value).__name__ in ("count", "map"):
        yield "at", repr(value) if type(value).__name__ == "count" else ""
    else:
        slots = (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
        names = [name for name in slots if name not in ("__weakref__", "__dict__")]
        yield from ((name, getattr(value, name)) for name in names if hasattr(value, name))
        yield from getattr(value, "__dict__", {}).items()
        if hasattr(value, "__self__"):
            yield "self", value.__self__


class World:
    """A worker's part that serves, filled by requests that nobody answers."""

    def __init__(self) -> None:
        self.config = load_text(TEXT, "portico.yaml", {})
        self.builder, self.snapshot = offline(self.config)
        self.builder.api_keys.learn([], are_all=True)
        self.gateway = Gateway(self.snapshot, Metrics(), None, 0, asyncio.get_running_loop())

    def fill(self) -> None:
        """Have every route's policies see a request, and give the rest something to remember."""
        for route in set(ROUTES) - {"read", "asked"}:
            question = Question("GET", f"/{route}/x", FIELDS)
            request = read(question, limits_of(self.config))
            stream = ClientEnd(Client("192.0.2.1", 8000, False), 0, 0, is_done=True, outcome=Outcome())
            exchange = self.gateway.probe(cast(Stream, stream), request)
            found: Any = self.snapshot.matcher.find(request, f"/{route}/x".encode())
            exchange.match = found
            for policy in found.handling.policies:
                verdict = policy(exchange)
                if verdict is not None and hasattr(verdict, "close"):
                    verdict.close()
            service = found.handling.service
            if service.instances:
                service.choose((), exchange)

    async def explained(self, method: str, route: str, *more: tuple[str, str]) -> Explanation:
        question = Question(method, f"/{route}/x?a=1", (*FIELDS, *more), client_ip="192.0.2.1")
        return await explain(self.builder, self.snapshot, self.config, question)


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is opened, whatever for."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection is opened")

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", refuse)
    monkeypatch.setattr(asyncio.BaseEventLoop, "create_unix_connection", refuse, raising=False)


def test_nothing_of_a_worker_is_changed(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        world = World()
        world.fill()
        caplog.clear()
        await world.explained("GET", "two")  # what is made once is made
        before = remembered((world.builder, world.snapshot, world.gateway))
        assert len(before) > 2000
        outcomes = set()
        for method in ("GET", "POST", "PURGE", "OPTIONS"):
            for route in (*ROUTES, "nowhere"):
                for more in ((), (("Authorization", "Basic Y2Fyb2w6d3Jvbmc="),), (("X-API-Key", "wrong"),)):
                    outcomes.add((await world.explained(method, route, *more))["outcome"])
        assert outcomes == {"forwarded", "answered", "refused", "unknown"}
        after = remembered((world.builder, world.snapshot, world.gateway))
        assert [*(Counter(before) - Counter(after)), *(Counter(after) - Counter(before))] == []
        assert not caplog.records

    asyncio.run(run())
