"""What is reported of a policy that fails: a number always, an event now and then."""

from __future__ import annotations

import logging

import pytest

from portico.observe.metrics import Metrics
from portico.policies.plugins.reports import Reports


def test_each_kind_is_an_event_once_a_minute_and_always_a_number(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("portico.policies.plugins.reports.time.monotonic", lambda: now)
    metrics = Metrics()
    report = Reports(metrics.policy_errors).of("Block")
    for _ in range(3):
        report("request", KeyError("x"), 0.0)
        report("request", ValueError("y"), 0.0)
        report("response", KeyError("x"), 0.0)
        report("request", None, 1.0)
        report("request", BlockingIOError(), 0.0734)
    assert len(caplog.records) == 5
    now += 61
    report("request", KeyError("z"), 0.0)
    report("request", BlockingIOError(), 0.0)
    assert len(caplog.records) == 7
    seen = [
        (each.levelno, each.getMessage(), each.exc_info and each.exc_info[0], getattr(each, "left_out", None))
        for each in caplog.records
    ]
    failed, late = "a policy's hook failed", "a policy's hook came to no end within 1 s"
    assert seen == [
        (logging.ERROR, failed, KeyError, None),
        (logging.ERROR, failed, ValueError, None),
        (logging.ERROR, failed, KeyError, None),
        (logging.ERROR, late, None, None),
        (logging.WARNING, "a policy's hook blocked all requests of this worker", None, None),
        (logging.ERROR, failed, KeyError, 2),
        (logging.ERROR, failed, BlockingIOError, None),
    ]
    assert caplog.records[4].__dict__["milliseconds"] == 73
    assert {each.__dict__["policy"] for each in caplog.records} == {"Block"}
    assert metrics.policy_errors.series == {
        ("Block", "request", "exception"): 8,
        ("Block", "response", "exception"): 3,
        ("Block", "request", "timeout"): 3,
        ("Block", "request", "blocked"): 3,
    }
