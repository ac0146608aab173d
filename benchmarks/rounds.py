"""Plays a scenario: its peers are measured in turns, so that what drifts in the machine hits them all alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.backend import backend
from benchmarks.children import child, free_port
from benchmarks.cores import GATEWAY
from benchmarks.duties import NotItsJob, check_duties
from benchmarks.load import Load, LoadError
from benchmarks.peer import Peer, Site
from benchmarks.process_tree import usage
from benchmarks.readiness import DidNotStart, ask, wait_until_ready
from benchmarks.scenarios import Scenario

_WARM_UP = 1.0  # seconds


@dataclass(frozen=True)
class Plan:
    """How often and how long (seconds) each peer of a scenario is measured."""

    rounds: int
    seconds: float


@dataclass(frozen=True)
class Sample:
    """One measurement of one peer.

    `cpu` in µs per request, `rate` in requests per second, `p50` and `p99` in ms, `resident` in bytes, `busy` in CPU
    seconds per second, `failed` in requests.
    """

    cpu: float
    rate: float
    p50: float
    p99: float
    resident: float
    busy: float
    failed: int


@dataclass
class Result:
    """What a scenario showed, by the peers' labels; `unusable` holds why a peer has no samples or too few."""

    scenario: Scenario
    peers: Sequence[Peer]
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Gateway:
    peer: Peer
    port: int
    pid: int
    directory: Path


def play(scenario: Scenario, peers: Sequence[Peer], plan: Plan) -> Result:
    """Starts the backend and the peers, measures them round by round and stops them all."""
    result = Result(scenario, peers)
    with ExitStack() as stack:
        port = stack.enter_context(backend(_directory(stack)))
        gateways = _start(stack, result, port)
        for number in range(plan.rounds):
            for gateway in _rotated(gateways, number):
                _take_turn(result, gateway, plan, warm_up=number == 0)
    return result


def _start(stack: ExitStack, result: Result, backend_port: int) -> list[_Gateway]:
    request = result.scenario.load.request
    expected = ask(backend_port, request)
    gateways = []
    for peer in result.peers:
        site = Site(free_port(), backend_port, _directory(stack))
        process = stack.enter_context(child(peer.configure(site), site.directory, GATEWAY))
        try:
            wait_until_ready(process, site.port, peer.ready, site.directory)
            check_duties(peer, site.port, site.directory, request, expected)
        except DidNotStart as failure:
            _give_up(result, peer, f"did not start: {failure}")
        except NotItsJob as failure:
            _give_up(result, peer, f"does not do its job: {failure}")
        else:
            gateways.append(_Gateway(peer, site.port, process.pid, site.directory))
    return gateways


def _take_turn(result: Result, gateway: _Gateway, plan: Plan, warm_up: bool) -> None:
    label, load = gateway.peer.label, result.scenario.load
    if label in result.unusable:
        return
    try:
        if warm_up:
            load.run(gateway.port, _WARM_UP, gateway.directory)
        sample = _measure(load, gateway, plan.seconds)
    except LoadError as failure:
        _give_up(result, gateway.peer, f"could not be measured: {failure}")
        return
    result.samples.setdefault(label, []).append(sample)
    _say(f"{result.scenario.name:14} {label:16} {sample.cpu:9.1f} µs {sample.rate:9.0f} /s")


def _measure(load: Load, gateway: _Gateway, seconds: float) -> Sample:
    began, before = time.monotonic(), usage(gateway.pid)
    outcome = load.run(gateway.port, seconds, gateway.directory)
    after, ended = usage(gateway.pid), time.monotonic()
    if not outcome.requests:
        raise LoadError("not one request was answered")
    used = after.cpu - before.cpu
    return Sample(
        cpu=used / outcome.requests * 1e6,
        rate=outcome.requests / outcome.seconds,
        p50=outcome.p50,
        p99=outcome.p99,
        resident=after.resident,
        busy=used / (ended - began),
        failed=outcome.failed,
    )


def _rotated(gateways: list[_Gateway], by: int) -> list[_Gateway]:
    by %= max(1, len(gateways))
    return gateways[by:] + gateways[:by]


def _directory(stack: ExitStack) -> Path:
    return Path(stack.enter_context(TemporaryDirectory(prefix="portico-bench-")))


def _give_up(result: Result, peer: Peer, reason: str) -> None:
    result.unusable[peer.label] = reason
    _say(f"{result.scenario.name}: {peer.label} {reason}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
