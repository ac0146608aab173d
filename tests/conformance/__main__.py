"""`make conformance`: the corpus through Portico, nginx and HAProxy, into `docs/conformance.md`, and caching."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from support.backend import Backend
from support.corpus import corpus

from .caching.comparison import compare as compare_caches
from .gateways import CONTESTANTS, Contestant
from .outcomes import lets_through, of_request, of_response
from .page import Page, Table, write
from .player import address_of, play_all
from .recorder import Recorder
from .responder import by_script, see_all

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
QUIET = 1.0
"""Seconds after which a gateway that has not answered is taken to wait for more."""


def _requests(contestant: Contestant, cases: list[Any]) -> list[str]:
    recorder = Recorder()
    with Backend(recorder) as service, contestant.start(service.port) as port:
        received = asyncio.run(play_all(cases, port, QUIET))
        return [
            of_request(case, each, recorder.of(address_of(number)))
            for number, (case, each) in enumerate(zip(cases, received, strict=True))
        ]


def _responses(contestant: Contestant, cases: list[Any]) -> list[str]:
    with Backend(by_script(cases)) as service, contestant.start(service.port) as port:
        seen = asyncio.run(see_all(cases, port, QUIET))
        return [of_response(case, number, each) for number, (case, each) in enumerate(zip(cases, seen, strict=True))]


def _compare_gateways() -> int:
    """1 where Portico lets through what every other one refuses; the page is written if none is missing."""
    requests = [case for case in corpus("request") if "limits" not in case]
    responses = corpus("response")
    versions = {each: each.find() for each in CONTESTANTS}
    present = [each for each in CONTESTANTS if versions[each]]
    asked = Table("Requests", requests, {each.name: _requests(each, requests) for each in present})
    given = Table("Responses", responses, {each.name: _responses(each, responses) for each in present})
    page = Page({each.name: versions[each] or "" for each in present}, [asked, given])
    print(page.counts())
    for each in CONTESTANTS:
        if each not in present:
            print(f"Missing: {each.name} ({each.install})")
    if len(present) == len(CONTESTANTS):
        write(PAGE, page.text())
    else:
        print(f"{PAGE.name} stays as it is: it is written where all are installed")
    alone = [name for table in (asked, given) for name in table.alone(lets_through)]
    for name in alone:
        print(f"Portico alone lets through: {name}")
    return int(bool(alone))


def main() -> int:
    """1 where Portico is laxer than all others, or has a case of caching not right."""
    return max(_compare_gateways(), compare_caches())


if __name__ == "__main__":
    sys.exit(main())
