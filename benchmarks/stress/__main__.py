"""`python -m benchmarks.stress`: puts one worker under slow, endless and greedy clients and says how it held."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from benchmarks.stress import bulk, events, greedy, once, slow, subjects, vanish
from benchmarks.stress.plan import Plan
from benchmarks.stress.row import Row, as_table
from support.commands import run
from support.cores import LOAD, pinned
from support.instance_process import InstanceProcess

SCENARIOS: Final[dict[str, Callable[[Plan, InstanceProcess], Iterator[Row]]]] = {
    "slow": slow.play,
    "greedy": greedy.play,
    "bulk": bulk.play,
    "events": events.play,
    "vanish": vanish.play,
    "once": once.play,
}


def main(arguments: Sequence[str]) -> int:
    """Returns 0 if the gateway kept every promise, else 1."""
    chosen = _parser().parse_args(arguments)
    numbers = chosen.connections, chosen.gib, chosen.streams, chosen.vanishing
    plan = Plan(*numbers, chosen.rounds, chosen.seconds, chosen.distinct)
    rows: list[Row] = []
    with pinned(LOAD), subjects.service() as service:
        for name in chosen.scenario:
            for row in SCENARIOS[name](plan, service):
                print(f"{row.scenario}: {row.gateway}: {row.what}: {row.verdict}", file=sys.stderr, flush=True)
                rows.append(row)
    print(as_table(rows))
    return int(any(row.has_failed() for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stress", description=__doc__)
    parser.add_argument("--scenario", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS), help="only these")
    parser.add_argument("--connections", type=int, default=2000, help="slow connections (default: 2000)")
    parser.add_argument("--gib", type=float, default=10, help="of the largest bodies; others a tenth (default: 10)")
    parser.add_argument("--streams", type=int, default=500, help="streams of events (default: 500)")
    parser.add_argument("--vanishing", type=int, default=300, help="clients that vanish (default: 300)")
    parser.add_argument("--rounds", type=int, default=3, help="with and without the slow ones (default: 3)")
    parser.add_argument("--distinct", type=int, default=100_000, help="clients that come once (default: 100000)")
    parser.add_argument("--seconds", type=float, default=4, help="of one measurement (default: 4)")
    return parser


if __name__ == "__main__":
    run(main)
