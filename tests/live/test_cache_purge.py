"""Purging: from the admin API, the command and clients, in every worker and every gateway."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from support.backend import Backend, Connection
from support.client import ask
from support.messages import Message
from support.portico import run_portico
from support.redis_process import RedisProcess
from support.tokens import SECRET, bearer, token
from support.world import Gateway, until

FRESH = "Cache-Control: max-age=600, stale-while-revalidate=600"
LANGUAGES = ("de", "en", "fr")


class Service(Backend):
    """Numbers its answers, by target; `/slow…` waits until it may answer."""

    def __init__(self) -> None:
        super().__init__(self._script)
        self.counts: Counter[str] = Counter()
        self.may_answer = threading.Event()

    def _script(self, connection: Connection) -> None:
        while (request := connection.next_request()) is not None:
            with self.lock:
                self.counts[request.target] += 1
                number = self.counts[request.target]
            if request.target.startswith("/slow"):
                self.may_answer.wait(20)
            lines = [FRESH, "Vary: Accept-Language", 'Cache-Tag: all-of-it, "x"', f"Surrogate-Key: {request.target}"]
            connection.answer(f"{request.method} {number}".encode(), "200 OK", *lines, 'Cache-Groups: "g"')


def routes() -> list[dict[str, Any]]:
    auth = {"jwt": {"secret": SECRET}}
    policies: dict[str, dict[str, Any]] = {
        "net": {"cache": {"purge": {"networks": ["127.0.0.0/8"]}}},
        "far": {"cache": {"purge": {"networks": ["192.0.2.0/24"]}}},
        "ops": {"cache": {"purge": {"consumers": ["ops"]}}, "auth": auth},
        "any": {"cache": {"purge": True}, "auth": auth},
        "off": {"cache": True},
    }
    return [{"name": name, "path": f"/{name}", "service": "s", "policies": each} for name, each in policies.items()]


def config(service: Backend, **gateway: Any) -> dict[str, Any]:
    other = {"url": service.url, "health_check": False, "policies": {"cache": {"key": {"query": ["id"]}}}}
    return {
        "gateway": gateway,
        "services": {"s": service, "t": other},
        "policies": {"cache": True, "rate_limit": False},
        "routes": [*routes(), {"name": "few", "path": "/few", "methods": ["GET"], "service": "s", "policies": NET}],
    }


NET = {"cache": {"purge": {"networks": ["127.0.0.0/8"]}}}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as own:
        yield own
        assert not own.errors, own.errors


@pytest.fixture(scope="module")
def gateway(service: Service) -> Iterator[Gateway]:
    """Two workers."""
    with Gateway(config(service, workers=2)) as own:
        own.wait_for_control()
        until(lambda: len(admin(own, "GET", "/admin/cache/stats")["workers"]) == 2, "both workers are connected")
        yield own


@pytest.fixture(autouse=True)
def nothing_stored(gateway: Gateway, service: Service) -> None:
    admin(gateway, "POST", "/admin/cache/purge", all=True)
    service.may_answer.clear()
    with service.lock:
        service.counts.clear()


def admin(gateway: Gateway, method: str, path: str, status: int = 200, **document: Any) -> Any:
    body = json.dumps(document).encode() if document else None
    answer = ask(gateway.admin_port, method, path, "Host: localhost", body=body)
    assert answer.status == status, answer.body
    return answer.json()


def command(gateway: Gateway, *arguments: str, code: int = 0) -> str:
    done = run_portico("cache", *arguments, "--admin", f"127.0.0.1:{gateway.admin_port}")
    assert done.returncode == code, (done.stdout, done.stderr)
    return str(done.stdout)


def shown(gateway: Gateway, url: str) -> list[dict[str, Any]]:
    """What each worker has."""
    workers: list[dict[str, Any]] = admin(gateway, "GET", f"/admin/cache/show?url={url}")["workers"]
    return workers


def fill(gateway: Gateway, target: str, *lines: str) -> None:
    """Have every worker store it: each new connection may be another worker's."""

    def is_everywhere() -> bool:
        assert gateway.get(target, *lines).status == 200
        workers = shown(gateway, f"http://gateway.test{target}")
        return len(workers) == 2 and all(len(worker["keys"]) == 1 for worker in workers)

    until(is_everywhere, f"every worker has {target}")


