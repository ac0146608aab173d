"""Limits that gateways share in Redis: exact while it answers, and no request that fails while it does not."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.backend import Backend
from support.client import ask
from support.crowd import Crowd, storm
from support.fault import Fault
from support.metrics import total
from support.portico import source
from support.redis_process import RedisProcess, SlowWay
from support.tokens import SECRET, bearer, token
from support.world import Gateway, until

_PLENTY = {"requests_per_minute": 1e6, "burst": 10**6}
_WRONG_BY = 61


@pytest.fixture
def store() -> Iterator[RedisProcess]:
    with RedisProcess() as own:
        yield own


def shared(url: str, backend: Backend, policies: dict[str, Any], **gateway: Any) -> dict[str, Any]:
    """A configuration; a second of timeout, because a machine under tests may be slower than a millisecond."""
    return {
        "gateway": {"redis_url": url, "redis_timeout": 1, **gateway},
        "services": {"echo": backend},
        "policies": policies,
    }


# ---- exact


def test_a_limit_holds_exactly_over_two_gateways_one_of_whose_clocks_is_wrong(
    store: RedisProcess, backend: Backend
) -> None:
    rate, burst = 60, 1000
    config = shared(store.url, backend, {"rate_limit": {"requests_per_minute": rate, "burst": burst}}, workers=2)
    with ExitStack() as stack:
        right = stack.enter_context(Gateway(config))
        wrong = stack.enter_context(Gateway(config, env={"PYTHONPATH": _wrong_clock(right)}))
        statuses, seconds = storm([right.port, wrong.port], 5000, 100, "/api/echo/x")
        assert set(statuses) == {200, 429}
        assert burst <= statuses[200] <= burst + int(seconds * rate / 60) + 1
        apart = _logged_at(wrong) - _logged_at(right)
        assert _WRONG_BY - 30 < apart < _WRONG_BY + 30, "the clock was wrong indeed"
        assert not any("does not serve" in gateway.err() for gateway in (right, wrong))
    (key,) = store.limit_keys()
    assert 0 < store.client.ttl(key) <= burst * 60 / rate + 1


def _wrong_clock(gateway: Gateway) -> str:
    """A directory that makes Python's clock show another time, if it is on its path."""
    (gateway.directory / "sitecustomize.py").write_text(
        "import time\n"
        "for name, ahead in (('time', 1), ('monotonic', 1), ('time_ns', 10**9), ('monotonic_ns', 10**9)):\n"
        "    def wrong(own=getattr(time, name), ahead=ahead):\n"
        f"        return own() + {_WRONG_BY} * ahead\n"
        "    setattr(time, name, wrong)\n"
    )
    return f"{gateway.directory}:{source()}"


def _logged_at(gateway: Gateway) -> float:
    first = until(gateway.log)[0]
    return datetime.fromisoformat(first["timestamp"]).timestamp()


def test_a_refusal_by_one_limit_takes_no_token_of_the_others(store: RedisProcess, backend: Backend) -> None:
    slow = {"requests_per_minute": 0.1}
    limits = [{**slow, "burst": 5, "by": {"header": "A"}}, {**slow, "burst": 2, "by": {"header": "B"}}]
    with Gateway(shared(store.url, backend, {"rate_limit": limits})) as gateway:
        statuses = [gateway.get("/api/echo/x", "A: a", f"B: {b}").status for b in "11112223"]
        assert statuses == [200, 200, 429, 429, 200, 200, 429, 200]
        assert gateway.get("/api/echo/x", "A: a", "B: 4").status == 429, "five were admitted"
    tags = {key.partition("{")[2].partition("}")[0] for key in store.limit_keys()}
    assert tags == {"gateway:before"}, "the keys of a request are in one slot"


