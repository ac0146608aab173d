"""Instances that fail while others do not: which are tried, which are ejected, and which come back."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack

import pytest

from support.backend import Backend, Connection, Refusing, Script, content, well_behaved
from support.breakers import CLOSED, HALF_OPEN, OPEN, changes, openings, state
from support.client import TIMEOUT, request
from support.messages import CutShortError, Message
from support.metrics import metric
from support.running import be_well, running, served_by, service
from support.scripts import hangs, resets, resets_in_the_middle, says, talks_nonsense, waits_for
from support.sockets import full_port
from support.world import Gateway, until


def try_once(gateway: Gateway, method: str = "GET", *lines: str, body: bytes | None = None) -> Message | None:
    """The answer; None where it breaks off."""
    try:
        return gateway.ask(method, "/api/s/x", *lines, body=body)
    except (CutShortError, ConnectionResetError):
        return None


# ---- instances that fail requests are left alone


@pytest.mark.parametrize(
    ("script", "spoiled"),
    [(says("500 No"), 3), (resets, 0), (resets_in_the_middle, 3), (hangs, 0), (talks_nonsense, 3)],
)
def test_a_failing_instance_of_two_is_ejected(script: Script, spoiled: int) -> None:
    """By then some requests may have got what it had to say; after that none does."""
    a, b = Backend(name="a"), Backend(script, name="b")
    retries = {"on": ["connect", "reset", "timeout"]}
    health = {"failures": 3, "open_for": "1h"}
    timeout = "1s" if script is hangs else "15s"
    with running(a, b, passive_health=health, retries=retries, timeout=timeout) as gateway:
        bad = 0
        while state(gateway, b) != OPEN:
            answer = try_once(gateway)
            bad += answer is None or answer.status != 200
        assert bad == spoiled
        asked = len(b.requests)
        assert served_by(gateway, 20) == {"a": 20}
        assert len(b.requests) == asked
        assert (state(gateway, a), openings(gateway, b)) == (CLOSED, 1)
        assert changes(gateway) == ["breaker open"]


def test_a_backup_answers_what_no_other_does() -> None:
    """Also before checks or a breaker know that the others cannot."""
    with Backend(name="spare") as spare, Refusing() as dead:
        instances = [dead.url, {"url": spare.url, "backup": True}]
        with Gateway({"services": {"s": {"instances": instances, "health_check": False}}}) as gateway:
            for method in ("GET", "POST"):
                answer = gateway.ask(method, "/api/s/x")
                assert answer.json()["backend"] == "spare"
                assert gateway.logged(answer.get("x-request-id"))["attempts"] == 2


def test_an_instance_that_refuses_connections_is_ejected() -> None:
    with Backend(name="a") as a, Refusing() as dead:
        config = {"services": {"s": service(a, dead, passive_health={"failures": 2, "open_for": "1h"})}}
        with Gateway(config) as gateway:
            gateway.wait_for_control()
            assert served_by(gateway, 10) == {"a": 10}
            assert state(gateway, dead) == OPEN
            answer = gateway.get("/api/s/x")
            assert gateway.logged(answer.get("x-request-id"))["attempts"] == 1


def test_an_instance_that_accepts_no_connection_is_ejected() -> None:
    with Backend(name="a") as a, full_port() as port:
        settings = {
            "instances": [a.url, f"http://127.0.0.1:{port}"],
            "health_check": False,
            "timeout": {"connect": "1s"},
            "passive_health": {"failures": 2, "open_for": "1h"},
        }
        with Gateway({"services": {"s": settings}}) as gateway:
            assert served_by(gateway, 10) == {"a": 10}
            until(lambda: changes(gateway) == ["breaker open"])
            answer = gateway.get("/api/s/x")
            assert gateway.logged(answer.get("x-request-id"))["attempts"] == 1


def test_one_that_is_brought_back() -> None:
    with Backend(name="a") as a, Refusing() as reserved:
        b = Backend(name="b", port=reserved.port)
        b.__enter__()
        health = {"failures": 2, "open_for": "200ms", "open_for_most": "400ms"}
        with Gateway({"services": {"s": service(a, b, passive_health=health)}}) as gateway:
            gateway.wait_for_control()
            assert served_by(gateway, 10) == {"a": 5, "b": 5}
            assert (state(gateway, a), state(gateway, b)) == (CLOSED, CLOSED)
            b.close()
            until(lambda: served_by(gateway, 4) == {"a": 4} and changes(gateway), "b is out")
            until(lambda: state(gateway, b) == HALF_OPEN, "it may be tried, but nobody asks")
            with Backend(name="b again", port=reserved.port):
                until(lambda: served_by(gateway, 10) == {"a": 5, "b again": 5}, "it gets requests again")
                assert state(gateway, b) == CLOSED
                assert changes(gateway)[:2] == ["breaker open", "breaker half-open"]
                assert changes(gateway)[-1] == "breaker closed"


def test_the_last_ones_are_used_however_they_fail() -> None:
    a, b = Backend(says("500 A"), name="a"), Backend(says("502 B"), name="b")
    with running(a, b, passive_health={"failures": 2, "open_for": "1h"}) as gateway:
        for _ in range(20):
            gateway.get("/api/s/x")
        assert (state(gateway, a), state(gateway, b)) == (OPEN, OPEN)
        with gateway.wire() as wire:
            assert Counter(wire.ask("GET", "/api/s/x").status for _ in range(20)) == {500: 10, 502: 10}
        be_well(a, b)
        until(lambda: served_by(gateway, 10) and CLOSED in (state(gateway, a), state(gateway, b)), "one is well")


def test_one_that_is_alone_has_no_breaker(backend: Backend) -> None:
    backend.script = says("500 No")
    with Gateway({"services": {"s": service(backend)}}) as gateway:
        gateway.wait_for_control()
        assert {gateway.get("/api/s/x").status for _ in range(12)} == {500}
        assert state(gateway, backend) is None


def test_turned_off() -> None:
    a, b = Backend(says("500 A"), name="a"), Backend(says("200 B"), name="b")
    with running(a, b, passive_health=False) as gateway:
        assert Counter(gateway.get("/api/s/x").status for _ in range(20)) == {500: 10, 200: 10}


def test_a_reload_leaves_it_as_it_is() -> None:
    a, b = Backend(name="a"), Backend(says("500 No"), name="b")
    health = {"failures": 2, "open_for": "1h"}
    with running(a, b, passive_health=health) as gateway:
        while state(gateway, b) != OPEN:
            gateway.get("/api/s/x")
        asked = len(b.requests)
        gateway.write({"services": {"s": service(a, b, passive_health=health), "more": {"url": a.url}}})
        gateway.signal(signal.SIGHUP)
        until(lambda: gateway.get("/api/more/x").status == 200, "the new service is there")
        assert served_by(gateway, 10) == {"a": 10}
        assert state(gateway, b) == OPEN
        assert len(b.requests) == asked


def test_one_that_comes_back_gets_little_at_first() -> None:
    a, b = Backend(name="a"), Backend(says("500 No"), name="b")
    health = {"failures": 2, "open_for": "100ms"}
    with running(a, b, passive_health=health, slow_start="1h") as gateway:
        while not changes(gateway):
            gateway.get("/api/s/x")
        be_well(b)
        until(lambda: served_by(gateway, 2) and changes(gateway)[-1] == "breaker closed", "it is back")
        assert served_by(gateway, 110) == {"a": 100, "b": 10}


# ---- or the whole service is


def test_an_open_circuit_answers_at_once(backend: Backend) -> None:
    backend.script = says("500 No")
    breaker = {"failures": 3, "open_for": "300ms", "open_for_most": "300ms"}
    with Gateway({"services": {"s": service(backend, circuit_breaker=breaker)}}) as gateway:
        gateway.wait_for_control()
        assert state(gateway, backend) == CLOSED
        answers = [gateway.get("/api/s/x") for _ in range(5)]
        assert [answer.status for answer in answers[:3]] == [500, 500, 500]
        refused = next(answer for answer in answers if answer.status == 503)
        assert refused.json()["reason"] == "circuit_open"
        assert int(refused.get("retry-after") or 0) >= 1
        assert gateway.logged(refused.get("x-request-id"))["attempts"] == 0
        until(lambda: state(gateway, backend) == HALF_OPEN, "one may try")
        asked = len(backend.requests)
        assert gateway.get("/api/s/x").status == 500
        assert len(backend.requests) == asked + 1
        assert (openings(gateway, backend) or 0) >= 2, "it failed too"
        be_well(backend)
        until(lambda: gateway.get("/api/s/x").status == 200, "it is well again")
        assert state(gateway, backend) == CLOSED


def test_a_circuit_of_several_closes_only_when_all_are_out() -> None:
    a, b = Backend(says("500 A"), name="a"), Backend(says("200 B"), name="b")
    with running(a, b, circuit_breaker={"failures": 2, "open_for": "1h"}) as gateway:
        for _ in range(8):
            gateway.get("/api/s/x")
        assert (state(gateway, a), state(gateway, b)) == (OPEN, CLOSED)
        assert {gateway.get("/api/s/x").status for _ in range(4)} == {200}
        b.close()
        until(lambda: gateway.get("/api/s/x").json()["reason"] == "circuit_open", "nobody is left")
        assert int(gateway.get("/api/s/x").get("retry-after") or 0) > 3000


# ---- what is tried again


@pytest.mark.parametrize("script", [hangs, resets])
def test_a_post_is_repeated_only_where_that_is_written(script: Script) -> None:
    """Counted where it arrives: what may have been done once is not done again."""
    with Backend(name="a") as a, Backend(script, name="b") as b:
        retries = {"per_try_timeout": "1s"}
        settings = service(a, b, passive_health=False, retries=retries, default_routes=False)
        routes = [
            {"service": "s", "path": "/once"},
            {"service": "s", "path": "/again", "retries": {"methods": ["GET", "POST"]}},
        ]
        with Gateway({"services": {"s": settings}, "routes": routes}) as gateway, gateway.wire() as wire:
            once = [wire.ask("POST", f"/once/{n}", body=b"pay").status for n in range(6)]
            assert Counter(once) == {200: 3, 504 if script is hangs else 502: 3}
            assert Counter(a.targets() + b.targets()) == {f"/{n}": 1 for n in range(6)}
            assert {wire.ask("POST", f"/again/more-{n}", body=b"pay").status for n in range(6)} == {200}
            assert {wire.ask("GET", f"/once/get-{n}").status for n in range(6)} == {200}
            assert Counter(a.targets() + b.targets())["/more-0"] in (1, 2)


def test_a_route_may_have_no_retries() -> None:
    with Backend(name="a") as a, Backend(resets, name="b") as b:
        routes = [{"service": "s", "path": "/never", "retries": 0}]
        config = {"services": {"s": service(a, b, passive_health=False)}, "routes": routes}
        with Gateway(config) as gateway, gateway.wire() as wire:
            assert Counter(wire.ask("GET", "/never/x").status for _ in range(10)) == {200: 5, 502: 5}
            assert {wire.ask("GET", "/api/s/x").status for _ in range(10)} == {200}


@pytest.mark.parametrize("advice", ["20", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_an_instance_that_asks_for_backoff_gets_no_retries(advice: str) -> None:
    busy = says("503 Busy", f"Retry-After: {advice}")
    with Backend(busy, name="a") as a, Backend(busy, name="b") as b, Backend(name="c") as c:
        plain = {"passive_health": False, "retries": {"attempts": 5, "on": [503]}}
        services = {"s": service(a, b, c, **plain), "both": service(a, b, **plain), "one": service(a, **plain)}
        with Gateway({"services": services}) as gateway, gateway.wire() as wire:
            for name, asked in (("one", 1), ("both", 2), ("both", 1)):
                before = len(a.requests) + len(b.requests)
                answer = wire.ask("GET", f"/api/{name}/x")
                assert (answer.status, answer.body, answer.get("retry-after")) == (503, b"503 Busy", advice)
                assert len(a.requests) + len(b.requests) - before == asked
            assert {wire.ask("GET", "/api/s/x").status for _ in range(9)} == {200}
            assert len(c.requests) == 9


def test_without_retry_after_the_instance_is_tried_again(backend: Backend) -> None:
    backend.script = says("503 Busy")
    settings = service(backend, retries={"attempts": 2, "on": [503]})
    with Gateway({"services": {"s": settings}}) as gateway:
        assert gateway.get("/api/s/x").status == 503
        assert len(backend.requests) == 3


# ---- hedging


def test_a_hedge_wins_and_the_slow_one_is_let_go() -> None:
    ended = threading.Semaphore(0)

    def waits(connection: Connection) -> None:
        connection.next_request()
        connection.wait_for_end()
        ended.release()

    a, b = Backend(name="a"), Backend(waits, name="b")
    with running(a, b, hedge={"after": "100ms"}, passive_health=False) as gateway:
        assert served_by(gateway, 6) == {"a": 6}
        for _ in b.requests:
            assert ended.acquire(timeout=TIMEOUT), "the other try is cancelled"
        won = metric(gateway, "gateway_hedges_won_total", service="s")
        assert won == metric(gateway, "gateway_hedges_total", service="s") == len(b.requests)
        assert metric(gateway, "gateway_retries_total", service="s") is None
        assert len(b.requests) >= 3


def test_a_hedge_that_loses_is_let_go() -> None:
    """The second one never answers; the first one does once that was asked."""
    asked = threading.Event()

    def hesitates(connection: Connection) -> None:
        while connection.next_request() is not None:
            assert asked.wait(TIMEOUT)
            connection.answer(b"first")

    ended = threading.Event()

    def waits(connection: Connection) -> None:
        connection.next_request()
        asked.set()
        connection.wait_for_end()
        ended.set()

    a, b = Backend(hesitates, name="a"), Backend(waits, name="b")
    with running(a, b, hedge={"after": "50ms"}) as gateway:
        assert gateway.get("/api/s/x").body == b"first"
        assert ended.wait(TIMEOUT)
        assert metric(gateway, "gateway_hedges_total", service="s") == 1
        assert metric(gateway, "gateway_hedges_won_total", service="s") is None


def test_no_hedge_goes_to_an_instance_that_is_full() -> None:
    release = threading.Event()

    a, b = Backend(waits_for(release), name="a"), Backend(waits_for(release), name="b")
    with running(a, b, hedge={"after": "50ms"}, max_connections=1) as gateway, ExitStack() as stack:
        wires = [stack.enter_context(gateway.wire()) for _ in range(2)]
        for wire in wires:
            wire.send(request("GET", "/api/s/x"))
        until(lambda: len(a.requests) + len(b.requests) == 2, "both are full")
        time.sleep(0.2)
        release.set()
        assert [wire.receive().body for wire in wires] == [b"late", b"late"]
        assert (len(a.requests), len(b.requests)) == (1, 1)
        assert metric(gateway, "gateway_hedges_total", service="s") is None


def goes_silent(silent: threading.Event) -> Script:
    """Answers until the event is set, then accepts and says nothing, as a stopped process does."""

    def answer(connection: Connection) -> None:
        while connection.next_request() is not None:
            if silent.is_set():
                connection.wait_for_end()
                return
            connection.answer(b"x")

    return answer


def test_a_silent_instance_is_left_for_one_that_answers() -> None:
    silent = threading.Event()
    a, b = Backend(name="a"), Backend(goes_silent(silent), name="b")
    retries = {"silence": "100ms"}
    with (
        running(a, b, retries=retries, passive_health={"failures": 2, "open_for": 60}) as gateway,
        ExitStack() as stack,
    ):
        assert {gateway.get("/api/s/x").status for _ in range(4)} == {200}
        silent.set()
        wires = [stack.enter_context(gateway.wire()) for _ in range(8)]
        for wire in wires:
            wire.send(request("GET", "/api/s/x"))
        assert [wire.receive().status for wire in wires] == [200] * 8
        assert metric(gateway, "gateway_breaker_state", service="s", instance=b.url) == OPEN
        assert metric(gateway, "gateway_hedges_won_total", service="s") == 4


def test_where_no_instance_answers_no_other_is_tried() -> None:
    """All are slow: that says nothing of one."""
    release = threading.Event()

    a, b = Backend(waits_for(release), name="a"), Backend(waits_for(release), name="b")
    with running(a, b, retries={"silence": "50ms"}) as gateway, gateway.wire() as wire:
        wire.send(request("GET", "/api/s/x"))
        time.sleep(0.3)
        release.set()
        assert wire.receive().body == b"late"
        assert metric(gateway, "gateway_hedges_total", service="s") is None


def test_a_time_out_is_tried_again_where_there_is_another_instance() -> None:
    a, b = Backend(name="a"), Backend(hangs, name="b")
    with running(a, b, timeout="1s", passive_health=False) as gateway:
        assert served_by(gateway, 4) == {"a": 4}
    with running(Backend(hangs, name="c"), timeout="200ms") as gateway:
        assert gateway.get("/api/s/x").status == 504


def test_what_may_change_something_is_never_hedged() -> None:
    a, b = Backend(name="a"), Backend(hangs, name="b")
    with running(a, b, hedge={"after": "50ms"}, timeout="1s", passive_health=False) as gateway:
        statuses = Counter(gateway.ask("POST", "/api/s/x", body=b"x").status for _ in range(4))
        assert statuses == {200: 2, 504: 2}
        assert len(a.requests) + len(b.requests) == 4
        assert metric(gateway, "gateway_hedges_total", service="s") is None


@pytest.mark.parametrize("chunked", [False, True])
def test_a_query_is_hedged_with_its_content(chunked: bool) -> None:
    """QUERY is as safe as GET, and its content is what is asked (RFC 10008): the second instance gets all of it."""
    a, b = Backend(says("200 A"), name="a"), Backend(hangs, name="b")
    sent = content(70_000 if chunked else 300)[:65_000]
    with running(a, b, hedge={"after": "50ms", "budget": 1}, passive_health=False) as gateway, gateway.wire() as wire:
        for _ in range(4):
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(sent)}"
            wire.send(request("QUERY", "/api/s/x", framing))
            wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(sent), sent) if chunked else sent)
            assert wire.receive().status == 200
        assert {(each.method, each.body) for each in (*a.requests, *b.requests)} == {("QUERY", sent)}
        assert len(a.requests) == 4
        assert metric(gateway, "gateway_hedges_won_total", service="s") == len(b.requests) > 0


def test_a_query_that_is_too_large_to_be_kept_is_not_hedged() -> None:
    a, b = Backend(hangs, name="a"), Backend(hangs, name="b")
    with running(a, b, hedge={"after": "50ms", "budget": 1}, timeout="500ms", retries=0) as gateway:
        assert gateway.ask("QUERY", "/api/s/x", body=content(100_000)).status == 504
        assert metric(gateway, "gateway_hedges_total", service="s") is None


def test_a_hedge_goes_on_where_the_first_try_fails() -> None:
    """The first one fails once the second was asked, which then answers: no third one is needed."""
    asked, failed = threading.Event(), threading.Event()

    def fails(connection: Connection) -> None:
        connection.next_request()
        assert asked.wait(TIMEOUT)
        connection.reset()
        failed.set()

    def answers(connection: Connection) -> None:
        while connection.next_request() is not None:
            asked.set()
            assert failed.wait(TIMEOUT)
            connection.answer(b"second")

    a, b = Backend(fails, name="a"), Backend(answers, name="b")
    with running(a, b, hedge={"after": "50ms"}, retries=0) as gateway:
        assert gateway.get("/api/s/x").body == b"second"
        assert len(a.requests) + len(b.requests) == 2


def test_both_fail() -> None:
    a, b = Backend(resets, name="a"), Backend(resets, name="b")
    with running(a, b, hedge={"after": "1ms"}, retries=0, passive_health=False) as gateway:
        for _ in range(10):
            answer = gateway.get("/api/s/x")
            assert (answer.status, answer.json()["reason"]) == (502, "upstream_reset")


# ---- balancing


def spread(balancing: object, times: int, *scripts: Script, weights: tuple[int, ...] = (1, 1)) -> Counter[str]:
    """Who is asked how often, by requests one after the other."""
    with contextlib.ExitStack() as stack:
        backends = [
            stack.enter_context(Backend(script, name=name))
            for script, name in zip(scripts or (well_behaved,) * len(weights), "abc", strict=False)
        ]
        instances = [{"url": each.url, "weight": weight} for each, weight in zip(backends, weights, strict=True)]
        settings = {"instances": instances, "health_check": False, "load_balancing": balancing}
        with Gateway({"services": {"s": settings}}) as gateway, gateway.wire() as wire:
            assert {wire.ask("GET", "/api/s/x").status for _ in range(times)} == {200}
        return Counter({each.name: len(each.requests) for each in backends})


@pytest.mark.parametrize("balancing", ["round_robin", "least_connections"])
def test_weighted_round_robin_is_exact(balancing: str) -> None:
    assert spread(balancing, 60, weights=(3, 2, 1)) == {"a": 30, "b": 20, "c": 10}


def test_at_random() -> None:
    """Ten standard deviations either way."""
    seen = spread("random", 800, weights=(3, 1))
    assert 480 <= seen["a"] <= 720


def test_the_quicker_of_two() -> None:
    def slow(connection: Connection) -> None:
        while connection.next_request() is not None:
            threading.Event().wait(0.2)
            connection.answer(b"late")

    seen = spread("power_of_two", 60, well_behaved, slow)
    assert seen["a"] > 40
    assert seen["b"] >= 1


def test_the_one_with_less_to_do() -> None:
    release = threading.Event()

    a, b = Backend(waits_for(release), name="a"), Backend(name="b")
    with running(a, b, load_balancing="least_connections") as gateway, contextlib.ExitStack() as stack:
        while not a.requests:
            wire = stack.enter_context(gateway.wire())
            wire.send(b"GET /api/s/x HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: a.requests or b.requests)
        assert served_by(gateway, 20) == {"b": 20}
        release.set()


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ({"header": "X-User"}, "X-User: {}"),
        ({"cookie": "session"}, "Cookie: a=b; session={}"),
        ("client_ip", "X-Forwarded-For: 192.0.2.{}"),
    ],
)
def test_what_belongs_together_stays_together(key: object, line: str) -> None:
    users = [line.format(number) for number in range(100)]

    def homes(gateway: Gateway) -> list[str]:
        with gateway.wire() as wire:
            return [wire.ask("GET", "/api/s/x", user).json()["backend"] for user in users]

    backends = [Backend(name=name) for name in "abc"]
    with contextlib.ExitStack() as stack:
        for each in backends:
            stack.enter_context(each)
        config = {
            "gateway": {"trusted_proxies": ["127.0.0.0/8"]},
            "services": {"s": service(*backends, load_balancing={"consistent_hash": key})},
        }
        with Gateway(config) as gateway:
            first = homes(gateway)
            assert set(first) == {"a", "b", "c"}
            assert homes(gateway) == first
            backends[2].close()
            after = homes(gateway)
            assert all(old == new for old, new in zip(first, after, strict=True) if old != "c")
            assert {new for old, new in zip(first, after, strict=True) if old == "c"} == {"a", "b"}
