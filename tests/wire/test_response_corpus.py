"""Responses as bytes, and what an upstream connection makes of each: the same however the bytes are cut."""

from __future__ import annotations

from typing import Any

import pytest

from portico.wire.http1.response_forms import ResponseForms
from portico.wire.http1.response_heads import ResponseHeads
from support.corpus import corpus, raw_bytes

from .world import Answered, UpstreamWorld, splits

CASES = corpus("response")


def run(case: Any, pieces: list[bytes], heads: ResponseHeads | None = None) -> tuple[UpstreamWorld, Answered]:
    world = UpstreamWorld(heads)
    answered = world.start(case.get("method", "GET").encode())
    world.wire.feed(pieces)
    if case.get("eof"):
        world.wire.end()
    return world, answered


def outcome(world: UpstreamWorld, answered: Answered) -> dict[str, Any]:
    """What came of a response, in the corpus's words."""
    if answered.errors:
        return {
            "phases": answered.errors[0].phase,
            "started": answered.head is not None,
            "interims": sorted(set(answered.interims)),
            "closed": world.wire.transport.closing,
        }
    head = answered.head
    if head is None or not answered.ends:
        return {"unfinished": True}
    return {
        "status": head.status,
        "phrase": head.phrase.decode("latin-1"),
        "framing": head.framing,
        "body": answered.body.decode("latin-1"),
        "reusable": world.connection.is_reusable(),
        "interims": answered.interims,
        "keep_alive_timeout": head.keep_alive_timeout,
        "hop_by_hop": sorted(name.decode() for name in head.hop_by_hop),
    }


def judge(case: Any, pieces: list[bytes], heads: ResponseHeads | None = None) -> str | None:
    """What is wrong with the outcome; None where nothing is."""
    got = outcome(*run(case, pieces, heads))
    if "fail" in case:
        wish = case["fail"]
        right = (
            got.get("phases") in wish["phases"]
            and got["started"] == wish["started"]
            and got["interims"] == wish["interims"]
            and got["closed"]
        )
    else:
        wish = case["answer"]
        right = all(got.get(key) == value for key, value in wish.items())
    return None if right else f"{got} where {wish} is right; cut as {[piece[:200] for piece in pieces[:3]]}"


def name_of(case: Any) -> str:
    return f"{case['file']}: {case['name']}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_outcome_is_the_same_however_the_bytes_are_cut(case: Any) -> None:
    raw = raw_bytes(case["raw"])
    assert judge(case, [raw]) is None
    cuts = splits(raw) if len(raw) < 5000 else [[raw[i : i + 4096] for i in range(0, len(raw), 4096)]]
    wrong = [fault for pieces in cuts if (fault := judge(case, pieces)) is not None]
    assert wrong == []


def test_outcomes_are_the_same_where_the_head_is_known() -> None:
    wrong = []
    for case in CASES:
        raw = raw_bytes(case["raw"])
        heads = ResponseHeads(forms=ResponseForms(often=1, pause=0.0))
        run(case, [raw], heads)
        end = raw.find(b"\r\n\r\n")
        cuts = [[raw[:cut], raw[cut:]] for cut in (*range(1, 60), *range(max(1, end - 4), end + 8)) if cut < len(raw)]
        wrong += [fault for pieces in ([raw], *cuts) if (fault := judge(case, pieces, heads)) is not None]
    assert wrong == []


def test_a_known_head_that_is_not_all_there_is_waited_for() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 33"
    assert len(head) - 2 == 33  # as long as its content would be, if a head ended one byte before its own end
    heads = ResponseHeads()
    assert heads[head].framing == 33
    world = UpstreamWorld(heads)
    answered = world.start()
    world.wire.feed([head + b"\r"])
    assert (answered.head, answered.ends, answered.errors) == (None, 0, [])


def test_corpus_has_no_two_cases_of_one_name() -> None:
    names = [name_of(case) for case in CASES]
    assert len(names) == len(set(names)) >= 240
