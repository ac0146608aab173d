"""Services that are dead, slow, rude or half alive."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from support.backend import Backend, Connection, Refusing, Script, content, well_behaved
from support.client import request
from support.messages import CutShortError, read_head
from support.scripts import hangs, hung, resets, sends, sends_halves
from support.sockets import full_port
from support.world import Gateway, until


def close_before_answer(connection: Connection) -> None:
    connection.next_request()


def starts_and_stalls(connection: Connection) -> None:
    connection.next_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    connection.wait_for_end()


HALF_IS_HERE = threading.Event()
HALF = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"


SCRIPTS: dict[str, Script] = {
    "reset": resets,
    "closed": close_before_answer,
    "never": hangs,
    "garbage": sends(b"\x16\x03\x01 this is no HTTP\r\n\r\n"),
    "noise": sends(b"\x00" * 100_000),
    "partial-head": sends(b"HTTP/1.1 200 OK\r\nContent-Len"),
    "http2": sends(b"HTTP/2 200\r\n\r\n"),
    "two-lengths": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    "both-framings": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "bare-lf": sends(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    "splitting": sends(b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"),
    "switching": sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    "endless-hints": sends(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
    "short-body": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
    "short-chunks": sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
    "bad-chunks": sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nXYZ\r\n"),
    "bad-first-chunk": sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n"),
    "bad-trailer": sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nno trailer\r\n\r\n"),
    "bad-later": sends_halves(HALF, HALF_IS_HERE, b"4\r\nmore\r\nXYZ\r\n"),
    "stalls": starts_and_stalls,
    "surplus": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
}


def by_target(connection: Connection) -> None:
    """What the service's name, which is the first segment, says."""
    SCRIPTS[connection.backend.name](connection)


def timeout_of(name: str) -> str:
    """Short for those that are silent only: on a busy machine the others may take a second."""
    return "500ms" if name in ("never", "stalls") else "15s"


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Gateway, dict[str, Backend]]]:
    backends = {name: Backend(by_target, name=name) for name in SCRIPTS}
    services: dict[str, object] = {
        name: {"url": own.url, "health_check": False, "timeout": timeout_of(name), "retries": 1}
        for name, own in backends.items()
    }
    dead = Refusing()
    services["dead"] = {"url": dead.url, "health_check": False, "retries": 1}
    services["nameless"] = {"url": "http://no-such-host.invalid", "health_check": False, "retries": 0}
    for each in backends.values():
        each.__enter__()
    try:
        with Gateway({"services": services}) as gateway:
            yield gateway, backends
    finally:
        dead.close()
        for each in backends.values():
            each.close()


World = tuple[Gateway, dict[str, Backend]]


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("dead", 502, "upstream_refused"),
        ("nameless", 502, "upstream_dns"),
        ("reset", 502, "upstream_reset"),
        ("closed", 502, "upstream_reset"),
        ("never", 504, "upstream_timeout"),
        ("garbage", 502, "upstream_malformed"),
        ("noise", 502, "upstream_malformed"),
        ("partial-head", 502, "upstream_reset"),
        ("http2", 502, "upstream_malformed"),
        ("two-lengths", 502, "upstream_malformed"),
        ("both-framings", 502, "upstream_malformed"),
        ("bare-lf", 502, {"upstream_malformed", "upstream_reset"}),
        ("splitting", 502, "upstream_malformed"),
        ("switching", 502, "upstream_malformed"),
        ("bad-chunks", 502, "upstream_malformed"),
        ("bad-first-chunk", 502, "upstream_malformed"),
        ("bad-trailer", 502, "upstream_malformed"),
    ],
)
def test_a_service_that_gives_no_answer(world: World, name: str, status: int, reason: str | set[str]) -> None:
    gateway, _ = world
    with gateway.wire() as wire:
        answer = wire.ask("GET", f"/api/{name}/x")
        assert answer.status == status
        assert answer.get("content-type") == "application/problem+json"
        assert answer.json()["reason"] in ({reason} if isinstance(reason, str) else reason)
        assert set(answer.json()) == {"type", "title", "status", "detail", "instance", "request_id", "reason"}
        assert wire.ask("GET", "/livez").status == 200, "the client's connection lives on"
    line = gateway.logged(answer.get("x-request-id"))
    assert (line["status_code"], line["reason"], line["service"]) == (status, answer.json()["reason"], name)


