"""`python -m apps [NAME …]`, with `tests` on the path: drives applications and writes into the page what came of it."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence

from support.commands import python, run
from support.process import DidNotEndWell, Job

from .application import Application, Situation
from .applications import APPLICATIONS
from .driving import drive
from .environment import Environment, NotInstalled
from .outcome import Outcome, from_json
from .page import write

_WITHIN = 600.0
"""Seconds for one application in all of its situations."""


def main(arguments: Sequence[str]) -> int:
    """Returns 0 if every application that is asked for does in every situation what its users want of it, else 1."""
    chosen = _parser().parse_args(arguments)
    known = {each.name: each for each in APPLICATIONS}
    situations = [Situation(each) for each in chosen.situation or Situation]
    if chosen.here:
        (name,) = chosen.name
        app = known[name].bare() if chosen.bare else known[name]
        print(drive(app, situations).as_json())
        return 0
    outcomes = {}
    for name in chosen.name or known:
        outcome = _outcome(known[name], situations, chosen.bare)
        for situation, text in outcome.situations.items():
            print(f"{name}: {situation}: {text}")
        if outcome.problem:
            print(f"{name}: {outcome.problem}")
        sys.stdout.flush()
        outcomes[name] = outcome
        if not chosen.situation and not chosen.bare:
            write(outcomes)
    return int(not all(each.is_well for each in outcomes.values()))


def _outcome(app: Application, situations: Sequence[Situation], is_bare: bool) -> Outcome:
    if not shutil.which("chromium"):
        return Outcome(problem="not run: chromium is not installed")
    try:
        Environment(app).install()
    except (NotInstalled, subprocess.TimeoutExpired) as error:
        return Outcome(problem=f"not run: it could not be installed: {error}")
    chosen = [word for each in situations for word in ("--situation", each)]
    how = ["--here", *(["--bare"] if is_bare else [])]
    with _Driver(*python("apps", app.name, *how, *chosen)) as job:
        try:
            written = job.result(_WITHIN)
        except DidNotEndWell as error:
            return Outcome(problem=f"not run: {str(error).strip().splitlines()[-1]}")
        finally:
            print(job.err(), file=sys.stderr, flush=True)
    return from_json(written.splitlines()[-1])


class _Driver(Job):
    """Its result is what it wrote on standard output."""

    SEPARATES = True
    STOP_WITHIN = 30.0
    """Seconds, in which it ends what it started."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m apps", description=__doc__)
    names = [each.name for each in APPLICATIONS]
    parser.add_argument("name", nargs="*", help=", ".join(names))
    parser.add_argument(
        "--situation", action="append", choices=list(Situation), help="only this one; the page stays as it is"
    )
    parser.add_argument("--bare", action="store_true", help="without the lines that the page gives: shows what breaks")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    run(main)
