"""`python -m benchmarks.scale`: what grows with users, beside an older build; writes docs/performance.md."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from benchmarks.machine import facts
from benchmarks.scale import instances, people, processes, registry, routes
from benchmarks.scale.build import OLD, Build, old, present
from benchmarks.scale.row import Measured, Result, Row, as_table
from support.commands import run

_PAGE: Final = Path("docs/performance.md")
_MARKS: Final = ("<!-- scale -->", "<!-- end of scale -->")
ROWS: Final[Sequence[Row]] = (
    *instances.ROWS,
    *registry.ROWS,
    *routes.ROWS,
    *people.ROWS,
    *processes.ROWS,
)


def main(arguments: Sequence[str]) -> int:
    """Returns 0 if every goal is met, else 1."""
    chosen = _parser().parse_args(arguments)
    rows = [row for row in ROWS if re.search(chosen.rows, row.name)]
    results: list[Result] = []
    with nullcontext() if chosen.no_old else old(chosen.old) as other:
        for row in rows:
            results.append(Result(row))
            if other is not None:
                results[-1].old = _measured(row, other)
            results[-1].new = _measured(row, present())
            print(as_table(results[-1:]), file=sys.stderr, flush=True)
    table = as_table(results)
    print(table)
    if len(rows) == len(ROWS) and not chosen.no_old:
        _write(table)
    missed = [each for result in results for each in result.misses()]
    for each in missed:
        print(f"missed: {each}", file=sys.stderr)
    return int(bool(missed))


def _measured(row: Row, build: Build) -> Measured | str:
    """What a row finds; that a build fails at it is told in its cells."""
    print(f"{row.name}: {build.name}", file=sys.stderr, flush=True)
    try:
        return row.measure(build)
    except Exception as error:
        print(f"{row.name}: {build.name}: {error}", file=sys.stderr, flush=True)
        return f"failed ({type(error).__name__})"


def _write(table: str) -> None:
    """Put the table where the page has it."""
    page = _PAGE.read_text()
    begin, end = (page.index(mark) for mark in _MARKS)
    about = "; ".join(facts()[:3])
    _PAGE.write_text(f"{page[:begin]}{_MARKS[0]}\n\n{about}\n\n{table}\n\n{page[end:]}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--rows", default="", metavar="PATTERN", help="only those whose name has this in it")
    parser.add_argument("--old", default=OLD, metavar="COMMIT", help=f"what to compare with (default: {OLD})")
    parser.add_argument("--no-old", action="store_true", help="measure this tree alone")
    return parser


if __name__ == "__main__":
    run(main)