def test_endless_interim_responses_end(world: World) -> None:
    gateway, _ = world
    with gateway.wire() as wire:
        wire.send(request("GET", "/api/endless-hints/x"))
        while (answer := wire.receive()).status == 103:
            pass
        assert (answer.status, answer.json()["reason"]) == (502, "upstream_malformed")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("short-body", "upstream_reset"), ("short-chunks", "upstream_reset"), ("stalls", "upstream_timeout")],
)
def test_a_cut_body_is_seen_to_be_cut(world: World, name: str, reason: str) -> None:
    """Or the whole is a 502, where the end came with the head."""
    gateway, backends = world
    before = len(backends[name].requests)
    status = 200
    with gateway.wire() as wire, suppress(CutShortError, ConnectionResetError):
        status = wire.ask("GET", f"/api/{name}/cut").status
        assert status == 502
    line = gateway.logged_path(f"/api/{name}/cut")
    assert (line["status_code"], line["reason"]) == (status, reason)
    assert len(backends[name].requests) == before + 1, "what was begun is not sent again"


def test_what_was_right_before_a_fault_arrives(world: World) -> None:
    gateway, _ = world
    with gateway.wire() as wire:
        wire.send(request("GET", "/api/bad-later/x"))
        head = read_head(wire.file)
        assert head is not None
        assert head.status == 200
        assert wire.file.readline() == b"4\r\n"
        HALF_IS_HERE.set()
        assert wire.rest() == b"half\r\n4\r\nmore\r\n"
    line = gateway.logged_path("/api/bad-later/x")
    assert (line["status_code"], line["reason"]) == (200, "upstream_malformed")


def test_bytes_behind_a_response_reach_nobody(world: World) -> None:
    gateway, _ = world
    with gateway.wire() as wire:
        for _ in range(3):
            answer = wire.ask("GET", "/api/surplus/x")
            assert answer.body == b"ok"


def test_get_is_tried_again_and_post_is_not(world: World) -> None:
    gateway, backends = world
    for name in ("reset", "closed", "partial-head"):
        safe = ("GET", "HEAD", "QUERY", "PUT", "DELETE")
        for method, times in (*((method, 2) for method in safe), ("POST", 1), ("PATCH", 1)):
            before = len(backends[name].requests)
            assert gateway.ask(method, f"/api/{name}/x", body=b"abc" if method[0] in "PQ" else None).status == 502
            assert len(backends[name].requests) - before == times, (name, method)


def test_a_large_put_is_not_sent_twice(world: World) -> None:
    """Past 64 KiB the body is gone; what was sent cannot be sent again."""
    gateway, backends = world
    before = len(backends["closed"].requests)
    assert gateway.ask("PUT", "/api/closed/x", body=content(200_000)).status == 502
    assert len(backends["closed"].requests) == before + 1


def test_no_answer_to_a_timeout_is_tried_again(world: World) -> None:
    gateway, backends = world
    before = len(backends["never"].requests)
    answer = gateway.get("/api/never/x")
    assert answer.status == 504
    assert answer.json()["detail"] == "never: the service did not answer in time (timeout.response: 0.5 s)"
    assert len(backends["never"].requests) == before + 1


# ---- several instances


def test_round_robin_by_weight() -> None:
    with Backend(name="a") as a, Backend(name="b") as b:
        instances = [{"url": a.url, "weight": 2}, {"url": b.url}]
        with Gateway({"services": {"two": {"instances": instances, "health_check": False}}}) as gateway:
            names = [gateway.get("/api/two/x").json()["backend"] for _ in range(30)]
            assert Counter(names) == {"a": 20, "b": 10}
            assert "aaa" not in "".join(names), "turns are spread out"


