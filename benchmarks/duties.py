"""Whether a gateway does what it is about to be measured at: one that leaves something out would look cheap,
one that is badly configured dear.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.address import Address
from benchmarks.peer import Duty, Peer
from benchmarks.readiness import Answer, ask
from benchmarks.request import REPORT, SEEN, STAMPED, TENANT, Request
from support.waiting import comes_true

_LOG_WITHIN = 5.0  # seconds: logs are written in batches
_ASKED = 5


class NotItsJob(Exception):  # noqa: N818 - it reads as what happened
    """A gateway answers, but not as its duties ask."""


@dataclass(frozen=True)
class _Evidence:
    """What the service saw of a few requests, what the client got, also with a wrong token, and again and again.

    `coded` is whether what compresses well came compressed.
    """

    seen: Sequence[Mapping[str, str]]
    answer: Answer
    forged: Answer
    stamped: Sequence[Answer]
    coded: bool


_EVIDENCE: Mapping[Duty, tuple[Callable[[_Evidence], bool], str]] = {
    Duty.REUSE: (
        lambda found: len({facts["connection"] for facts in found.seen}) < _ASKED,
        "opens a connection to the service for every request",
    ),
    Duty.DESCRIBE: (
        lambda found: bool(found.seen[0]["request_id"] and found.seen[0]["forwarded_for"]),
        "sends no X-Request-ID or no X-Forwarded-For to the service",
    ),
    Duty.VERIFY: (lambda found: found.forged.status == 401, "lets a token with a wrong signature pass"),
    Duty.NAME: (lambda found: found.seen[0]["user"] == "alice", "sends no X-Consumer-Username to the service"),
    Duty.MARK: (lambda found: found.seen[0]["tenant"] == TENANT, "sends no X-Tenant to the service"),
    Duty.SHOW: (
        lambda found: bool(found.answer.fields & {"ratelimit", "x-ratelimit-remaining"}),
        "does not send the client what is left of its limit",
    ),
    Duty.COMPRESS: (lambda found: found.coded, "does not compress"),
    Duty.CACHE: (lambda found: len({answer.body for answer in found.stamped}) == 1, "asks the service every time"),
}


def check_duties(peer: Peer, address: Address, directory: Path, request: Request, expected: Answer) -> None:
    """Raises NotItsJob unless `peer` passes on, and does what its duties are."""
    answer = ask(address, request)
    if (answer.status, answer.body) != (expected.status, expected.body):
        raise NotItsJob(f"answered {answer.status} with {len(answer.body)} bytes: {answer.body[:300]!r}")
    seen = replace(request, path=SEEN, method="GET", body=0)
    again = [ask(address, replace(seen, path=STAMPED)) for _ in range(2)] if Duty.CACHE in peer.duties else []
    coded = Duty.COMPRESS in peer.duties and "content-encoding" in ask(address, replace(seen, path=REPORT)).fields
    facts = [_facts(ask(address, seen)) for _ in range(_ASKED)]
    found = _Evidence(facts, answer, ask(address, seen, forged=True), again, coded)
    for duty in peer.duties:
        is_done, failing = _EVIDENCE[duty]
        if not is_done(found):
            raise NotItsJob(failing)
    if peer.access_log and not comes_true(lambda: _has_line(directory / peer.access_log), _LOG_WITHIN):
        raise NotItsJob("wrote no JSON access log")


def _facts(answer: Answer) -> Mapping[str, str]:
    if answer.status != 200:
        raise NotItsJob(f"answered {answer.status}: {answer.body[:300]!r}")
    facts: Mapping[str, str] = json.loads(answer.body)
    return facts


def _has_line(path: Path) -> bool:
    lines = path.read_text().splitlines() if path.exists() else []
    return any(SEEN in line and _reports_success(json.loads(line)) for line in lines if line.startswith("{"))


def _reports_success(entry: Mapping[str, object]) -> bool:
    return entry.get("status_code", entry.get("status")) == 200
