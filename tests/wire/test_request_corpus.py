"""Requests as bytes, and what becomes of each: the same however the bytes are cut.

The verdicts are those of RFC 9110 and 9112, read as strictly as nginx and HAProxy both read them. A case `accept`s
requests, or `refuse`s with one of some statuses what comes behind them; it has `begun` if that was only found out in
the body. An `open` case is not complete. `answers` are the statuses of requests that the gateway answers itself, which
only the live tests see.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from portico.wire.frontend import Limits
from support.corpus import corpus, raw_bytes

from .world import Recorded, ServerWorld, say_ok, splits

CASES = corpus("request")
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def run(case: Any, pieces: list[bytes], respond: Callable[[Recorded], None] = say_ok) -> ServerWorld:
    world = ServerWorld(Limits(**case.get("limits", {})), respond)
    world.wire.feed(pieces)
    return world


def say_whole(recorded: Recorded) -> None:
    recorded.stream.send_whole(200, [b"HTTP/1.1 200 OK\r\nContent-Length: 2", b"\r\n\r\n", b"ok"], 2, time.monotonic())


def described(recorded: Recorded, wanted: dict[str, Any]) -> dict[str, Any]:
    """The exchange in the corpus's words, as far as the case has wishes."""
    request = recorded.request
    assert request is not None
    seen = {
        "method": request.method.decode(),
        "target": request.target.decode(),
        "host": request.host.decode(),
        "framing": request.framing,
        "keep_alive": request.keep_alive,
        "body": recorded.body.decode("latin-1"),
        "hop_by_hop": sorted(name.decode() for name in request.hop_by_hop),
    }
    return {key: seen[key] for key in wanted}


def judge(case: Any, world: ServerWorld, pieces: list[bytes]) -> str | None:
    """What is wrong with the outcome; None where nothing is."""
    shown = [piece if len(piece) < 200 else piece[:200] + b"..." for piece in pieces[:3]]
    accepted = case.get("accept", [])
    whole = [each for each in world.begun if each.ended or (each.request and each.request.framing == 0)]
    seen = [described(each, wish) for each, wish in zip(whole, accepted, strict=False)]
    errors = [each for each in world.exchanges if each.status is not None]
    statuses = [each.status for each in errors]
    if seen != accepted or len(whole) != len(accepted):
        return f"{len(whole)} whole requests {seen}, refusals {statuses}; cut as {shown}"
    if not accepted and "refuse" not in case:  # an open case: the rest is still awaited
        return f"refused with {statuses}, or closed; cut as {shown}" if errors or world.is_ending else None
    if any(each.finishes != [None] for each in world.exchanges):
        return f"not every exchange finished once: {[each.finishes for each in world.exchanges]}; cut as {shown}"
    if world.server.in_flight:
        return f"{world.server.in_flight} in flight after all; cut as {shown}"
    if "refuse" not in case:
        if errors:
            return f"refused with {statuses}; cut as {shown}"
        closing = not accepted[-1]["keep_alive"]
        return None if world.is_ending == closing else f"closing is {world.is_ending}; cut as {shown}"
    if len(statuses) != 1 or statuses[0] not in case["refuse"]:
        return f"refusals {statuses}; cut as {shown}"
    if len(world.begun) - len(accepted) != int(case.get("begun", False)):
        return f"{len(world.begun)} requests begun; cut as {shown}"
    if errors[0] is not world.exchanges[-1]:
        return f"an exchange after the refusal; cut as {shown}"
    if not world.is_ending:
        return f"the connection stays open; cut as {shown}"
    if world.written.count(b"Connection: close") != 1:
        return f"the refusal does not say that the connection closes; cut as {shown}"
    return None


def name_of(case: Any) -> str:
    return f"{case['file']}: {case['name']}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_verdict_is_the_same_however_the_bytes_are_cut(case: Any) -> None:
    raw = raw_bytes(case["raw"])
    assert judge(case, run(case, [raw]), [raw]) is None
    wrong = [fault for pieces in splits(raw) if (fault := judge(case, run(case, pieces), pieces)) is not None]
    assert wrong == []


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("respond", [say_ok, say_whole])
def test_verdicts_are_the_same_behind_a_request_with_the_same_fields(
    respond: Callable[[Recorded], None], others: int
) -> None:
    """Also where the connection has had others since, with `others` different sets of fields."""
    played, wrong = 0, []
    for case in CASES:
        raw = raw_bytes(case["raw"])
        block = raw.partition(b"\r\n")[2].partition(b"\r\n\r\n")[0]
        for pieces in ([raw], [raw[: len(raw) // 2], raw[len(raw) // 2 :]]):
            between = [b"GET / HTTP/1.1\r\nHost: other%d\r\n\r\n" % number for number in range(others)]
            world = run(case, [b"GET /before HTTP/1.1\r\n" + block + b"\r\n\r\n", *between], respond)
            if world.is_ending or [each.finishes for each in world.exchanges] != [[None]] * (1 + others):
                continue  # its fields are no other request's
            world.exchanges.clear()
            world.wire.transport.sent = b""
            world.wire.feed(pieces)
            played += 1
            if (fault := judge(case, world, pieces)) is not None:
                wrong.append((name_of(case), fault))
    assert wrong == []
    assert played > 400


@pytest.mark.parametrize("case", [case for case in CASES if "refuse" in case and "open" not in case], ids=name_of)
def test_nothing_behind_a_refused_request_is_read_as_another(case: Any) -> None:
    raw = raw_bytes(case["raw"])
    for pieces in ([raw + SMUGGLED], [raw, SMUGGLED], [raw, SMUGGLED[:1], SMUGGLED[1:]]):
        assert judge(case, run(case, pieces), pieces) is None


def test_corpus_has_no_two_cases_of_one_name() -> None:
    names = [name_of(case) for case in CASES]
    assert len(names) == len(set(names)) >= 700


def test_every_case_names_its_source() -> None:
    assert [case["name"] for case in CASES if not case["rfc"].startswith("RFC ")] == []