def test_quotas_count_on_where_a_gateway_left_off(store: RedisProcess, backend: Backend) -> None:
    limit = {"requests_per_day": 4, "requests_per_month": 1000, "by": "consumer"}
    policies = {"auth": {"jwt": {"secret": SECRET}}, "rate_limit": limit}
    config = shared(store.url, backend, policies)
    config["consumers"] = [{"name": "vip", "rate_limit": {"requests_per_day": 6}}]

    def admitted(gateway: Gateway, who: str) -> int:
        answers = [gateway.get("/api/echo/x", bearer(token(sub=who))) for _ in range(8)]
        last = answers[-1]
        assert last.status == 429
        wait = int(last.get("retry-after") or 0)
        now = datetime.now(UTC)
        assert abs(wait - (86400 - (now.hour * 60 + now.minute) * 60 - now.second)) < 30
        fields = last.all("ratelimit-policy") + last.all("ratelimit")
        assert [field.partition(";")[0] for field in fields] == ['"consumer-day"'] * 2
        return sum(answer.status == 200 for answer in answers)

    with Gateway(config) as gateway:
        assert (admitted(gateway, "ann"), admitted(gateway, "vip")) == (4, 6)
    with Gateway(config) as gateway:
        assert gateway.get("/api/echo/x", bearer(token(sub="ann"))).status == 429
    month = "portico:limit:gateway:0:consumer:month:{ann}"
    assert store.client.get(month).split()[0] == "4", "refused requests do not count"


def test_a_client_cannot_make_the_key_of_another(store: RedisProcess, backend: Backend) -> None:
    policies = {"rate_limit": {"requests_per_minute": 1, "burst": 1, "by": {"header": "U"}}}
    names = ["a", "", "%", "a}", "{a}", "a}:rate:{b", "#", "x" * 65, "x" * 66, "a b", "a%20b", "é"]
    with Gateway(shared(store.url, backend, policies)) as gateway:
        for name in names:
            assert gateway.get("/api/echo/x", f"U: {name}").status == 200, name
            assert gateway.get("/api/echo/x", f"U: {name}").status == 429, name
    keys = store.limit_keys()
    assert len(keys) == len(names)
    assert all(key.count("{") == key.count("}") == 1 and len(key) < 120 for key in keys)


def test_another_redis_from_the_next_reload_on(store: RedisProcess, backend: Backend) -> None:
    limit = {"rate_limit": {"requests_per_minute": 0.1, "burst": 2}}
    with RedisProcess() as other, Gateway(shared(store.url, backend, limit)) as gateway:
        assert [gateway.get("/api/echo/x").status for _ in range(3)] == [200, 200, 429]
        gateway.write(shared(other.url, backend, limit))
        gateway.signal(signal.SIGHUP)
        until(lambda: gateway.get("/api/echo/x").status == 200)
        assert len(store.limit_keys()) == len(other.limit_keys()) == 1


UNBUILT = """
    from pathlib import Path
    from portico.net.tls.certificates import CertificateError
    from portico.net.redis import asking
    from portico.snapshot.builder import SnapshotBuilder
    asking._LAST_QUESTION = 0.1
    own = SnapshotBuilder._own_endpoints
    def own_rules(self, *what):
        try:
            once()
        except RuntimeError as error:
            raise CertificateError(Path("ca.pem"), "injected") from error
        return own(self, *what)
    SnapshotBuilder._own_endpoints = own_rules
"""
"""A snapshot that cannot be built for want of a file, which was there when control looked."""


def visitors(store: RedisProcess) -> set[str]:
    """Connections of others."""
    own = store.client.client_id()
    return {each["id"] for each in store.client.client_list() if int(each["id"]) != own}


