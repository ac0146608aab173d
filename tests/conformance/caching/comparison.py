"""The cases of HTTP caching through Portico, nginx and Varnish, written into `docs/caching.md`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from conformance.gateways import Contestant
from conformance.page import write
from support.backend import Backend

from .caches import CACHES
from .case import Case, cases
from .client import RIGHT, Verdict, play_all
from .page import Page
from .service import Run, Service

PAGE = Path(__file__).parents[3] / "docs" / "caching.md"


def verdicts_of(cache: Contestant, played: list[Case]) -> list[Verdict]:
    """One verdict per case; the cache runs for as long as this takes."""
    runs = [Run(case) for case in played]
    with Backend(Service(runs)) as service, cache.start(service.port) as port:
        verdicts = asyncio.run(play_all(runs, port))
        assert not service.errors, service.errors
    return verdicts


def compare() -> int:
    """1 where Portico has a case not right; the page is written if no cache is missing."""
    played = cases()
    versions = {each: each.find() for each in CACHES}
    present = [each for each in CACHES if versions[each]]
    verdicts = {each.name: verdicts_of(each, played) for each in present}
    compared = {each.name: versions[each] or "" for each in present if each.install or each is CACHES[0]}
    page = Page(compared, played, verdicts)
    print(page.sums())
    for each in CACHES:
        if each not in present:
            print(f"Missing: {each.name} ({each.install})")
    if len(present) == len(CACHES):
        write(PAGE, page.text())
    else:
        print(f"{PAGE.name} stays as it is: it is written where all are installed")
    wrong = 0
    for name in ("Portico", "Portico, Redis"):
        for case, verdict in zip(played, verdicts[name], strict=True):
            if verdict.outcome != RIGHT:
                wrong = 1
                print(f"{name}: {case.file}, {case.name}: {verdict.outcome}: {verdict.detail}")
    return wrong