def test_one_of_two_dead_and_every_get_succeeds() -> None:
    with Backend(name="a") as a, Refusing() as dead:
        instances = [a.url, dead.url]
        with Gateway({"services": {"two": {"instances": instances, "health_check": False}}}) as gateway:
            with gateway.wire() as wire:
                assert Counter(wire.ask("GET", "/api/two/x").status for _ in range(100)) == {200: 100}
                for _ in range(6):  # nothing was sent to the dead one, so a POST may go to the other
                    assert wire.ask("POST", "/api/two/echo", body=b"once").body == b"once"
            until(lambda: any(line["attempts"] == 2 for line in gateway.log()), "a second attempt is logged")
            assert len(a.requests) == 106


def test_one_of_two_resets_and_every_get_succeeds_while_no_post_is_doubled() -> None:
    with Backend(name="a") as a, Backend(resets, name="b") as b:
        service = {"instances": [a.url, b.url], "health_check": False, "passive_health": False}
        with Gateway({"services": {"two": service}}) as gateway, gateway.wire() as wire:
            for _ in range(10):
                assert wire.ask("GET", "/api/two/x").status == 200
            assert len(b.requests) > 0
            gets = len(a.requests) + len(b.requests)
            statuses = [wire.ask("POST", f"/api/two/post-{n}", body=b"pay").status for n in range(10)]
            assert Counter(statuses) == {200: 5, 502: 5}
            posts = Counter(a.targets() + b.targets())
            assert len(a.requests) + len(b.requests) == gets + 10
            assert all(posts[f"/post-{n}"] == 1 for n in range(10))


def test_retries_on_statuses_where_wanted() -> None:
    with Backend(name="a") as a, Backend(sends(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), name="b") as b:
        plain = {"instances": [a.url, b.url], "health_check": False}
        keen = {**plain, "retries": {"attempts": 2, "on": ["connect", "reset", 503]}}
        with Gateway({"services": {"plain": plain, "keen": keen}}) as gateway, gateway.wire() as wire:
            assert {wire.ask("GET", "/api/keen/x").status for _ in range(6)} == {200}
            assert {wire.ask("GET", "/api/plain/x").status for _ in range(6)} == {200, 503}


def test_a_connection_that_died_while_idle_costs_no_request(backend: Backend) -> None:
    """The service answers once on a connection, then closes it when the next request comes: the classic race."""

    def once_and_gone(connection: Connection) -> None:
        connection.next_request()
        connection.answer(b"fine")
        connection.next_request()  # read, and never answered

    backend.script = once_and_gone
    config = {"services": {"racy": {"url": backend.url, "health_check": False, "retries": 0}}}
    with Gateway(config) as gateway, gateway.wire() as wire:
        for _ in range(10):
            assert wire.ask("GET", "/api/racy/x").body == b"fine"


def test_a_service_that_closes_after_each_answer(backend: Backend) -> None:
    """It does not say so beforehand; no request fails, a POST neither."""

    def once(connection: Connection) -> None:
        connection.next_request()
        connection.answer(b"fine")

    backend.script = once
    with Gateway({"services": {"once": backend}}) as gateway, gateway.wire() as wire:
        for number in range(20):
            assert wire.ask("GET", "/api/once/x").body == b"fine"
            until(lambda n=number: len(backend.connections) >= n + 1)  # type: ignore[misc]


def test_idle_connections_are_closed_in_time(backend: Backend) -> None:
    """After their own time, or sooner where the service says that it keeps them no longer."""
    config = {
        "services": {
            "brief": {"url": backend.url, "health_check": False, "idle_connection_timeout": "200ms"},
            "advised": {"url": backend.url, "health_check": False, "idle_connection_timeout": "1h"},
        }
    }
    closed = threading.Semaphore(0)

    def watch(connection: Connection) -> None:
        while (asked := connection.next_request()) is not None:
            connection.answer(b"x", "200 OK", *(["Keep-Alive: timeout=1"] if asked.target == "/advised" else []))
        closed.release()

    backend.script = watch
    with Gateway(config) as gateway:
        for name in ("brief", "advised"):
            assert gateway.get(f"/api/{name}/{name}").status == 200
            assert closed.acquire(timeout=20)


