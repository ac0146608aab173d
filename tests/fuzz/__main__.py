"""The long run: `python -m fuzz --minutes 10 --seed 1`, with `tests` on the path; `make fuzz` starts it.

It goes round all properties with a new seed for each input. The first failure ends it with code 1, after printing the
smallest case found, a line of JSON: `--replay FILE` runs such lines again, and `tests/fuzz/corpus` is where they stay.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
from collections import Counter
from itertools import count, cycle
from pathlib import Path
from random import Random, SystemRandom
from typing import Final

from .case import Case
from .generators import load
from .growth import GROWTHS, check_growth
from .properties import PROPERTIES, Property
from .shrink import shrink

_ROUND: Final = 1.0
"""Seconds of one property before it is another's turn."""
_REPORT: Final = 30.0
_SETTLED: Final = 60.0
"""Seconds until every cache of the gateway is taken to have its size."""
_MOST_GROWTH: Final = 96 * 1024
"""KiB by which the process may grow after that."""

perf_counter: Final = time.perf_counter


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Fuzz the whole way of a request.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="of the first input; without one, a fresh one")
    parser.add_argument("--property", choices=[each.name for each in PROPERTIES], help="this one alone")
    parser.add_argument("--replay", type=Path, help="run the cases of a file, one JSON object a line, through all")
    options = parser.parse_args()
    if options.replay:
        return replay(options.replay)
    chosen = [each for each in PROPERTIES if options.property in (None, each.name)]
    seed = SystemRandom().randrange(10**9) if options.seed is None else options.seed
    print(f"fuzzing for {options.minutes:g} minutes from seed {seed}", flush=True)
    return run(chosen, seed, options.minutes * 60)


def run(chosen: list[Property], seed: int, seconds: float) -> int:
    """Go round the properties until the time is up or one fails."""
    started = reported = perf_counter()
    tried: Counter[str] = Counter()
    settled = 0
    seeds = count(seed)
    for each in cycle(chosen):
        until = perf_counter() + _ROUND
        while perf_counter() < until:
            number = next(seeds)
            case = each.make(Random(number))
            if (fault := fault_of(each, case)) is not None:
                report(each, number, case, fault)
                return 1
            tried[each.name] += 1
        now = perf_counter()
        if not settled and now - started > _SETTLED:
            settled = resident()
        if settled and resident() > settled + _MOST_GROWTH:
            print(f"memory grew from {settled} to {resident()} KiB")
            return 1
        if now - reported > _REPORT or now - started > seconds:
            reported = now
            shown = ", ".join(f"{name} {number}" for name, number in tried.items())
            print(f"{now - started:6.0f} s, {resident() // 1024} MiB: {shown}", flush=True)
        if now - started > seconds:
            break
    wrong = [words for growth in GROWTHS if (words := check_growth(growth)) is not None]
    print(
        "\n".join(wrong)
        or f"no failure in {tried.total()} inputs; {len(GROWTHS)} costs grow with the input's size only"
    )
    return 1 if wrong else 0


def fault_of(each: Property, case: Case) -> BaseException | None:
    """What a case raises; None where it holds."""
    try:
        each.check(case)
    except Exception as error:
        return error
    return None


def place_of(error: BaseException) -> str:
    """Where an error was raised: shrinking may not end at another one."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} {frame.filename}:{frame.lineno}"


def report(each: Property, seed: int, case: Case, fault: BaseException) -> None:
    """Print everything that is needed to see the failure again."""
    place = place_of(fault)

    def fails(smaller: Case) -> bool:
        error = fault_of(each, smaller)
        return error is not None and place_of(error) == place

    smallest = shrink(case, fails)
    error = fault_of(each, smallest) or fault
    traceback.print_exception(error)
    print(f"property {each.name} fails with seed {seed} (--property {each.name} --seed {seed}); the smallest case:")
    print(smallest.dump(), flush=True)


def replay(path: Path) -> int:
    """Run the cases of a file again."""
    failures = 0
    for line in path.read_text().splitlines():
        for each in PROPERTIES:
            if (fault := fault_of(each, load(line))) is not None:
                failures += 1
                print(f"{each.name}: {fault}")
    return 1 if failures else 0


def resident() -> int:
    """The memory of this process in KiB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4


if __name__ == "__main__":
    sys.exit(main())
