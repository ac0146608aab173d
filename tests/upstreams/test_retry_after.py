"""What `Retry-After` asks for."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from portico.core.messages import Fields
from portico.upstreams.retry_after import seconds_asked_for


def asked_for(value: str) -> float:
    return seconds_asked_for(Fields([b"retry-after"], [b"Retry-After: " + value.encode("latin-1")]))


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
    assert seconds_asked_for(Fields([], [])) == 0