def test_a_service_that_accepts_no_connection_times_out() -> None:
    with full_port() as port:
        timeout = {"connect": "300ms", "response": 20}
        service = {"url": f"http://127.0.0.1:{port}", "health_check": False, "timeout": timeout, "retries": 0}
        with Gateway({"services": {"full": service}}) as gateway:
            answer = gateway.ask("POST", "/api/full/x", body=b"x")
            assert (answer.status, answer.json()["reason"]) == (504, "upstream_timeout")
            assert answer.json()["detail"].endswith("did not accept a connection in time (timeout.connect: 0.3 s)")


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ({"timeout": {"total": "300ms"}}, "timeout.total: 0.3 s"),
        ({"retries": {"attempts": 0, "per_try_timeout": "200ms"}}, "retries.per_try_timeout: 0.2 s"),
    ],
)
def test_a_timeout_names_the_key_that_was_too_short(written: dict[str, Any], key: str) -> None:
    with Backend(hangs, name="s") as backend:
        service = {"url": backend.url, "health_check": False, **written}
        with Gateway({"services": {"s": service}}) as gateway:
            assert gateway.get("/api/s/x").json()["detail"] == f"s: the service did not answer in time ({key})"


def test_a_dead_instance_is_removed_and_comes_back() -> None:
    health = {"path": "/status/200", "interval": "100ms", "timeout": 2, "unhealthy_after": 2}
    with Backend(name="a") as a, Refusing() as reserved:
        b = Backend(name="b", port=reserved.port)
        b.__enter__()
        service = {"instances": [a.url, b.url], "health_check": health}
        with Gateway({"services": {"two": service}}) as gateway:
            gateway.wait_for_control()

            def healthy(url: str) -> bool | None:
                page = gateway.get("/metrics").body.decode()
                line = f'gateway_instance_healthy{{instance="{url}",service="two"}} '
                return line + "1.0" in page

            def names() -> set[str]:
                return {gateway.get("/api/two/x").json()["backend"] for _ in range(6)}

            def instance(url: str) -> dict[str, object]:
                instances = gateway.get("/health").json()["services"]["two"]["instances"]
                return next(each for each in instances if each["url"] == url)

            until(lambda: names() == {"a", "b"}, "both get requests")
            until(lambda: healthy(a.url) and healthy(b.url), "both are healthy in the metrics")
            b.close()
            until(lambda: not healthy(b.url), "the metric says that b is down")
            until(lambda: instance(b.url)["status"] == "unhealthy", "/health says that b is down")
            assert gateway.get("/health").json()["services"]["two"]["status"] == "healthy", "one is enough"
            assert instance(b.url)["in_rotation"] is False
            assert healthy(a.url)
            assert any(event["event"] == "instance down" for event in gateway.events())
            until(lambda: all(_attempts(gateway) == 1 for _ in range(4)), "nobody tries b any more")
            with Backend(name="b again", port=reserved.port):
                until(lambda: names() == {"a", "b again"}, "b gets requests again")
                until(lambda: healthy(b.url), "the metric says that b is up")
                until(lambda: instance(b.url)["status"] == "healthy", "/health says that b is up")


def _attempts(gateway: Gateway) -> int:
    answer = gateway.get("/api/two/x")
    attempts: int = gateway.logged(answer.get("x-request-id"))["attempts"]
    return attempts


def test_a_check_goes_by_status_and_by_timeout() -> None:
    """An instance that accepts connections and answers 500, or nothing, is as dead as any other."""

    check = {"interval": "100ms", "timeout": "300ms", "unhealthy_after": 1}
    with Backend(name="a") as a, Backend(hung) as b:
        services = {
            "broken": {"url": a.url, "health_check": {**check, "path": "/status/500"}},
            "hung": {"url": b.url, "health_check": {**check, "path": "/health"}},
            "odd": {"url": a.url, "health_check": {**check, "path": "/status/418", "expect": [418]}},
        }
        with Gateway({"services": services}) as gateway:
            for name in ("broken", "hung"):
                answer = until(lambda name=name: _refused(gateway, f"/api/{name}/x"), f"{name} is out")  # type: ignore[misc]
                assert answer == ("no_healthy_upstream", "1")
            assert gateway.get("/api/odd/x").status == 200


