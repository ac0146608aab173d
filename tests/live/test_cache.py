"""The cache of a running gateway, in memory and in Redis: hits, coalescing, stale responses, consumers, reloads."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from typing import Any, Final

import pytest

from support.backend import Backend, Connection, content
from support.client import Wire, request
from support.messages import Message, read_head, read_response
from support.metrics import in_flight, metric
from support.redis_process import RedisProcess
from support.tokens import SECRET, bearer, token
from support.world import Gateway, until

STORES: Final = ["memory", "redis"]
LARGE: Final = 3_000_000
_NAMES: Final = count()


def fresh_path(store: str) -> str:
    """A path that nobody has asked for."""
    return f"/api/{store}/{next(_NAMES)}"


class Service:
    """Answers as the query says: `age`, `more` (a field line), `size`, `wait` (until it is released), `status`.

    `half` sends so much of the body before it waits, `end` breaks off then.
    """

    def __init__(self) -> None:
        self.go = threading.Event()
        self.answered: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            said = dict(pair.split("=", 1) for pair in asked.target.partition("?")[2].split("&") if pair)
            with self.lock:
                self.answered.append(asked.target)
                number = len(self.answered)
            size = int(said.get("size", 0))
            body = content(size) if size else f"answer {number}".encode()
            if asked.method == "POST":
                connection.answer(b"", "204 No Content")
                continue
            lines = [f"Cache-Control: {said.get('says', 'max-age=60').replace('+', ' ')}"]
            lines += [line.replace("+", " ") for line in said.get("more", "").split("|") if line]
            if said.get("etag") and asked.get("if-none-match") == f'"{said["etag"]}"':
                connection.send("\r\n".join(["HTTP/1.1 304 Not Modified", *lines, "", ""]).encode())
                continue
            if said.get("etag"):
                lines.append(f'ETag: "{said["etag"]}"')
            half = int(said.get("half", 0))
            if "wait" in said and not half:
                assert self.go.wait(30)
            head = "\r\n".join([f"HTTP/1.1 {said.get('status', '200 OK').replace('+', ' ')}", *lines])
            connection.send(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[: half or len(body)])
            if half:
                assert self.go.wait(30)
                if "end" in said:
                    connection.reset()
                    return
                connection.send(body[half:])

    def count(self, path: str) -> int:
        """How often it was asked for the last part of a path."""
        name = "/" + path.rpartition("/")[2].partition("?")[0]
        return sum(target.partition("?")[0] == name for target in self.answered)


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def world(service: Service) -> Iterator[Gateway]:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisProcess())
        backend = stack.enter_context(Backend(service))

        def of(store: str, **more: Any) -> dict[str, Any]:
            cache = {"store": store, "max_object": "8MiB"}
            policies = {"cache": cache, "rate_limit": False, **more}
            return {"url": backend.url, "health_check": False, "retries": 0, "policies": policies}

        config = {
            "gateway": {"redis_url": f"redis://127.0.0.1:{redis.port}", "limits": {"connections": 3000}},
            "services": {
                **{store: of(store) for store in STORES},
                "mine": of("memory", auth={"jwt": {"secret": SECRET}}),
                "plain": {"url": backend.url, "health_check": False, "policies": {"rate_limit": False}},
            },
        }
        yield stack.enter_context(Gateway(config))


@pytest.fixture(autouse=True)
def _held(service: Service) -> Iterator[None]:
    service.go.clear()
    yield
    service.go.set()


def said(message: Message) -> str:
    """What the cache said."""
    return message.get("cache-status") or ""


def stored(world: Gateway, path: str) -> None:
    """Ask until it is stored: Redis takes a moment."""
    until(lambda: said(world.get(path)).startswith("portico; hit"), f"{path} is stored")


# ---- what is stored


@pytest.mark.parametrize("store", STORES)
def test_hits_and_what_is_made_of_them(world: Gateway, service: Service, store: str) -> None:
    path = fresh_path(store) + "?etag=1"
    first = world.get(path)
    assert said(first) == "portico; fwd=uri-miss; stored"
    stored(world, path)
    asked = service.count(path)
    hit = world.get(path)
    assert hit.body == first.body or asked > 1
    assert hit.get("age") is not None
    assert world.ask("HEAD", path).get("content-length") == str(len(hit.body))
    part = world.get(path, "Range: bytes=0-5")
    assert (part.status, part.body) == (206, hit.body[:6])
    assert world.get(path, 'If-None-Match: "1"').status == 304
    assert service.count(path) == asked
    assert world.logged(hit.get("x-request-id"))["cache"] == "hit"
    assert world.logged(first.get("x-request-id"))["cache"] == "miss"


@pytest.mark.parametrize("store", STORES)
def test_large_bodies(world: Gateway, service: Service, store: str) -> None:
    path = fresh_path(store) + f"?size={LARGE}&etag=1"
    assert world.get(path).body == content(LARGE)
    stored(world, path)
    asked = service.count(path)
    assert world.get(path).body == content(LARGE)
    assert world.get(path, "Range: bytes=2000000-2000009").body == content(LARGE)[2_000_000:2_000_010]
    assert service.count(path) == asked


@pytest.mark.parametrize("store", STORES)
def test_a_slow_client_gets_a_large_hit(world: Gateway, service: Service, store: str) -> None:
    path = fresh_path(store) + f"?size={LARGE}"
    world.get(path)
    stored(world, path)
    with Wire(world.port, receive_buffer=4096) as wire:
        wire.send(request("GET", path))
        head = read_head(wire.file)
        assert head is not None
        time.sleep(0.2)  # nothing is read meanwhile, so the gateway has to pause
        assert wire.file.read(LARGE) == content(LARGE)


@pytest.mark.parametrize("store", STORES)
def test_changes_are_seen(world: Gateway, service: Service, store: str) -> None:
    path = fresh_path(store)
    before = world.get(path).body
    stored(world, path)
    asked = service.count(path)
    assert world.ask("POST", path, body=b"").status == 204
    assert world.get(path).body != before
    assert service.count(path) == asked + 2


# ---- coalescing


def many(world: Gateway, path: str, clients: int) -> list[Wire]:
    """So many clients that have asked, and wait."""
    before = in_flight(world)
    wires = [Wire(world.port) for _ in range(clients)]
    for wire in wires:
        wire.send(request("GET", path))
    until(lambda: in_flight(world) >= before + clients, "all requests are there")
    return wires


def ends(wires: list[Wire]) -> list[Message]:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda wire: wire.receive(), wires))
    for wire in wires:
        wire.close()
    return found


@pytest.mark.parametrize("store", STORES)
def test_a_thousand_requests_are_one(world: Gateway, service: Service, store: str) -> None:
    path = fresh_path(store) + "?wait=1&size=20000"
    wires = many(world, path, 1000)
    service.go.set()
    assert {message.body for message in ends(wires)} == {content(20_000)}
    assert service.count(path) == 1
    assert metric(world, "gateway_cache_requests_total", service=store, outcome="collapsed") or 0 >= 999


@pytest.mark.parametrize("store", STORES)
def test_a_thousand_requests_whose_leader_leaves_at_half(world: Gateway, service: Service, store: str) -> None:
    path = fresh_path(store) + "?half=100000&size=200000"
    with Wire(world.port) as leader:
        leader.send(request("GET", path))
        assert read_head(leader.file) is not None
        wires = many(world, path, 999)
        leader.reset()
    service.go.set()
    assert {message.body for message in ends(wires)} == {content(200_000)}
    assert service.count(path) == 1
    stored(world, path)


def test_a_service_that_dies_at_half(world: Gateway, service: Service) -> None:
    """Everybody sees it; nobody takes half of it for the whole, and the next one is served."""
    path = fresh_path("memory")
    wires = many(world, path + "?half=100000&size=200000&end=1", 100)
    service.go.set()
    for wire in wires:
        assert len(wire.rest()) < 200_000
        wire.close()
    assert service.count(path) == 1
    assert world.get(path + "?half=100000&size=200000").body == content(200_000)
    until(lambda: not in_flight(world), "nothing is left of it")


def test_what_is_not_to_be_stored_does_not_queue_up(world: Gateway, service: Service) -> None:
    path = fresh_path("memory") + "?says=private&wait=1"
    for times in (1, 2):
        wires = many(world, path, 40)
        service.go.set()
        assert {message.status for message in ends(wires)} == {200}
        assert service.count(path) == 40 * times
        service.go.clear()


# ---- stale


@pytest.mark.parametrize("store", STORES)
def test_stale_responses(world: Gateway, service: Service, store: str) -> None:
    path = fresh_path(store) + "?says=max-age=1,+stale-if-error=60&etag=7"
    world.get(path)
    until(lambda: said(world.get(path)).startswith("portico; fwd=stale; fwd-status=304"), "it is validated")
    record = until(lambda: [line for line in world.log() if line["cache"] == "revalidated"], "the log has it")
    assert record[-1]["status_code"] == 200


def test_stale_where_the_service_is_gone(service: Service) -> None:
    with Backend(service) as backend:
        policies = {"cache": {"ttl": 0.2, "stale_if_error": 60}}
        config = {"services": {"a": {"url": backend.url, "health_check": False, "retries": 0, "policies": policies}}}
        with Gateway(config) as gateway:
            first = gateway.get("/api/a/gone?says=public")
            backend.close()
            stale = until(lambda: _stale(gateway), "it is stale")
            assert stale is not None
            assert stale.body == first.body
            assert "detail=upstream_" in said(stale)
            assert gateway.get("/api/a/other").status == 502
            gateway.clean = False  # that it cannot be reached is an event


def _stale(gateway: Gateway) -> Message | None:
    message = gateway.get("/api/a/gone?says=public")
    assert message.status == 200
    return message if said(message).startswith("portico; fwd=stale; detail=") else None


def test_stale_while_it_is_fetched(world: Gateway, service: Service) -> None:
    path = fresh_path("memory") + "?says=max-age=1,+stale-while-revalidate=60"
    first = world.get(path).body
    until(lambda: "ttl=-" in said(world.get(path)), "it is served stale")
    until(lambda: world.get(path).body != first, "what was fetched meanwhile is served")
    assert service.count(path) >= 2


# ---- whose it is


def test_consumers_have_responses_of_their_own(world: Gateway, service: Service) -> None:
    path = fresh_path("mine")
    ann, bob = (bearer(token(sub=name)) for name in ("ann", "bob"))
    first = world.get(path, ann)
    assert world.get(path, ann).body == first.body
    assert world.get(path, bob).body != first.body
    assert world.get(path).status == 401
    assert service.count(path) == 2
    shared = fresh_path("mine") + "?says=public,+max-age=60"
    assert world.get(shared, ann).body == world.get(shared, bob).body
    assert service.count(shared) == 1


# ---- reloads and workers


def test_what_is_stored_outlives_a_reload_that_does_not_concern_it(service: Service) -> None:
    with Backend(service) as backend:

        def config(**cache: Any) -> dict[str, Any]:
            policies = {"cache": cache or True, "headers": {"response": {"set": {"X-Turn": str(next(_NAMES))}}}}
            return {"services": {"a": {"url": backend.url, "health_check": False, "policies": policies}}}

        with Gateway(config()) as gateway:
            path = "/api/a/kept"
            first = gateway.get(path)
            gateway.write(config())
            _reload(gateway, 2)
            again = gateway.get(path)
            assert again.body == first.body
            assert again.get("x-turn") != first.get("x-turn")
            gateway.write(config(ttl=7))
            _reload(gateway, 3)
            assert gateway.get(path).body != first.body
            written = config()
            del written["services"]["a"]["policies"]["cache"]
            gateway.write(written)
            _reload(gateway, 4)
            last = gateway.get(path)
            assert (last.get("cache-status"), last.get("age")) == (None, None)
            assert gateway.logged(last.get("x-request-id"))["cache"] is None


def _reload(gateway: Gateway, generation: int) -> None:
    gateway.wait_for_control()  # a signal before it serves is given to it again then
    gateway.signal(signal.SIGHUP)
    until(lambda: metric(gateway, "gateway_config_generation") == generation, "the new configuration is in use")


def test_two_workers_and_a_drain(service: Service) -> None:
    """Changes reach every worker, and a gateway that stops lets no client down."""
    with Backend(service) as backend:
        services = {"a": {"url": backend.url, "health_check": False, "policies": {"cache": True}}}
        with Gateway({"gateway": {"workers": 2}, "services": services}) as gateway:
            path = "/api/a/shared"
            until(lambda: metric(gateway, "gateway_cache_entries") == 2 or not gateway.get(path), "both have it")
            before = service.count(path)
            assert gateway.ask("POST", path, body=b"").status == 204
            until(lambda: service.count(path) >= before + 3 or not gateway.get(path), "both ask again")
            slow = "/api/a/slow?half=100000&size=200000"
            with Wire(gateway.port) as wire:
                wire.send(request("GET", slow))
                assert read_head(wire.file) is not None
                gateway.signal(signal.SIGTERM)
                service.go.set()
                assert wire.file.read(200_000) == content(200_000)


def test_routes_without_a_cache_say_nothing(world: Gateway) -> None:
    message = world.get("/api/plain/x")
    assert message.get("cache-status") is None
    assert world.logged(message.get("x-request-id"))["cache"] is None


def test_the_log_is_of_the_exchange(world: Gateway) -> None:
    path = fresh_path("memory")
    world.get(path)
    line = world.logged(world.get(path).get("x-request-id"))
    assert {"cache": "hit", "attempts": 0, "upstream": None, "upstream_ms": None}.items() <= line.items()
    assert json.dumps(line)


def test_a_response_to_a_request_with_a_body_passes(world: Gateway) -> None:
    with Wire(world.port) as wire:
        wire.send(b"GET /api/memory/body HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert said(read_response(wire.file)) == "portico; fwd=bypass"
