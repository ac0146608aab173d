"""Whether a gateway does what it is about to be measured at: one that leaves something out would look cheap,
one that is badly configured dear.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.peer import POLICIES, Peer
from benchmarks.readiness import Answer, ask, comes_true
from benchmarks.request import SECRET, SEEN, Request

_LOG_WITHIN = 5.0  # seconds: logs are written in batches
_ASKED = 5


class NotItsJob(Exception):  # noqa: N818 - it reads as what happened
    """A gateway answers, but not as its duties ask."""


def check_duties(peer: Peer, port: int, directory: Path, request: Request, expected: Answer) -> None:
    """Raises NotItsJob unless `peer` passes on, keeps connections, tells the service who asks, verifies and logs."""
    _passes_on(port, request, expected)
    seen = [_seen(port) for _ in range(_ASKED)]
    if len({facts["connection"] for facts in seen}) == _ASKED:
        raise NotItsJob("opens a connection to the service for every request")
    if peer.stack == POLICIES and not (seen[0]["request_id"] and seen[0]["forwarded_for"]):
        raise NotItsJob("sends no X-Request-ID or no X-Forwarded-For to the service")
    if peer.checks_tokens:
        _verifies(port, request, seen[0])
    if peer.access_log and not comes_true(lambda: _has_line(directory / peer.access_log), _LOG_WITHIN):
        raise NotItsJob("wrote no JSON access log")


def _passes_on(port: int, request: Request, expected: Answer) -> None:
    answer = ask(port, request)
    if answer != expected:
        raise NotItsJob(f"answered {answer.status} with {len(answer.body)} bytes: {answer.body[:300]!r}")


def _seen(port: int) -> Mapping[str, str]:
    answer = ask(port, Request(SEEN))
    if answer.status != 200:
        raise NotItsJob(f"answered {answer.status}: {answer.body[:300]!r}")
    facts: Mapping[str, str] = json.loads(answer.body)
    return facts


def _verifies(port: int, request: Request, seen: Mapping[str, str]) -> None:
    status = ask(port, request, SECRET[::-1]).status
    if status != 401:
        raise NotItsJob(f"answered {status} to a token with a wrong signature")
    if seen["user"] != "alice":
        raise NotItsJob("does not tell the service who asks (X-Consumer-Username)")


def _has_line(path: Path) -> bool:
    if not path.exists():
        return False
    lines = path.read_text().splitlines()
    return any(_tells_of_success(json.loads(line)) for line in lines if line.startswith("{"))


def _tells_of_success(entry: Mapping[str, object]) -> bool:
    return entry.get("status_code") == 200 and str(entry.get("path")).endswith(SEEN)
