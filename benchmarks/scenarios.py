"""The scenarios: what is asked of the peers of a stack, one row each."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import metrics
from benchmarks.load import Load
from benchmarks.loads.browser import Browser
from benchmarks.loads.crowd import Crowd
from benchmarks.loads.idle import Idle
from benchmarks.loads.messages import Messages
from benchmarks.loads.paced import Paced
from benchmarks.loads.transfer import Transfer
from benchmarks.loads.watched import Watched
from benchmarks.loads.wrk import Wrk
from benchmarks.metrics import Metric
from benchmarks.peer import (
    BULK,
    CACHE,
    CACHED_POLICIES,
    COMPRESS,
    PATTERNS,
    PLAIN,
    POLICIES,
    ROUTES,
    SHARED,
    TLS,
    TOKENS,
    TRACED,
    WATCHED,
    WEBSOCKET,
)
from benchmarks.request import CACHEABLE, EXPORT, MEBIBYTE, REPORT, Request


@dataclass(frozen=True)
class Variant:
    """A load on gateways of one size. A scenario with several plays them in the same rounds, to compare them."""

    load: Load
    name: str = ""
    workers: int = 1
    routes: int = 1


@dataclass(frozen=True)
class Scenario:
    """What the peers of one stack are put through.

    In a default run there are `rounds` of `seconds`, and `only` the peers of these names, all where there are none.
    Before its first measurement a peer is under load for `warm_up` seconds; with `fresh` processes never: each round
    then starts new ones. With `direct` the backend itself is measured too. With a `share`, each process of a gateway
    has that much of a core and no more, where the kernel lets us say so.
    """

    name: str
    title: str
    stack: str
    variants: tuple[Variant, ...]
    columns: tuple[Metric, ...] = metrics.OF_REQUESTS
    rounds: int = 2
    seconds: float = 1
    only: frozenset[str] = frozenset()
    warm_up: float = 1.0
    fresh: bool = False
    direct: bool = False
    share: float = 0.0
    one_gateway: bool = False


def _one(load: Load) -> tuple[Variant, ...]:
    return (Variant(load),)


def _routes(count: int) -> Variant:
    return Variant(Wrk(Request("/items", routes=count)), f"{count:,} routes", routes=count)


def _patterns(count: int) -> Variant:
    title = "1 pattern" if count == 1 else f"{count:,} patterns"
    return Variant(Wrk(Request("/items", routes=count, ids=True)), title, routes=count)


def _tokens(algorithm: str, name: str = "") -> Variant:
    return Variant(Wrk(Request("/items", tokens=algorithm)), name or algorithm)


def _headers(count: int) -> Variant:
    return Variant(Wrk(Request("/items", headers=count)), f"{count} headers")


def _workers(count: int) -> Variant:
    title = "1 worker" if count == 1 else f"{count} workers"
    return Variant(Wrk(Request("/items"), connections=64), title, workers=count)


_GET = Request("/items")
_HIT = Variant(Wrk(Request(CACHEABLE, urls=1_000)), "hit")
_MISS = Variant(Wrk(Request(CACHEABLE)), "miss")
_SEEN = Variant(Wrk(_GET), "seen before")
_COMPRESSING = frozenset({"nginx", "portico", "portico, zstd"})
_BASIC = frozenset({"nginx", "portico"})
_PROXIES = frozenset({"nginx", "haproxy", "portico"})
_MIXED = frozenset({"nginx", "nginx+lua", "haproxy", "envoy", "portico"})
_SERIOUS = frozenset({"nginx", "nginx+lua", "envoy", "portico"})
_PLAIN = frozenset({"nginx", "haproxy", "envoy", "caddy", "portico"})

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("crowd", "small GETs of 500 users, all policies", POLICIES, _one(Crowd()), rounds=6, only=_MIXED),
    Scenario(
        "browser",
        "requests of browsers and libraries, 30 % with a content in a second read, all policies",
        POLICIES,
        _one(Browser()),
        rounds=6,
        only=_MIXED,
    ),
    Scenario("all-policies", "the same small GET over and over, all policies", POLICIES, _one(Wrk(_GET)), rounds=6),
    Scenario(
        "varied",
        "the same with a header that always differs",
        POLICIES,
        _one(Wrk(Request("/items", varied=True))),
        only=frozenset({"nginx+lua", "portico"}),
    ),
    Scenario("redis-limit", "all policies, the limit in memory and in Redis", SHARED, _one(Wrk(_GET)), rounds=5),
    Scenario("traced", "all policies, with spans for OpenTelemetry", TRACED, _one(Wrk(_GET)), rounds=5),
    Scenario(
        "watched",
        "all policies, with a dashboard closed and open",
        WATCHED,
        (Variant(Wrk(_GET), "closed"), Variant(Watched(Wrk(_GET)), "open")),
        metrics.OF_WATCHED,
        rounds=10,
        seconds=2,
        one_gateway=True,
    ),
    Scenario("plain", "small GET, nothing but passing on", PLAIN, _one(Wrk(_GET)), rounds=5),
    Scenario(
        "post",
        "10 KiB POST, all policies",
        POLICIES,
        _one(Wrk(Request("/items", method="POST", body=10 * 1024))),
        only=_SERIOUS,
    ),
    Scenario("download", "1 MiB download", BULK, _one(Wrk(Request(MEBIBYTE))), only=_PROXIES),
    Scenario("gibibyte", "1 GiB download", BULK, _one(Transfer()), metrics.OF_BYTES, warm_up=0.0, only=_PROXIES),
    Scenario("cache", "small GET of 1,000 URLs from a cache, and of new ones", CACHE, (_HIT, _MISS), rounds=5),
    Scenario("cached-policies", "the same from the cache, with all policies", CACHED_POLICIES, (_HIT,), rounds=5),
    Scenario("routes", "many routes", ROUTES, (_routes(10), _routes(1_000), _routes(10_000)), rounds=4, only=_BASIC),
    Scenario(
        "patterns",
        "many patterns, and no path twice",
        PATTERNS,
        (_patterns(1), _patterns(1_000)),
        rounds=4,
        only=_BASIC,
    ),
    Scenario("compress", "64 KiB of JSON, compressed", COMPRESS, _one(Wrk(Request(REPORT))), only=_COMPRESSING),
    Scenario(
        "beside-compression",
        "1,000 requests/s, alone and while 50 MiB are compressed",
        COMPRESS,
        (Variant(Paced(_GET), "alone"), Variant(Paced(_GET, beside=Request(EXPORT)), "beside 50 MiB")),
        metrics.OF_LATENCY,
        rounds=3,
        seconds=2,
        only=frozenset({"portico"}),
    ),
    Scenario(
        "new-tokens",
        "tokens that were never seen before",
        TOKENS,
        (_SEEN, _tokens("HS256"), _tokens("RS256"), _tokens("ES256"), _tokens("EdDSA", "Ed25519")),
    ),
    Scenario(
        "beside-bad-tokens",
        "1,000 requests/s, alone and while others send bad tokens",
        TOKENS,
        (Variant(Paced(_GET), "alone"), Variant(Paced(_GET, flood=True), "beside bad tokens")),
        metrics.OF_LATENCY,
        rounds=3,
        seconds=2,
        only=frozenset({"envoy", "portico"}),
    ),
    Scenario("headers", "many header fields", PLAIN, (_headers(5), _headers(13), _headers(40)), only=_BASIC),
    Scenario(
        "idle",
        "5,000 idle connections",
        PLAIN,
        _one(Idle(_GET)),
        metrics.OF_CONNECTIONS,
        rounds=1,
        only=_PLAIN,
        fresh=True,
    ),
    Scenario(
        "websocket",
        "WebSocket messages, there and back",
        WEBSOCKET,
        _one(Messages(_GET)),
        metrics.OF_MESSAGES,
        only=_PROXIES,
    ),
    Scenario("tls", "small GET over TLS", TLS, _one(Wrk(_GET)), only=_PROXIES),
    Scenario(
        "latency",
        "1,000 requests/s, beside going to the service directly",
        PLAIN,
        _one(Paced(_GET)),
        metrics.OF_LATENCY,
        only=_PLAIN,
        direct=True,
    ),
    Scenario(
        "workers",
        "1 and 2 workers, all policies",
        POLICIES,
        (_workers(1), _workers(2)),
        metrics.OF_WORKERS,
        only=_BASIC,
        share=0.2,
    ),
)
