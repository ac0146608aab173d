"""`python -m benchmarks`: measures Portico beside every peer that is installed."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.loads.idle import raise_file_limit
from benchmarks.loads.wrk import missing_generator
from benchmarks.peer import Peer
from benchmarks.peers import PEERS
from benchmarks.report import Report
from benchmarks.result import Result
from benchmarks.rounds import play
from benchmarks.rules import costs
from benchmarks.scenarios import SCENARIOS, Scenario
from support.commands import run
from support.process import DidNotStart

_RECORD = Path(__file__).with_name("results.md")
_RULES = "rules"  # measured without gateways that could be beside others
_LONG = (5, 3.0)  # rounds and seconds of a thorough run


def main(arguments: Sequence[str]) -> int:
    """Returns 0 if all went well, 1 if a peer could not be measured or the load generator is missing."""
    chosen = _parser().parse_args(arguments)
    if problem := missing_generator():
        print(problem, file=sys.stderr)
        return 1
    raise_file_limit()
    began = time.monotonic()
    wanted = [peer for peer in PEERS if {peer.name, peer.label} & set(chosen.peer or (peer.name,))]
    versions = {peer: version for peer in wanted if (version := peer.find())}
    report = Report(
        command=f"PYTHONPATH=tests python -m benchmarks {shlex.join(arguments)}" if arguments else "make bench",
        versions={peer.name: version for peer, version in versions.items()},
        absent=[peer for peer in wanted if peer not in versions],
        results=[
            _played(scenario, list(versions), chosen) for scenario in SCENARIOS if scenario.name in chosen.scenario
        ],
        costs=costs() if _RULES in chosen.scenario and any(peer.name == "portico" for peer in versions) else [],
        seconds=time.monotonic() - began,
    )
    print(report.for_terminal())
    if output := chosen.output or (None if _is_partial(arguments) else _RECORD):
        output.write_text(report.as_markdown())
    return int(report.has_failed())


def _parser() -> argparse.ArgumentParser:
    scenarios = [*(scenario.name for scenario in SCENARIOS), _RULES]
    peers = sorted({name for peer in PEERS for name in (peer.name, peer.label)})
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, help="rounds of every scenario (default: its own)")
    parser.add_argument("--seconds", type=float, help="length of every measurement (default: the scenario's)")
    parser.add_argument("--scenario", nargs="+", choices=scenarios, default=scenarios, help="only these")
    parser.add_argument("--peer", nargs="+", choices=peers, help="only these, also where a default run leaves them out")
    parser.add_argument("--long", action="store_true", help="every peer in every scenario, 5 rounds of 3 s")
    parser.add_argument("--output", type=Path, help="where to write the record (default: results.md of a full run)")
    return parser


def _played(scenario: Scenario, installed: Sequence[Peer], chosen: argparse.Namespace) -> Result:
    players = [peer for peer in installed if peer.stack == scenario.stack]
    if scenario.only:
        everybody = chosen.long or chosen.peer
        players = [peer for peer in players if (everybody and not peer.slow) or peer.name in scenario.only]
    rounds, seconds = _LONG if chosen.long else (scenario.rounds, scenario.seconds)
    return play(scenario, players, chosen.rounds or rounds, chosen.seconds or seconds)


def _is_partial(arguments: Sequence[str]) -> bool:
    return any(argument.startswith(("--scenario", "--peer")) for argument in arguments)


def _or_say_why_not(arguments: Sequence[str]) -> int:
    try:
        return main(arguments)
    except DidNotStart as failure:  # of a peer it is reported; this is the backend
        sys.exit(f"the backend did not start: {failure}")


if __name__ == "__main__":
    run(_or_say_why_not)
