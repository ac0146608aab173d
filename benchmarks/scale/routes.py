"""Thousands of routes: checked, started with, told apart by a header, replaced and gone again."""

from __future__ import annotations

import gc
from typing import Any, Final

from benchmarks.scale.build import Build, Subject
from benchmarks.scale.busy import busiest, worked
from benchmarks.scale.clients import Client, request, spread
from benchmarks.scale.instances import ask, run
from benchmarks.scale.row import Figure, Measured, Row
from support.instance_process import InstanceProcess
from support.proc import children, resident

_MANY: Final = 50_000
_SOME: Final = 10_000
_FEW: Final = 10
_RULES: Final = 4000
_REQUESTS: Final = 6000
_SLOW: Final = 600
_MIB: Final = 1 << 20


def _routes(count: int, number: int = 0) -> dict[str, Any]:
    service = {"url": "http://127.0.0.1:9", "health_check": False}
    routes = [{"service": "s", "path": f"/r{number}/{n}"} for n in range(count)]
    return {"services": {"s": service}, "routes": routes}


def _checked(build: Build) -> Measured:
    """`portico check` by its own CPU time; a start by that of the supervisor and the busiest of its children."""
    gateway = Subject(build, _routes(_MANY))
    gc.freeze()
    checked = run(build, "check", "--config", gateway.file)
    with gateway:
        return {"check": checked, "start": worked(gateway.pid) + busiest(children(gateway.pid))}


def _by_header(build: Build) -> Measured:
    """The worker's CPU per request: with rules that differ in the value of a header, and with one that all fit.

    The requests are the same.
    """
    with InstanceProcess() as service:
        one, all_of_them = (_asked(build, service.port, rules) for rules in (1, _RULES))
        return {"one": one, "all": all_of_them, "all ÷ one": all_of_them / one}


def _asked(build: Build, port: int, rules: int) -> float:
    service = {"url": f"http://127.0.0.1:{port}", "health_check": False}
    conditions = [{"X-Kind": "all"}] if rules == 1 else [{"X-Tenant": f"t{n}"} for n in range(rules)]
    routes = [{"service": "s", "path": "/tenants", "headers": each} for each in conditions]
    with Subject(build, {"services": {"s": service}, "routes": routes}) as gateway, Client(gateway.port) as client:
        (worker,) = gateway.workers()
        requests = [
            request(f"/tenants/small/{n}", "X-Kind: all", f"X-Tenant: t{tenant}")
            for n, tenant in enumerate(spread(range(_RULES), _REQUESTS))
        ]
        assert client.ask("/tenants/small/x", "X-Kind: all", "X-Tenant: t0") == 200
        client.ask_all(requests[:_SLOW])
        before = worked(worker)
        sent = client.ask_all(requests[_SLOW : 2 * _SLOW])
        if worked(worker) - before < 1:  # more, where they do not take for ever
            sent += client.ask_all(requests[2 * _SLOW :])
        return (worked(worker) - before) / sent * 1e6


def _kept(build: Build) -> Measured:
    """A worker's resident memory: started, after nine reloads that replace all, and with a few routes again."""
    with Subject(build, _routes(_SOME)) as gateway:
        (worker,) = gateway.workers()
        sizes = [resident(worker)]
        for number in range(1, 10):
            _reload(gateway, _routes(_SOME, number))
        sizes.append(resident(worker))
        _reload(gateway, _routes(_FEW))
        sizes.append(resident(worker))
    with Subject(build, _routes(_FEW)) as gateway:
        least = resident(gateway.workers()[0])
    started, reloaded, back = (size / _MIB for size in sizes)
    return {
        "started": started,
        "after nine reloads": reloaded,
        "after nine reloads ÷ started": reloaded / started,
        "back at ten routes": back,
        "above one that never had more": back - least / _MIB,
    }


def _reload(gateway: Subject, config: dict[str, Any]) -> None:
    gateway.write(config)
    status, _ = ask(gateway.admin_port, "POST", "/admin/reload")
    assert status == 200, f"a reload was answered {status}"


ROWS: Final = (
    Row(f"{_MANY:,} routes", (Figure("check", "s of CPU", 3), Figure("start", "s of CPU", 4)), _checked),
    Row(
        f"{_RULES:,} rules that differ by a header on one path",
        (Figure("one", "µs a request"), Figure("all", "µs a request"), Figure("all ÷ one", "", 1.2)),
        _by_header,
    ),
    Row(
        f"a worker with {_SOME:,} routes",
        (
            Figure("started", "MiB"),
            Figure("after nine reloads", "MiB"),
            Figure("after nine reloads ÷ started", "", 1.2),
            Figure("back at ten routes", "MiB"),
            Figure("above one that never had more", "MiB", 30),
        ),
        _kept,
    ),
)