def asked(service: Service, target: str) -> int:
    with service.lock:
        return service.counts[target]


def everywhere(gateway: Gateway, target: str, *lines: str) -> list[Message]:
    """The answers of both workers, as far as sixteen connections meet both."""
    return [gateway.get(target, *lines) for _ in range(16)]


def cached(answer: Message) -> str:
    return str(answer.get("cache-status"))


# ---- everything of a URL (C07)


def test_purging_a_url_means_all_of_it(gateway: Gateway, service: Service) -> None:
    for language in LANGUAGES:
        fill(gateway, "/api/s/x", f"Accept-Language: {language}")
    for neighbour in ("/api/s/x?y", "/api/s/x/"):
        fill(gateway, neighbour)
    until(lambda: all(len(w["keys"][0]["variants"]) == 3 for w in _filled(gateway)), "all have three variants")

    told = command(gateway, "purge", "/api/s/x")
    assert "6 responses are gone, in 2 workers" in told
    before = asked(service, "/x")
    answers = [a for each in LANGUAGES for a in everywhere(gateway, "/api/s/x", f"Accept-Language: {each}")]
    assert all(int(answer.body.split()[1]) > before for answer in answers), "nobody gets what was stored"
    assert gateway.ask("HEAD", "/api/s/x", "Accept-Language: de").status == 200
    for neighbour in ("/api/s/x?y", "/api/s/x/"):
        assert all("; hit" in cached(answer) for answer in everywhere(gateway, neighbour))


def _filled(gateway: Gateway) -> list[dict[str, Any]]:
    with gateway.wire() as wire:
        for language in LANGUAGES:
            assert wire.ask("GET", "/api/s/x", f"Accept-Language: {language}").status == 200
    return shown(gateway, "/api/s/x")


