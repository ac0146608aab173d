"""Plays a scenario: its peers are measured in turn, so that what drifts in the machine hits them all alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.address import Address
from benchmarks.allowance import allowance
from benchmarks.backend import backend
from benchmarks.duties import NotItsJob, check_duties
from benchmarks.load import LoadError
from benchmarks.loads.wrk import Wrk
from benchmarks.peer import CACHE, SHARED, TLS, Peer
from benchmarks.readiness import ask, wait_until_ready
from benchmarks.redis import redis
from benchmarks.result import Result, Row
from benchmarks.sample import Sample
from benchmarks.scenarios import Scenario, Variant
from support import cores
from support.process import DidNotStart, Process, free_port
from support.process_tree import forget_peaks, members, usage
from support.server import Server
from support.site import Site


@dataclass(frozen=True)
class _Gateway:
    row: Row
    address: Address
    pid: int
    directory: Path


def play(scenario: Scenario, peers: Sequence[Peer], rounds: int, seconds: float) -> Result:
    """Starts the backend and the peers, measures them round by round and stops them all."""
    result = Result(scenario, rounds, seconds)
    games = [[number] for number in range(rounds)] if scenario.fresh else [range(rounds)]
    for game in games:
        _play(result, peers, game)
    return result


def _play(result: Result, peers: Sequence[Peer], rounds: Iterable[int]) -> None:
    with ExitStack() as stack:
        service = stack.enter_context(backend(_directory(stack), result.scenario.stack))
        gateways = _start(stack, result, peers, service)
        if result.scenario.direct:
            gateways.append(_direct(stack, result.scenario, service))
        if result.scenario.share:
            _hold_back(stack, result, gateways)
        for number in rounds:
            for gateway in _rotated(gateways, number):
                _take_turn(result, gateway, number)


def _start(stack: ExitStack, result: Result, peers: Sequence[Peer], service: Server) -> list[_Gateway]:
    """All at once, which takes as long as the slowest; those that do their job are in the list."""
    started: list[tuple[Row, Peer, Site, Process]] = []
    store = stack.enter_context(redis()) if result.scenario.stack in (CACHE, SHARED) else ""
    for variant in result.scenario.variants:
        for peer in peers:
            known = next((each[2:] for each in started if each[1] is peer), None)
            if known is None or not result.scenario.one_gateway:
                site = Site(free_port(), service.port, _directory(stack), variant.workers, variant.routes, store)
                known = site, _launched(stack, peer, site)
            started.append((_row(peer, variant), peer, *known))
    stack.callback(_ask_to_stop, [process for *_, process in started])
    gateways = []
    for row, peer, site, process in started:
        address, request = Address(site.port, peer.stack == TLS), row.load.request
        try:
            wait_until_ready(process, address, peer.ready)
            check_duties(peer, address, site.directory, request, ask(Address(service.port), request))
        except DidNotStart as failure:
            _give_up(result, row, f"did not start: {failure}")
        except NotItsJob as failure:
            _give_up(result, row, f"does not do its job: {failure}")
        else:
            gateways.append(_Gateway(row, address, process.pid, site.directory))
    return gateways


def _hold_back(stack: ExitStack, result: Result, gateways: Sequence[_Gateway]) -> None:
    """Has every process of the gateways run on a part of a core, or none, where one cannot be held to that."""
    with suppress(OSError), ExitStack() as allowances:
        for gateway in gateways:
            for pid, _ in members(gateway.pid):
                allowances.enter_context(allowance(pid, result.scenario.share))
        stack.push(allowances.pop_all())
        result.share = result.scenario.share


def _row(peer: Peer, variant: Variant) -> Row:
    label = f"{peer.label}, {variant.name}" if variant.name else peer.label
    load = variant.load
    if peer.slow and isinstance(load, Wrk):
        load = replace(load, connections=1)
    return Row(peer.name, label, variant, load, peer.slow)


def _launched(stack: ExitStack, peer: Peer, site: Site) -> Process:
    process = Process(*peer.configure(site), directory=site.directory, cores=cores.for_gateway(site.workers))
    stack.callback(process.end)
    process.launch()
    return process


def _ask_to_stop(processes: Iterable[Process]) -> None:
    """Lets several end at the same time; `end` then finds them gone."""
    for process in processes:
        process.running.terminate()


def _direct(stack: ExitStack, scenario: Scenario, service: Server) -> _Gateway:
    variant = scenario.variants[0]
    row = Row("direct", "direct", variant, variant.load)
    return _Gateway(row, Address(service.port), service.pid, _directory(stack))


def _take_turn(result: Result, gateway: _Gateway, number: int) -> None:
    row, scenario = gateway.row, result.scenario
    if row in result.unusable or (row.slow and number > 0):
        return
    try:
        if number == 0 and not scenario.fresh:
            row.load.run(gateway.address, scenario.warm_up, gateway.directory)
        sample = _measure(gateway, result.seconds)
    except LoadError as failure:
        _give_up(result, row, f"could not be measured: {failure}")
        return
    result.samples.setdefault(row, []).append(sample)
    _say(f"{scenario.name:14} {row.label:24} {_figures(scenario, sample)}")


def _measure(gateway: _Gateway, seconds: float) -> Sample:
    load_cores = cores.LOAD
    forget_peaks(gateway.pid)
    before, idle, began = usage(gateway.pid), cores.idle_seconds(load_cores), time.monotonic()
    outcome = gateway.row.load.run(gateway.address, seconds, gateway.directory)
    elapsed, idle = time.monotonic() - began, cores.idle_seconds(load_cores) - idle
    after = usage(gateway.pid)
    if not outcome.requests:
        raise LoadError("not one request was answered")
    return Sample(
        outcome=outcome,
        cpu=after.cpu - before.cpu,
        busiest=max(cpu - before.of_each.get(process, 0.0) for process, cpu in after.of_each.items()),
        resident=after.resident,
        growth=max(0, after.peak - before.resident),
        load_busy=min(1.0, max(0.0, 1 - idle / elapsed / len(load_cores))),
    )


def _figures(scenario: Scenario, sample: Sample) -> str:
    return "  ".join(f"{metric.form.format(metric.value(sample)):>9} {metric.title}" for metric in scenario.columns[:2])


def _rotated(gateways: list[_Gateway], by: int) -> list[_Gateway]:
    by %= max(1, len(gateways))
    return gateways[by:] + gateways[:by]


def _directory(stack: ExitStack) -> Path:
    return Path(stack.enter_context(TemporaryDirectory(prefix="portico-bench-")))


def _give_up(result: Result, row: Row, reason: str) -> None:
    result.unusable[row] = reason
    _say(f"{result.scenario.name}: {row.label} {reason}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