def test_a_configuration_that_is_not_taken_over_leaves_the_redis_alone_that_counts(
    store: RedisProcess, backend: Backend, tmp_path: Path
) -> None:
    fault = Fault(tmp_path, UNBUILT)
    limit = {"rate_limit": {"requests_per_minute": 0.1, "burst": 1000}}
    with RedisProcess() as other, Gateway(shared(store.url, backend, limit), env=fault.env) as gateway:
        gateway.wait_for_control()
        assert gateway.get("/api/echo/x").status == 200
        (link,) = until(lambda: visitors(store))
        fault.inject()
        gateway.write(shared(other.url, backend, limit))
        answer = ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost")
        assert (answer.status, "injected" in answer.json()["detail"]) == (500, True)
        until(lambda: not visitors(other), "the other Redis is left")
        assert all(gateway.get("/api/echo/x").status == 200 for _ in range(100))
        assert visitors(store) == {link}
        assert not other.limit_keys()

        assert ask(gateway.admin_port, "POST", "/admin/reload", "Host: localhost").status == 200
        assert gateway.get("/api/echo/x").status == 200
        assert len(other.limit_keys()) == 1
        until(lambda: not visitors(store), "the first one is left when nobody asks it any more")
        assert total(gateway, "gateway_limit_fallbacks_total") == 0
        gateway.clean = False


# ---- not there


def _killed(store: RedisProcess, way: SlowWay) -> Callable[[], None]:
    store.kill()
    return store.start


def _stopped(store: RedisProcess, way: SlowWay) -> Callable[[], None]:
    store.pause()
    return store.resume


def _slow(store: RedisProcess, way: SlowWay) -> Callable[[], None]:
    way.delay = 0.5
    return lambda: setattr(way, "delay", 0.0)


def test_no_request_fails_whatever_becomes_of_redis(store: RedisProcess, backend: Backend) -> None:
    with SlowWay(store.port) as way:
        url = f"redis://127.0.0.1:{way.port}"
        config = shared(url, backend, {"rate_limit": _PLENTY}, workers=2, redis_timeout="100ms")
        with Gateway(config) as gateway, Crowd(gateway.port, "/api/echo/x") as crowd:
            for broken in (_killed, _stopped, _slow):
                until(lambda: total(gateway, "gateway_redis_up") == 1, f"before {broken.__name__}")
                before = total(gateway, "gateway_limit_fallbacks_total")
                mend = broken(store, way)
                until(lambda: total(gateway, "gateway_redis_up") == 0, f"{broken.__name__} is seen")
                until(
                    lambda before=before: total(gateway, "gateway_limit_fallbacks_total") > before,  # type: ignore[misc]
                    f"{broken.__name__}: decided without Redis",
                )
                mend()
                until(lambda: total(gateway, "gateway_redis_up") == 1, f"recovers from {broken.__name__}")
                store.client.flushall()
                until(store.limit_keys, "counted in Redis again")
            store.client.script_flush()
            seen = crowd.statuses.total()
            until(lambda: crowd.statuses.total() > seen + 100, "it goes on after the scripts are gone")
            assert total(gateway, "gateway_redis_up") == 1
            reported = [event["event"] for event in gateway.events() if event["event"].startswith("Redis ")]
            assert 6 <= len(reported) < 100, "once a change, not once a request"
        assert set(crowd.statuses) == {200}


def test_what_holds_without_redis(store: RedisProcess, backend: Backend) -> None:
    store.kill()
    expected = {"local": [200, 200, 429], "allow": [200] * 3, "deny": [503] * 3}
    limits = {
        fallback: {"rate_limit": {"requests_per_minute": 1, "burst": 2, "fallback": fallback}} for fallback in expected
    }
    config = shared(store.url, backend, {})
    config["services"] = {
        name: {"url": backend.url, "health_check": False, "policies": policies} for name, policies in limits.items()
    }
    with Gateway(config) as gateway:
        for name, statuses in expected.items():
            answers = [gateway.get(f"/api/{name}/x") for _ in range(3)]
            assert [answer.status for answer in answers] == statuses
        assert answers[0].json()["reason"] == "limits_unavailable"
        assert answers[0].get("retry-after") == "1"
        assert total(gateway, "gateway_limit_fallbacks_total") == 9
        warnings = [event["event"] for event in gateway.events() if event["level"] == "WARNING"]
        assert warnings == ["Redis does not serve limits: each goes by its fallback"]
