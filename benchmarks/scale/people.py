"""Many consumers, and many who come once: what they cost, and whether who has used up a limit stays refused."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.request import SECRET
from benchmarks.scale import many
from benchmarks.scale.build import Build, Subject
from benchmarks.scale.busy import Stalls, busiest, worked
from benchmarks.scale.clients import Client, request
from benchmarks.scale.instances import ask
from benchmarks.scale.row import Figure, Measured, Row
from support.proc import children, resident
from support.tokens import bearer, token

_CONSUMERS: Final = 20_000
_SCOPES: Final = 20
_OTHERS: Final = 150_000
_BURST: Final = 5
_MIB: Final = 1 << 20


def _consumers(rate: int) -> dict[str, Any]:
    """Services that each count every consumer, whose limit is one of its own."""
    limit = {"by": "consumer", "requests_per_minute": 60}
    policies = {"auth": {"jwt": {"secret": SECRET}}, "rate_limit": limit}
    service = {"url": "http://127.0.0.1:9", "health_check": False, "policies": policies}
    consumers = [
        {"name": f"user{number}", "rate_limit": {"requests_per_minute": rate + number % 7}}
        for number in range(_CONSUMERS)
    ]
    return {"services": {f"s{number}": service for number in range(_SCOPES)}, "consumers": consumers}


def _kept(build: Build) -> Measured:
    """Ready by the CPU time of the supervisor and the busiest of its children; then a reload that changes every limit.

    The memory is a worker's, resident. A consumer asks before and after: it is known, and its service is down.
    """
    with Subject(build, _consumers(100)) as gateway:
        ready = worked(gateway.pid) + busiest(children(gateway.pid))
        (worker,) = gateway.workers()
        _known(gateway)
        before = resident(worker) / _MIB
        gateway.write(_consumers(200))
        with Stalls(gateway.port, worker) as stalls:
            status, _ = ask(gateway.admin_port, "POST", "/admin/reload")
        assert status == 200, f"the reload was answered {status}"
        _known(gateway)
        after = resident(worker) / _MIB
        return {"ready": ready, "a worker": before, "after a reload": after, "longest stall at it": stalls.longest}


def _known(gateway: Subject) -> None:
    with Client(gateway.port) as client:
        status = client.ask("/api/s0/x", bearer(token(SECRET, sub=f"user{_CONSUMERS - 1}")))
        assert status in (502, 503), f"a consumer was answered {status}"


def _refused(build: Build) -> Measured:
    """One client uses up its limit, many others come once each, and the first one comes again."""
    limit = {"by": {"header": "X-Client"}, "requests_per_minute": 0.01, "burst": _BURST}
    with many.serving() as port:
        service = {"url": f"http://127.0.0.1:{port}", "health_check": False, "policies": {"rate_limit": limit}}
        with Subject(build, {"services": {"s": service}}) as gateway, Client(gateway.port) as client:
            (worker,) = gateway.workers()
            first = "X-Client: first"
            statuses = [client.ask("/api/s/small/x", first) for _ in range(_BURST + 1)]
            assert statuses == [200] * _BURST + [429], statuses
            before = resident(worker)
            client.ask_all(request("/api/s/small/x", f"X-Client: other{number}") for number in range(_OTHERS))
            grown = (resident(worker) - before) / _MIB
            return {"requests let through": int(client.ask("/api/s/small/x", first) != 429), "a worker grows by": grown}


ROWS: Final = (
    Row(
        f"{_CONSUMERS:,} consumers with limits of their own at {_SCOPES} services",
        (
            Figure("ready", "s of CPU", 3),
            Figure("a worker", "MiB", 120),
            Figure("after a reload", "MiB", 120),
            Figure("longest stall at it", "ms of CPU", 30),
        ),
        _kept,
    ),
    Row(
        f"a client that has used up its limit, after {_OTHERS:,} others",
        (Figure("requests let through", "", 0), Figure("a worker grows by", "MiB")),
        _refused,
    ),
)
