"""Which records pass a filter."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from portico.observe.access_log import AccessRecord
from portico.observe.record_filter import RecordFilter, numbers_of

RECORD = AccessRecord(
    timestamp="2026-01-31T12:00:00.120Z",
    method="GET",
    path="/api/shop/x",
    client_ip="10.0.0.1",
    status_code=503,
    duration_ms=500.0,
    request_id="a" * 32,
    trace_id="b" * 32,
    service="shop",
    route="shop",
    upstream=None,
    upstream_ms=None,
    attempts=1,
    bytes_in=0,
    bytes_out=0,
    user="ann",
    cache=None,
    reason="circuit_open",
)


def passes(wanted: RecordFilter, **other: Any) -> bool:
    record = msgspec.structs.replace(RECORD, **other)
    return all(check(record) for check in wanted.checks())


@pytest.mark.parametrize(
    ("wanted", "other"),
    [
        (RecordFilter(services=("shop", "cart")), {"service": "users"}),
        (RecordFilter(routes=("shop",)), {"route": None}),
        (RecordFilter(methods=("GET", "HEAD")), {"method": "POST"}),
        (RecordFilter(statuses=("404", "5xx")), {"status_code": 403}),
        (RecordFilter(reasons=("circuit_open",)), {"reason": None}),
        (RecordFilter(consumers=("ann",)), {"user": "bob"}),
        (RecordFilter(path="/api/shop"), {"path": "/api/cart"}),
        (RecordFilter(client_ip="10.0.0.1"), {"client_ip": "10.0.0.10"}),
        (RecordFilter(slower=0.5), {"duration_ms": 499.9}),
        (RecordFilter(id="b" * 32), {"trace_id": "c" * 32}),
        (RecordFilter(errors=True), {"status_code": 200, "reason": None}),
    ],
)
def test_each_condition_lets_pass_what_it_says(wanted: RecordFilter, other: dict[str, Any]) -> None:
    assert passes(wanted)
    assert not passes(wanted, **other)


def test_all_conditions_have_to_be_true() -> None:
    assert not passes(RecordFilter(services=("shop",), statuses=("404",)))


def test_nothing_wanted_is_everything() -> None:
    assert RecordFilter().checks() == []


@pytest.mark.parametrize("text", ["", "4", "0xx", "6xx", "4x4", "\uff1404", "404 ", "²00", "x" * 1000])
def test_what_is_no_status_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write a status such as 404"):
        [*numbers_of([text])]