def test_an_answer_that_was_asked_for_before_is_for_nobody_who_comes_later(gateway: Gateway, service: Service) -> None:
    with gateway.wire() as early, gateway.wire() as late:
        early.send(b"GET /api/s/slow HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
        until(lambda: asked(service, "/slow") == 1, "it is under way")
        admin(gateway, "POST", "/admin/cache/purge", url="/api/s/slow")
        late.send(b"GET /api/s/slow HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
        until(lambda: asked(service, "/slow") == 2, "whoever comes later asks anew")
        service.may_answer.set()
        assert {early.receive().body, late.receive().body} == {b"GET 1", b"GET 2"}
    answers = everywhere(gateway, "/api/s/slow")
    assert b"GET 1" not in {answer.body for answer in answers}, "it is not stored"


def test_a_soft_purge_turns_it_stale(gateway: Gateway, service: Service) -> None:
    fill(gateway, "/api/s/soft")
    before = asked(service, "/soft")
    assert "2 responses are stale now" in command(gateway, "purge", "/api/s/soft", "--soft")
    key = shown(gateway, "/api/s/soft")[0]["keys"][0]
    assert (key["served"], key["why"]) == (True, "it is stale, and fetched anew meanwhile (stale-while-revalidate)")
    answer = gateway.get("/api/s/soft")
    assert "; hit; ttl=-" in cached(answer), "it is served stale"
    until(lambda: asked(service, "/soft") > before, "and fetched anew")


@pytest.mark.parametrize(
    ("wanted", "taken", "left"),
    [
        ({"prefix": "/api/s/p"}, ["/api/s/p", "/api/s/p/q"], ["/api/s/pq"]),
        ({"prefix": "/api/s/p*"}, ["/api/s/p", "/api/s/pq"], ["/api/s/q"]),
        ({"tag": "/tagged"}, ["/api/s/tagged"], ["/api/s/other"]),
        ({"tag": "all-of-it"}, ["/api/s/tagged", "/api/t/tagged"], []),
        ({"group": "g", "origin": "http://gateway.test"}, ["/api/s/tagged"], []),
        ({"group": "g", "origin": "https://gateway.test"}, [], ["/api/s/tagged"]),
        ({"service": "t"}, ["/api/t/a"], ["/api/s/a"]),
        ({"all": True}, ["/api/t/a", "/api/s/a"], []),
        ({"url": ["/api/t/q?a=1&id=3", "/api/s/a"]}, ["/api/t/q?id=3&b=2", "/api/s/a"], ["/api/t/q?id=4"]),
        ({"url": "//other.test/api/s/a"}, [], ["/api/s/a"]),
        ({"url": "http://gateway.test/api/s/a"}, ["/api/s/a"], []),
    ],
)
def test_what_else_can_be_named(gateway: Gateway, wanted: dict[str, Any], taken: list[str], left: list[str]) -> None:
    for target in (*taken, *left):
        assert gateway.get(target).status == 200
    purged = admin(gateway, "POST", "/admin/cache/purge", **wanted)
    assert (purged["entries"], purged["workers"], purged["late"]) == (len(taken), 2, 0)
    assert [target for target in taken if "; hit" in cached(gateway.get(target))] == []
    for target in left:
        assert any("; hit" in cached(answer) for answer in everywhere(gateway, target))


def test_purging_what_is_not_there_is_no_error(gateway: Gateway) -> None:
    assert "nothing of it was in memory, in 2 workers" in command(gateway, "purge", "/nowhere", "--tag", "none")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "name what is to go"),
        ({"url": "x"}, "expected a path"),
        ({"urls": "/x"}, "unknown field"),
        ({"url": 5}, "Expected"),
        ({"service": "tt"}, "there is no service tt"),
        ({"prefix": "/x?y"}, "/x?y*"),
    ],
)
def test_what_is_meant_has_to_be_clear(gateway: Gateway, document: dict[str, Any], words: str) -> None:
    answer = ask(
        gateway.admin_port, "POST", "/admin/cache/purge", "Host: localhost", body=json.dumps(document).encode()
    )
    assert answer.status == 422
    assert words in answer.json()["detail"]


def test_wrong_usage_of_the_command(gateway: Gateway) -> None:
    command(gateway, "purge", code=2)
    command(gateway, "purge", "news", code=2)
    command(gateway, "show", "/x#y", code=2)
    assert run_portico("cache", "stats", "--admin", "127.0.0.1:1").returncode == 1


# ---- a change


def test_what_a_change_invalidates_every_worker_forgets(gateway: Gateway, service: Service) -> None:
    fill(gateway, "/api/s/doc")
    assert gateway.ask("POST", "/api/s/doc", body=b"x").status == 200
    before = asked(service, "/doc")
    until(lambda: not any(worker["keys"] for worker in shown(gateway, "/api/s/doc")), "no worker has it")
    assert asked(service, "/doc") == before


# ---- PURGE


def purge(gateway: Gateway, target: str, *lines: str) -> Message:
    return gateway.ask("PURGE", target, *lines)


def test_a_client_that_may_purges_everywhere(gateway: Gateway, service: Service) -> None:
    fill(gateway, "/net/x")
    before = asked(service, "/x")
    answer = purge(gateway, "/net/x")
    assert (answer.status, answer.json()) == (
        200,
        {"purged": "//gateway.test/net/x", "soft": False, "entries": 2, "everywhere": True},
    )
    assert asked(service, "/x") == before, "the service sees nothing of it"
    assert not any(worker["keys"] for worker in shown(gateway, "/net/x"))
    assert purge(gateway, "/net/x", "Cache-Purge: soft").json()["entries"] == 0
    assert purge(gateway, "/few/x").status == 200, "a route that takes GET alone takes it, too"
    assert gateway.ask("DELETE", "/few/x").status == 405


