"""`python -m chaos`, with `tests` on the path: breaks things under load and says what clients saw of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from support.commands import run

from .faults import FAULTS
from .gateways import missing
from .row import Row, as_table


def main(arguments: Sequence[str]) -> int:
    """Returns 0 if Portico kept every promise, else 1."""
    chosen = _parser().parse_args(arguments)
    rows: list[Row] = []
    for fault in FAULTS:
        for start in fault.starts:
            if fault.name in chosen.fault and start.__name__ in chosen.gateway:
                if program := missing(start):
                    print(f"{fault.name}: {start.__name__}: {program} is not installed", file=sys.stderr)
                    continue
                row = fault.run(fault, start, chosen.seconds)
                print(f"{row.fault}: {row.gateway}: {row.verdict}", file=sys.stderr, flush=True)
                rows.append(row)
    print(as_table(rows))
    return int(any(row.has_failed() for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    faults = [fault.name for fault in FAULTS]
    gateways = list(dict.fromkeys(start.__name__ for fault in FAULTS for start in fault.starts))
    parser.add_argument("--fault", nargs="+", choices=faults, default=faults, metavar="NAME", help=", ".join(faults))
    parser.add_argument("--gateway", nargs="+", choices=gateways, default=gateways, help="only these arrangements")
    parser.add_argument("--seconds", type=float, default=3, help="before and after a fault; half of it (default: 3)")
    return parser


if __name__ == "__main__":
    run(main)
