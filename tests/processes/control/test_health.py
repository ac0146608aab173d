"""When an instance counts as up or down."""

from __future__ import annotations

from typing import Any, cast

import pytest

from portico.config import HealthCheckSettings
from portico.processes.control.check import Check
from portico.processes.control.prober import Finding


def check(healthy_after: int, unhealthy_after: int) -> Check:
    settings = HealthCheckSettings(healthy_after=healthy_after, unhealthy_after=unhealthy_after)
    return Check("gemini", "gemini", cast(Any, None), settings, cast(Any, None))


def note(watched: Check, error: str | None) -> bool:
    return watched.note(Finding(0.1, error), 1.0)


@pytest.mark.parametrize(
    ("healthy_after", "unhealthy_after", "results", "states"),
    [
        (1, 1, "+-+-", "+-+-"),
        (1, 3, "---", "++-"),
        (1, 3, "--+--+--", "++++++++"),
        (1, 3, "---+", "++-+"),
        (2, 3, "---++", "++--+"),
        (2, 3, "---+-+-++", "++------+"),
        (2, 2, "--++--++", "+--+" * 2),
        (3, 1, "-++-+++", "------+"),
        (1, 2, "++++++--", "+++++++-"),
        (2, 1, "-----++", "------+"),
    ],
)
def test_as_many_results_in_a_row_as_configured_turn_an_instance(
    healthy_after: int, unhealthy_after: int, results: str, states: str
) -> None:
    watched = check(healthy_after, unhealthy_after)
    seen, before = "", True
    for result in results:
        turned = note(watched, None if result == "+" else "refused")
        seen += "+" if watched.healthy else "-"
        assert turned == (watched.healthy != before)
        before = watched.healthy
    assert seen == states


@pytest.mark.parametrize(
    ("expect", "status", "expected"),
    [(None, 200, True), (None, 299, True), (None, 302, False), (None, 503, False), (401, 401, True), (401, 200, False)],
)
def test_the_status_that_proves_health(expect: int | None, status: int, expected: bool) -> None:
    settings = HealthCheckSettings.model_validate({} if expect is None else {"expect": expect})
    assert settings.expects(status) == expected


def test_an_instance_that_has_only_failed_is_not_shown_as_healthy() -> None:
    watched = check(1, 3)
    assert watched.shown_healthy
    note(watched, "refused")
    assert (watched.healthy, watched.shown_healthy) == (True, False)
    other = check(1, 3)
    other.take_over(watched)
    assert not other.shown_healthy
    note(watched, None)
    note(watched, "refused")
    assert watched.shown_healthy
    other.take_over(watched)
    assert other.shown_healthy