def _refused(gateway: Gateway, target: str) -> tuple[str, str | None] | None:
    with gateway.wire() as wire:
        wire.socket.settimeout(1)
        try:
            answer = wire.ask("GET", target)
        except TimeoutError:
            return None
    return (answer.json()["reason"], answer.get("retry-after")) if answer.status == 503 else None


def test_all_down_is_503_with_advice() -> None:
    check = {"path": "/health", "interval": "100ms", "unhealthy_after": 1}
    with (
        Refusing() as one,
        Refusing() as two,
        Gateway({"services": {"gone": {"instances": [one.url, two.url], "health_check": check}}}) as gateway,
    ):
        until(lambda: gateway.get("/api/gone/x").status == 503, "all are out")
        answer = gateway.get("/api/gone/x")
        assert answer.json()["reason"] == "no_healthy_upstream"
        assert int(answer.get("retry-after") or 0) > 0
        assert gateway.get("/readyz").status == 200, "the gateway itself is well"


def test_a_client_that_leaves_ends_the_request_to_the_service(backend: Backend) -> None:
    left = threading.Event()
    arrived = threading.Event()

    def wait(connection: Connection) -> None:
        connection.next_request()
        arrived.set()
        connection.wait_for_end()
        left.set()

    backend.script = wait
    with Gateway({"services": {"slow": backend}}) as gateway:
        with gateway.wire() as wire:
            wire.send(request("GET", "/api/slow/leaving"))
            assert arrived.wait(20)
        assert left.wait(20), "the service's connection is closed"
        line = gateway.logged_path("/api/slow/leaving")
        assert (line["status_code"], line["reason"]) == (499, "client_closed")


def test_a_request_for_everything_has_a_bound(backend: Backend) -> None:
    """`total` ends a response that trickles for ever."""

    def trickle(connection: Connection) -> None:
        connection.next_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not connection.backend.ended:
            connection.send(b"1\r\nx\r\n")
            threading.Event().wait(0.02)

    backend.script = trickle
    timeout = {"connect": 1, "response": 1, "idle": 1, "total": "700ms"}
    service = {"url": backend.url, "health_check": False, "timeout": timeout}
    with Gateway({"services": {"drip": service}}) as gateway, gateway.wire() as wire:
        with pytest.raises((CutShortError, ConnectionResetError)):
            wire.ask("GET", "/api/drip/x")
        assert gateway.logged_path("/api/drip/x")["reason"] == "upstream_timeout"


def test_the_well_behaved_are_served_beside_the_others(world: World) -> None:
    gateway, backends = world
    backends["reset"].script, old = well_behaved, backends["reset"].script
    try:
        assert gateway.get("/api/reset/bytes/5").body == content(5)
    finally:
        backends["reset"].script = old


def test_an_upload_that_is_refused_early_gets_the_answer(backend: Backend) -> None:
    """The service answers the head and closes with the content unread, which resets its connection."""

    def refuse(connection: Connection) -> None:
        while connection.reader.readline().strip():
            pass
        connection.answer(b"too much", "413 Content Too Large", "Connection: close")

    backend.script = refuse
    size = 3_000_000
    with Gateway({"services": {"strict": backend}, "gateway": {"limits": {"body_size": size}}}) as gateway:
        for _ in range(15):
            with gateway.wire() as wire:
                wire.send(f"POST /api/strict/x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())
                with contextlib.suppress(OSError):  # the gateway need not take it all
                    for _ in range(size // 50_000):
                        wire.send(b"x" * 50_000)
                answer = wire.receive()
                assert (answer.status, answer.body) == (413, b"too much")
