"""What `Retry-After` asks for."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from portico.core.messages import Fields
from portico.upstreams.retry_after import seconds_asked_for


def asked_for(*values: str) -> float:
    lines = [b"Retry-After: " + value.encode("latin-1") for value in values]
    return seconds_asked_for(Fields([b"retry-after"] * len(lines), lines))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("30", 30),
        ("31", 30),
        ("9" * 5000, 30),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("", 0),
        ("\u00b2", 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30),
        ("Fri, 99 Dec 9999 23:59:59 GMT", 0),
    ],
)
def test_seconds_and_dates(value: str, seconds: float) -> None:
    assert asked_for(value) == seconds


def test_a_date_that_is_near() -> None:
    assert 8 < asked_for(formatdate(time.time() + 10, usegmt=True)) <= 10


def test_nothing_asked_for() -> None:
    assert asked_for() == 0


LATE = "Fri, 31 Dec 9999 23:59:59 GMT"


@pytest.mark.parametrize("values", [("7", "9"), ("7", "7"), ("soon", "7"), ("7", ""), (LATE, "7"), (LATE, LATE)])
def test_what_is_said_twice_cannot_be_understood(values: tuple[str, str]) -> None:
    assert asked_for(*values) == 0
