"""What a gateway made of a case, in a word or two."""

from __future__ import annotations

from typing import Any

from .player import Received
from .recorder import Arrived
from .responder import Seen

FORWARDED, CHANGED, UNCLEAN = "forwarded", "forwarded, changed", "unclean"
PASSED, PASSED_CHANGED, PASSED_UNCLEAN = "passed", "passed, changed", "passed, unclean"
CLOSED, SILENT, ENDLESS, CUT, MIXED_UP = "closed", "no answer", "no end", "cut", "mixed up"


def of_request(case: Any, received: Received, arrived: Arrived) -> str:
    """What came of a case's bytes: the service's view decides, else what the client received."""
    wanted = [(each["method"], each["target"], each["body"]) for each in case.get("accept", [])]
    got = [(each.method, each.target, each.body.decode("latin-1")) for each in arrived.requests]
    refused = int("refuse" in case)
    if arrived.faults:
        return UNCLEAN
    if len(got) > len(wanted) + refused:
        return f"{len(got)} requests" if wanted or len(got) > 1 else FORWARDED
    if refused and len(got) > len(wanted):
        return FORWARDED
    if not refused and wanted and len(got) == len(wanted):
        return FORWARDED if got == wanted else CHANGED
    answers = received.responses[len(got) :]
    if answers:
        return str(answers[0].status)
    return CLOSED if received.closed or case.get("open") else SILENT


def of_response(case: Any, number: int, seen: Seen) -> str:
    """What a client got of a case, unless it or another got an answer that was not its own."""
    received = seen.case
    if seen.beside != f"own beside-{number}" or seen.behind not in (None, f"own behind-{number}"):
        return MIXED_UP
    if received.unclean:
        return PASSED_UNCLEAN
    if not received.responses:
        return CUT if received.closed else ENDLESS if received.surplus or received.interims else SILENT
    first = received.responses[0]
    if first.status == 502:
        return "502"
    answer = case.get("answer", {"status": first.status, "body": first.body.decode("latin-1")})
    same = (first.status, first.body.decode("latin-1")) == (answer["status"], answer["body"])
    return PASSED if same else PASSED_CHANGED


def lets_through(outcome: str) -> bool:
    """Whether the other side got to see something whole."""
    return outcome.startswith((FORWARDED, PASSED, UNCLEAN, MIXED_UP)) or outcome.endswith("requests")
