"""The verdicts: what is excused by which promise, and what is not."""

from __future__ import annotations

import pytest

from .outcome import Outcome
from .row import Promise, Row, as_table

_BEFORE, _AT_KILL, _AFTER = 1.0, 4.95, 6.0


def row(promise: Promise, *outcomes: Outcome, is_judged: bool = True) -> Row:
    return Row("killed", "portico", promise, outcomes, 0.0, (5.0, 7.0), [(5.0, 5.1)], is_judged=is_judged)


@pytest.mark.parametrize(
    ("promise", "outcome", "is_kept"),
    [
        (Promise.IDEMPOTENT, Outcome("get", _AFTER, failure="502 upstream_reset"), False),
        (Promise.IDEMPOTENT, Outcome("get", _AFTER, begun=True, failure="cut short"), True),
        (Promise.IDEMPOTENT, Outcome("events", _AFTER, failure="timeout"), False),
        (Promise.IDEMPOTENT, Outcome("post", _AFTER, failure="502 upstream_reset"), True),
        (Promise.IDEMPOTENT, Outcome("websocket", _AFTER, failure="cut short"), True),
        (Promise.RUNNING, Outcome("get", _AT_KILL, 0.1, failure="reset"), True),
        (Promise.RUNNING, Outcome("post", _AT_KILL, 0.1, failure="reset"), True),
        (Promise.RUNNING, Outcome("download", _BEFORE, 5.0, begun=True, failure="cut short"), True),
        (Promise.RUNNING, Outcome("get", _AT_KILL, 0.01, failure="reset"), False),
        (Promise.RUNNING, Outcome("post", _AFTER, failure="reset"), False),
        (Promise.REFUSED, Outcome("get", _AFTER, failure="503 overloaded"), True),
        (Promise.REFUSED, Outcome("get", _AFTER, failure="502 upstream_refused"), False),
        (Promise.ALL, Outcome("get", _BEFORE), True),
        (Promise.ALL, Outcome("websocket", _AFTER, begun=True, failure="cut short"), False),
        (Promise.ALL, Outcome("get", _AFTER, begun=True, failure="500 of the service"), False),
    ],
)
def test_a_failure_breaks_a_promise_or_is_excused(promise: Promise, outcome: Outcome, is_kept: bool) -> None:
    assert row(promise, outcome).has_failed() != is_kept


def test_failures_of_a_peer_are_reported_and_not_judged() -> None:
    peer = row(Promise.ALL, Outcome("get", _AFTER, failure="reset"), is_judged=False)
    assert not peer.has_failed()
    assert peer.verdict == "(1 failed)"


def test_the_table_counts_every_failure_by_client_and_kind() -> None:
    failures = [Outcome("get", _AFTER, failure="reset")] * 2 + [Outcome("post", _BEFORE, failure="502 upstream_reset")]
    table = as_table([row(Promise.IDEMPOTENT, Outcome("get", _BEFORE, 0.0125), *failures)])
    cells = [cell.strip() for cell in table.splitlines()[2].split("|")[1:-1]]
    assert cells[:8] == ["killed", "portico", "4", "2", "0", "1", "0", "0"]
    assert cells[8:11] == ["12.5", "0.0", "0.0"]
    assert cells[12:] == ["2 get reset, 1 post 502 upstream_reset", "2 failed"]
