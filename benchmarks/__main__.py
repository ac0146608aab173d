"""`python -m benchmarks`: measures Portico beside every peer that is installed."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load import missing_generator
from benchmarks.peer import Peer
from benchmarks.peers import PEERS
from benchmarks.readiness import DidNotStart
from benchmarks.report import Report
from benchmarks.rounds import Plan, play
from benchmarks.scenarios import SCENARIOS, Scenario

_RECORD = Path(__file__).with_name("results.md")
_MOST_ROUNDS = 5
_BUDGET = 240.0  # seconds of the default run: five minutes less what starting and stopping take
_OVERHEAD = 0.3  # seconds a measurement takes beyond its length


def main(arguments: Sequence[str]) -> int:
    """Returns 0 if all went well, 1 if a peer could not be measured or the load generator is missing."""
    chosen = _parser().parse_args(arguments)
    if problem := missing_generator():
        print(problem, file=sys.stderr)
        return 1
    wanted = [peer for peer in PEERS if {peer.name, peer.label} & set(chosen.peer)]
    versions = {peer: version for peer in wanted if (version := peer.find())}
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in chosen.scenario]
    games = [(scenario, _players(scenario, list(versions))) for scenario in scenarios]
    seconds = chosen.seconds
    plan = Plan(chosen.rounds or _rounds_in_budget(sum(len(peers) for _, peers in games), seconds), seconds)
    report = Report(
        command=shlex.join(["python", "-m", "benchmarks", *arguments]) if arguments else "make bench",
        plan=plan,
        versions={peer.name: version for peer, version in versions.items()},
        absent=[peer for peer in wanted if peer not in versions],
        results=[play(scenario, peers, plan) for scenario, peers in games],
    )
    print(report.for_terminal())
    if output := chosen.output or (None if _is_partial(arguments) else _RECORD):
        output.write_text(report.as_markdown())
    return int(report.has_failed())


def _parser() -> argparse.ArgumentParser:
    scenarios = [scenario.name for scenario in SCENARIOS]
    peers = sorted({name for peer in PEERS for name in (peer.name, peer.label)})
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, help="rounds per scenario (default: up to 5, within 5 minutes)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one measurement (default: 3)")
    parser.add_argument("--scenario", nargs="+", choices=scenarios, default=scenarios, help="only these")
    parser.add_argument("--peer", nargs="+", choices=peers, default=peers, help="only these")
    parser.add_argument("--output", type=Path, help="where to write the record (default: results.md of a full run)")
    return parser


def _players(scenario: Scenario, peers: Sequence[Peer]) -> list[Peer]:
    return [peer for peer in peers if peer.stack == scenario.stack]


def _rounds_in_budget(measurements: int, seconds: float) -> int:
    return max(1, min(_MOST_ROUNDS, int(_BUDGET / max(1.0, measurements * (seconds + _OVERHEAD)))))


def _is_partial(arguments: Sequence[str]) -> bool:
    return any(argument.startswith(("--scenario", "--peer")) for argument in arguments)


def _end_on_signal(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end_on_signal)  # as Ctrl-C: through every finally
    try:
        sys.exit(main(sys.argv[1:]))
    except DidNotStart as failure:  # of a peer it is reported; this is the backend
        sys.exit(f"the backend did not start: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
