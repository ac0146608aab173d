"""What becomes of a canary, played with a clock of its own."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from portico.config.canary import CanarySettings
from portico.observe.families import SIDE_BOUNDS
from portico.processes.control.canary import (
    Action,
    Decision,
    RefusedError,
    begun,
    commanded,
    waits_for,
    watched,
)
from portico.processes.control.canary_counts import Counts, Recent, Sides

EVERY = 10.0
START = 1_800_000_000.0


def counts(requests: int, errors: int = 0, *, slow: int = 0, took: float = 0.01, slow_took: float = 1.0) -> Counts:
    """So many requests that took `took` seconds, of which `slow` ones took `slow_took`."""
    buckets = [0] * (len(SIDE_BOUNDS) + 1)
    for seconds, number in ((took, requests - slow), (slow_took, slow)):
        buckets[next((i for i, bound in enumerate(SIDE_BOUNDS) if seconds <= bound), len(SIDE_BOUNDS))] += number
    return Counts(requests, errors, tuple(buckets))


FINE = Sides(counts(1000), counts(200))


class Game:
    """One canary and its clock."""

    def __init__(self, **settings: Any) -> None:
        written = {"to": "next", "steps": [5, 25, 100], "every": EVERY, "abort_if": {"errors": "2%", "p99": "2x"}}
        self.settings = CanarySettings.model_validate({**written, **settings})
        self.now = START
        self.decision: Decision = begun(("shop", self.settings.to, self.settings.steps), self.now)

    def passes(self, seconds: float, counted: Sides = FINE, recent: Sides | None = None, **more: bool) -> Decision:
        """Looked at once a second."""
        for _ in range(round(seconds)):
            self.now += 1
            latest = counted if recent is None else recent
            self.decision = watched(self.decision, self.settings, counted, latest, 1.0, self.now, **more)
        return self.decision

    def asks(self, action: Action, who: str = "anna", why: str = "") -> Decision:
        self.decision = commanded(self.decision, action, who, why, self.now)
        return self.decision

    @property
    def happened(self) -> list[tuple[str, str, float]]:
        return [(entry.who, entry.what, entry.share) for entry in self.decision.history]


def test_steps_until_everything_goes_to_the_new_side() -> None:
    game = Game()
    assert game.decision.weights == {"shop": 95, "next": 5}
    assert game.passes(EVERY - 1).share == 5
    assert game.passes(1).share == 25
    assert game.passes(EVERY).share == 100
    assert game.decision.phase == "running", "the last step is watched like any other"
    assert game.passes(EVERY).phase == "promoted"
    assert game.passes(1000).weights == {"shop": 0, "next": 100}
    assert game.happened == [
        ("gateway", "began", 5),
        ("gateway", "stepped up", 25),
        ("gateway", "stepped up", 100),
        ("gateway", "promoted", 100),
    ]
    assert [entry.at - START for entry in game.decision.history] == [0, 10, 20, 30]


def test_every_change_but_the_clock_has_its_version_and_every_share_its_counts() -> None:
    game = Game()
    seen = [game.decision, *(game.passes(1) for _ in range(25))]
    seen += [game.asks("pause"), game.asks("resume"), game.asks("abort"), game.asks("retry")]
    for earlier, later in pairwise(seen):
        assert (later.version > earlier.version) is (later.history != earlier.history)
        assert (later.epoch > earlier.epoch) is (later.share != earlier.share)


@pytest.mark.parametrize(
    ("new", "aborts"),
    [
        (counts(200, 4), False),
        (counts(200, 5), True),
        (counts(20, 2), False),
        (counts(20, 3), True),
        (counts(3, 3), True),
        (counts(2, 2), False),
    ],
    ids=["2%", "2.5%", "few, 10%", "few, that cannot be made up for", "all of few", "too few"],
)
def test_errors(new: Counts, aborts: bool) -> None:
    game = Game()
    game.passes(1, Sides(counts(1000), new))
    assert (game.decision.phase == "aborted") is aborts
    assert game.decision.share == (0 if aborts else 5)


@pytest.mark.parametrize(
    ("old", "new", "aborts"),
    [
        (counts(1000, 20), counts(200, 8), True),
        (counts(1000, 500), counts(200, 100), False),
        (counts(1000, 500), counts(200, 103), False),
        (counts(1000, 500), counts(200, 105), True),
        (counts(99, 50), counts(200, 100), True),
        (Counts(), counts(200, 100), True),
    ],
    ids=["as many as may be", "as bad", "hardly worse", "worse by as much again", "too few to compare with", "none"],
)
def test_errors_count_where_the_old_side_has_not_as_many(old: Counts, new: Counts, aborts: bool) -> None:
    game = Game()
    assert (game.passes(1, Sides(old, new)).phase == "aborted") is aborts


def test_why_it_was_aborted_names_both_sides() -> None:
    game = Game()
    game.passes(3)
    game.passes(1, Sides(counts(1000, 1), counts(200, 10)))
    assert game.decision.history[-1].why == "errors: 5 % of 200 requests failed at next, 0.1 % of 1000 at shop"
    assert game.decision.history[-1].at == START + 4
    game = Game()
    game.passes(1, Sides(counts(1000, slow=20, slow_took=0.1), counts(200, slow=20)))
    assert game.decision.history[-1].why == "p99: 939 ms of 200 requests at next, 98.7 ms of 1000 at shop"


@pytest.mark.parametrize(
    ("p99", "old", "new", "aborts"),
    [
        ("2x", counts(1000, took=0.01), counts(200, took=0.019), False),
        ("2x", counts(1000, took=0.01), counts(200, took=0.025), True),
        ("2x", counts(1000, took=0.01), counts(200, slow=5), False),
        ("2x", counts(1000, took=0.01), counts(200, slow=6), True),
        ("2x", counts(1000, took=0.01), counts(100_000, slow=1064), False),
        ("2x", counts(1000, took=0.01), counts(100_000, slow=1065), True),
        ("2x", counts(1000, took=0.01), counts(99, took=1), False),
        ("2x", counts(99, took=0.01), counts(200, took=1), False),
        ("500ms", counts(1000, took=0.01), counts(200, took=0.49), False),
        ("500ms", counts(1000, took=0.01), counts(200, took=0.6), True),
        ("500ms", counts(1000, took=2), counts(200, took=2), False),
        ("500ms", counts(1000, took=2), counts(200, took=4), True),
        ("500ms", Counts(), counts(200, took=0.6), True),
        ("500ms", counts(1000), counts(200, took=1000), True),
    ],
)
def test_the_slowest(p99: str, old: Counts, new: Counts, aborts: bool) -> None:
    game = Game(abort_if={"p99": p99})
    assert (game.passes(1, Sides(old, new)).phase == "aborted") is aborts


def test_when_nobody_asks_the_old_side_any_more_the_step_before_is_compared_with() -> None:
    game = Game(abort_if={"p99": "2x"})
    game.passes(2 * EVERY, Sides(counts(1000, took=0.01), counts(200, took=0.01)))
    assert game.decision.share == 100
    assert game.passes(1, Sides(Counts(), counts(200, took=0.015))).phase == "running"
    assert game.passes(1, Sides(Counts(), counts(200, took=0.2))).phase == "aborted"
    assert game.decision.history[-1].why == "p99: 197 ms of 200 requests at next, 10.4 ms in the step before at shop"
    game.asks("retry")
    assert game.decision.old_p99 is None, "which says nothing of another time"


def test_a_long_good_time_does_not_outweigh_a_bad_moment() -> None:
    game = Game(every="24h")
    good = Sides(counts(10**7), counts(10**6))
    bad = Sides(counts(1000), counts(150, 100))
    assert game.passes(1, good + bad, bad).phase == "aborted"
    game = Game(every="24h")
    few = Sides(counts(1000), counts(50, 50))
    assert game.passes(1, good + few, few).phase == "running", "too few to be judged by themselves"


@pytest.mark.parametrize("steps", [[5, 25, 100], [100], [100.0]])
def test_it_may_turn_bad_at_every_step(steps: list[float]) -> None:
    for last in range(len(steps)):
        game = Game(steps=steps)
        game.passes(EVERY * last)
        assert game.decision.step == last
        assert game.passes(1, Sides(counts(1000), counts(200, 200))).share == 0
        assert game.passes(5 * EVERY).share == 0, "it stays there"
        assert game.happened[-1] == ("gateway", "aborted", 0)


def test_once_promoted_it_is_not_watched() -> None:
    game = Game(steps=[100])
    game.passes(EVERY)
    assert game.passes(1, Sides(Counts(), counts(200, 200))).phase == "promoted"


def test_a_step_with_too_few_requests_waits_or_goes_on() -> None:
    few = Sides(counts(1000), counts(60))
    game = Game()
    assert game.passes(5 * EVERY, few).share == 5
    assert waits_for(game.decision, game.settings, few) == "40 more requests"
    assert game.passes(1).share == 25, "once they have come it has waited long enough"
    game = Game(if_fewer="continue")
    assert game.passes(EVERY, few).share == 25
    game = Game(min_requests=0)
    assert game.passes(EVERY, Sides()).share == 25


def test_what_only_fails_goes_no_further_whatever_may_fail() -> None:
    game = Game(abort_if={})
    dead = Sides(counts(1000), counts(200, 200))
    assert game.passes(5 * EVERY, dead).share == 5
    assert waits_for(game.decision, game.settings, dead) == "a request that does not fail"
    assert game.passes(1, Sides(counts(1000), counts(200, 199))).share == 25


def test_a_last_step_below_all_of_it_is_watched_until_somebody_promotes() -> None:
    game = Game(steps=[5, 50])
    game.passes(10 * EVERY)
    assert (game.decision.share, game.decision.phase) == (50, "running")
    assert waits_for(game.decision, game.settings, FINE) == "promote"
    assert game.asks("promote").share == 100
    game = Game(steps=[5, 50])
    game.passes(10 * EVERY)
    assert game.passes(1, Sides(counts(1000), counts(200, 200))).share == 0


def test_a_paused_step_keeps_its_share_and_clock_and_is_watched() -> None:
    game = Game()
    game.passes(6)
    game.asks("pause")
    assert game.passes(100).share == 5
    game.asks("resume")
    assert game.passes(3).share == 5
    assert game.passes(1).share == 25
    game.asks("pause")
    assert game.passes(1, Sides(counts(1000), counts(200, 200))).share == 0


def test_commands() -> None:
    game = Game()
    game.passes(EVERY)
    assert game.asks("abort", why="looks odd").share == 0
    assert game.passes(10 * EVERY).share == 0, "it stays aborted"
    assert game.asks("retry").share == 5, "from the first step"
    assert game.passes(EVERY - 1).share == 5
    assert game.passes(1).share == 25
    assert game.asks("promote", "ben").share == 100
    assert game.asks("abort").share == 0, "also after a promotion"
    assert game.happened == [
        ("gateway", "began", 5),
        ("gateway", "stepped up", 25),
        ("anna", "aborted", 0),
        ("anna", "retried", 5),
        ("gateway", "stepped up", 25),
        ("ben", "promoted", 100),
        ("anna", "aborted", 0),
    ]
    assert game.decision.history[2].why == "looks odd"


def test_what_is_so_already_is_no_news() -> None:
    game = Game()
    assert game.asks("resume") is game.decision
    for action in ("pause", "abort"):
        once = game.asks(action)
        assert game.asks(action) is once
    game.asks("retry")
    once = game.asks("promote")
    assert game.asks("promote") is once


@pytest.mark.parametrize(
    ("before", "action", "message"),
    [
        ([], "retry", "it is running, not aborted: abort it first"),
        (["pause"], "retry", "it is paused, not aborted"),
        (["promote"], "retry", "it is promoted, not aborted"),
        (["abort"], "promote", "it is aborted: retry begins"),
        (["abort"], "pause", "it is aborted: there is nothing to pause"),
        (["promote"], "pause", "it is promoted: there is nothing to pause"),
        (["abort"], "resume", "it is aborted, not paused; see retry"),
        (["promote"], "resume", "it is promoted, not paused"),
    ],
)
def test_commands_that_mean_nothing(before: list[Action], action: Action, message: str) -> None:
    game = Game()
    for each in before:
        game.asks(each)
    with pytest.raises(RefusedError, match=message):
        game.asks(action)


def test_whoever_does_not_lead_may_only_abort() -> None:
    game = Game()
    assert game.passes(10 * EVERY, may_step=False).share == 5
    assert game.decision.elapsed == 0
    assert game.passes(1, Sides(counts(1000), counts(200, 200)), may_step=False).share == 0


@pytest.mark.parametrize(("seconds", "elapsed"), [(-3600.0, 0.0), (3600.0, 5.0)])
def test_time_for_which_nobody_looked_makes_no_step(seconds: float, elapsed: float) -> None:
    game = Game()
    decision = watched(game.decision, game.settings, FINE, FINE, seconds, game.now)
    assert (decision.share, decision.elapsed) == (5, elapsed)


def test_a_history_is_bounded_and_keeps_its_beginning() -> None:
    game = Game()
    for _ in range(300):
        game.asks("pause")
        game.asks("resume")
    history = game.decision.history
    assert (len(history), history[0].what, history[-1].what) == (100, "began", "resumed")


def test_the_last_while() -> None:
    recent = Recent()
    assert recent.of(Sides(counts(10), counts(1)), 0.0) == Sides()
    assert recent.of(Sides(counts(30), counts(2)), 30.0) == Sides(counts(20), counts(1))
    assert recent.of(Sides(counts(60), counts(3)), 60.0) == Sides(counts(50), counts(2))
    assert recent.of(Sides(counts(90), counts(9)), 90.0) == Sides(counts(60), counts(7))
    assert recent.of(Sides(counts(90), counts(9)), 500.0) == Sides()