def test_a_client_purges_softly(gateway: Gateway) -> None:
    fill(gateway, "/net/soft")
    assert purge(gateway, "/net/soft", "Cache-Purge: soft").json()["soft"] is True
    assert all(not worker["keys"][0]["variants"][0]["fresh_for"] > 0 for worker in shown(gateway, "/net/soft"))


def test_a_client_that_may_not(gateway: Gateway, service: Service) -> None:
    signed_in, ops = bearer(token()), bearer(token(sub="ops"))
    for target, lines, status in (
        ("/far/x", (), 403),
        ("/ops/x", (), 401),
        ("/ops/x", (signed_in,), 403),
        ("/ops/x", (ops,), 200),
        ("/any/x", (), 401),
        ("/any/x", (signed_in,), 200),
    ):
        assert purge(gateway, target, *lines).status == status, (target, lines)
    assert purge(gateway, "/far/x").json()["reason"] == "purge_refused"
    assert asked(service, "/x") == 0


def test_without_the_setting_the_service_gets_it(gateway: Gateway, service: Service) -> None:
    assert purge(gateway, "/off/x").body == b"PURGE 1"
    assert purge(gateway, "/api/s/x").body == b"PURGE 2"


# ---- looking into it


def test_what_is_stored_is_shown(gateway: Gateway) -> None:
    fill(gateway, "/api/s/look", "Accept-Language: de")
    worker = shown(gateway, "/api/s/look&header=Accept-Language:%20de")[0]
    (key,) = worker["keys"]
    assert (key["url"], key["service"], key["served"], key["why"]) == (
        "http://gateway.test/api/s/look", "s", True, "it is fresh"
    )  # fmt: skip
    (variant,) = key["variants"]
    assert variant["vary"] == {"accept-language": "de"}
    assert 0 < variant["fresh_for"] <= 600
    assert {"tag:all-of-it", "tag:/look", "group:g"} < set(variant["tags"])
    other = shown(gateway, "/api/s/look&header=Accept-Language:%20fr")[0]["keys"][0]
    assert (other["served"], other["why"]) == (False, "no variant was stored for such a request: see what they vary on")

    assert gateway.get("/api/t/q?id=3&a=1").status == 200
    assert sum(len(worker["keys"]) for worker in shown(gateway, "/api/t/q%3Fb=2%26id=3")) == 1, "it has the same key"

    told = command(gateway, "show", "/api/s/look", "-H", "Accept-Language: de")
    assert "would be served: it is fresh" in told
    assert "accept-language: de" in told
    assert "nothing is stored for /nothing" in command(gateway, "show", "/nothing")
    assert shown(gateway, "/none")[0]["notes"] == ["no route takes such a request"]
    assert shown(gateway, "/api/s/x&method=POST")[0]["notes"] == ["the cache of s stores no response to POST"]


def test_uses_are_counted(gateway: Gateway) -> None:
    before = admin(gateway, "GET", "/admin/cache/stats")
    fill(gateway, "/api/t/counted")
    with gateway.wire() as wire:
        for _ in range(3):
            wire.ask("GET", "/api/t/counted")
    stats = admin(gateway, "GET", "/admin/cache/stats")
    assert stats["entries"] == 2
    assert stats["bytes"] > 0
    assert stats["misses"] - before["misses"] == 2
    assert stats["hits"] - before["hits"] >= 3
    assert {each["name"] for each in stats["services"]} == {"s", "t"}
    assert sum(worker["hits"] for worker in stats["workers"]) == stats["hits"]
    told = command(gateway, "stats")
    assert "together" in told
    assert json.loads(command(gateway, "stats", "--json"))["entries"] == 2


# ---- two gateways


