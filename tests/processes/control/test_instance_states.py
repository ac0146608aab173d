"""What several workers say of instances, in one answer."""

from __future__ import annotations

from typing import Any

import pytest

from portico.processes.control.instance_states import InstanceStates

A, B = "http://a:1", "http://b:1"


def worker(*instances: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Of its totals what counts here; instances of the service `s` by URL and state, without exchanges under way."""
    return {"instances": [["s", url, state, 0, 0.0] for url, state in instances], "breakers": [], **more}


def test_of_whom_nobody_says_anything_is_active() -> None:
    states = InstanceStates([worker(), worker()])
    assert states.described("s", A) == {"state": "active", "workers": {"active": 2}, "in_flight": 0}
    assert states.warning("s", [A]) is None


def test_without_workers_nothing_is_known() -> None:
    states = InstanceStates()
    assert states.described("s", A) == {}
    assert states.warning("s", [A]) is None


def test_the_worst_state_comes_first() -> None:
    states = InstanceStates([worker(), worker((A, "slow_start")), worker((A, "ejected")), worker((A, "ejected"))])
    found = states.described("s", A)
    assert found["state"] == "ejected"
    assert [*found["workers"].items()] == [("ejected", 2), ("slow_start", 1), ("active", 1)]
    assert states.described("s", B)["workers"] == {"active": 4}
    assert states.described("t", A)["workers"] == {"active": 4}, "another service's"


def test_what_is_under_way_adds_up_and_the_first_to_try_counts() -> None:
    live = [
        {"instances": [["s", A, "ejected", 1, 7.26], ["s", B, "active", 5, 0.0]], "breakers": [["s", A, 2]]},
        {"instances": [["s", A, "ejected", 2, 3.14]], "breakers": [["s", A, 2]]},
        {"instances": [["s", A, "active", 4, 0.0]], "breakers": [["s", A, 0], ["s", B, 1]]},
    ]
    found = InstanceStates(live).described("s", A)
    assert (found["in_flight"], found["breaker"], found["next_try_in"]) == (7, "open", 3.1)
    found = InstanceStates(live).described("s", B)
    assert (found["in_flight"], found["breaker"]) == (5, "half_open")
    assert "next_try_in" not in found


def test_one_url_with_two_tls_settings_counts_once_per_worker() -> None:
    found = InstanceStates([worker((A, "ejected"), (A, "active"))]).described("s", A)
    assert found["workers"] == {"ejected": 1}


@pytest.mark.parametrize(
    ("live", "warning"),
    [
        ([worker((A, "ejected"))], None),
        ([worker((A, "ejected")), worker((B, "ejected"))], None),
        ([worker((A, "down"), (B, "down"))], None),
        ([worker((A, "ejected"), (B, "slow_start"))], None),
        (
            [worker((A, "ejected"), (B, "ejected")), worker()],
            "no instance gets requests, because they are ejected (1 of 2 workers)",
        ),
        ([worker((A, "ejected"), (B, "down"))], "no instance gets requests, because they are ejected"),
        (
            [worker((A, "half_open"), (B, "ejected"))],
            "no instance is known to be well, and the next request tries one",
        ),
        ([worker((A, "panic"), (B, "down"))], "too many instances are ejected, so that all are used"),
        ([worker((A, "panic"))], "too many instances are ejected, so that all are used"),
        (
            [worker((A, "panic"), (B, "panic")), worker((A, "ejected"), (B, "ejected"))],
            "too many instances are ejected, so that all are used (1 of 2 workers); "
            "no instance gets requests, because they are ejected (1 of 2 workers)",
        ),
    ],
)
def test_when_a_service_is_not_healthy_without_remark(live: list[dict[str, Any]], warning: str | None) -> None:
    """It has two instances. That all fail their checks shows in its status."""
    assert InstanceStates(live).warning("s", [A, B]) == warning


def test_an_instance_out_of_reach_is_so_for_every_worker_that_uses_it() -> None:
    refused = worker((A, "unreachable"), unreachable=[["s", A, "connection refused"]])
    assert InstanceStates([refused, refused]).problem("s", A) == "connection refused"
    assert InstanceStates([refused, worker((A, "ejected"))]).problem("s", A) == "connection refused"
    assert InstanceStates([refused, worker()]).problem("s", A) is None, "one of them may not have tried"
    assert InstanceStates([worker((A, "ejected"))]).problem("s", A) is None
    assert InstanceStates().problem("s", A) is None
    warning = "no connection to an instance could be opened lately (1 of 2 workers)"
    assert InstanceStates([refused, worker()]).warning("s", [A]) == warning