def shares_purges(gateway: Gateway) -> bool:
    return bool(admin(gateway, "GET", "/admin/cache/stats")["redis"]["up"])


def test_other_gateways_with_the_same_redis_purge_too(service: Service) -> None:
    with RedisProcess() as store:
        shared = config(service, redis_url=store.url)
        with Gateway(shared) as one, Gateway(shared) as other:
            for each in (one, other):
                each.wait_for_control()
                until(partial(shares_purges, each), "both share purges")
                assert each.get("/api/s/shared").status == 200
                assert each.get("/api/s/shared?kept").status == 200
            purged = admin(one, "POST", "/admin/cache/purge", url="/api/s/shared")
            assert (purged["entries"], purged["shared"]) == (1, True)
            until(lambda: not shown(other, "/api/s/shared")[0]["keys"], "the other one has purged it")
            assert "; hit" in cached(other.get("/api/s/shared?kept"))

            assert other.ask("POST", "/api/s/shared?kept", body=b"").status == 200
            until(lambda: not shown(one, "/api/s/shared?kept")[0]["keys"], "a change at one is a change at all")


def test_what_is_in_redis_is_purged_at_once_for_all_gateways(service: Service) -> None:
    with RedisProcess() as store:
        shared = {
            **config(service, redis_url=store.url),
            "policies": {"cache": {"store": "redis"}, "rate_limit": False},
        }
        with Gateway(shared) as one, Gateway(shared) as other:
            for each in (one, other):
                each.wait_for_control()
                until(partial(shares_purges, each), "both share purges")
            shop = ("Host: shop.test",)
            for target in ("/api/s/shared", "/api/s/soft", "/api/s/kept"):
                until(partial(is_hit, one, target, *shop), "it is in Redis")
                until(partial(is_hit, other, target, *shop), "the other one finds it there")
            command(one, "purge", "http://shop.test/api/s/shared")
            command(one, "purge", "http://shop.test/api/s/soft", "--soft")
            assert "; hit" not in cached(one.get("/api/s/shared", *shop))
            until(
                lambda: shown(other, "http://shop.test/api/s/soft")[0]["keys"][0]["variants"][0]["fresh_for"] <= 0, ""
            )
            (key,) = shown(other, "http://shop.test/api/s/kept")[0]["keys"]
            assert (key["store"], key["served"]) == ("redis", True)
            assert "; hit" in cached(other.get("/api/s/kept", *shop))
            assert "; hit; ttl=-" in cached(other.get("/api/s/soft", *shop))
            stats = admin(one, "GET", "/admin/cache/stats")
            assert (stats["entries"], stats["redis"]["stored"]["entries"] >= 3) == (0, True)
            assert "in Redis, of all gateways" in command(one, "stats")

            with one.wire() as early:
                early.send(b"GET /api/s/slow HTTP/1.1\r\nHost: shop.test\r\n\r\n")
                until(lambda: asked(service, "/slow") == 1, "it is under way")
                admin(one, "POST", "/admin/cache/purge", url="/api/s/slow")
                service.may_answer.set()
                assert early.receive().body == b"GET 1"
            assert other.get("/api/s/slow", *shop).body == b"GET 2", "the first one is stored nowhere"


def is_hit(gateway: Gateway, target: str, *lines: str) -> bool:
    return "; hit" in cached(gateway.get(target, *lines))


def test_while_the_control_process_is_away_other_workers_learn_of_it_later(service: Service) -> None:
    with Gateway(config(service, workers=2)) as gateway:
        gateway.wait_for_control()
        fill(gateway, "/net/later")
        os.kill(gateway.control(), signal.SIGKILL)
        answer = purge(gateway, "/net/later")
        assert (answer.status, answer.json()["everywhere"]) == (202, False)
        gateway.wait_for_control()
        until(lambda: not any(worker["keys"] for worker in shown(gateway, "/net/later")), "both workers have purged it")
