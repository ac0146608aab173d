"""Dates of HTTP (RFC 9110, section 5.6.7)."""

from __future__ import annotations

import pytest

from portico.proxy.cache.dates import format_date, parse_date
from proxy.cache.messages import WALL

LATER = 2544400878.0


@pytest.mark.parametrize(
    "text",
    [
        b"Thu, 18 Aug 2050 02:01:18 GMT",
        b"THU, 18 aUG 2050 02:01:18 gmt",
        b"Thursday, 18-Aug-50 02:01:18 GMT",
        b"Thu Aug 18 02:01:18 2050",
    ],
)
def test_its_three_forms_in_any_case(text: bytes) -> None:
    assert parse_date(text, WALL) == LATER


def test_a_day_of_one_digit_in_the_old_form() -> None:
    assert parse_date(b"Sun Nov  6 08:49:37 1994") == parse_date(b"Sun, 06 Nov 1994 08:49:37 GMT") == 784111777.0


def test_two_digits_of_a_year_are_not_more_than_fifty_years_ahead() -> None:
    assert parse_date(b"Friday, 15-Jan-77 08:00:00 GMT", WALL) == parse_date(b"Fri, 15 Jan 2077 08:00:00 GMT")
    assert parse_date(b"Sunday, 15-Jan-78 08:00:00 GMT", WALL) == parse_date(b"Sun, 15 Jan 1978 08:00:00 GMT")


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"0", b"-1", b"soon", b"Thu, 18 Aug 2050 02:01:18 UTC", b"Thu, 18 Aug 2050 02:01:18 +0000"),
        *(b"Thu, 18 Aug 50 02:01:18 GMT", b"Thu 18 Aug 2050 02:01:18 GMT", b"Thu, 18  Aug  2050 02:01:18 GMT"),
        *(b"Thu, 18-Aug-2050 02:01:18 GMT", b"Thu, 18 Aug 2050 02.01.18 GMT", b"Thu, 18 Aug 2050 2:01:18 GMT"),
        *(b"Thu, 31 Feb 2050 02:01:18 GMT", b"Thu, 18 Aug 2050 25:01:18 GMT", b"Thu, 18 Aug 0000 02:01:18 GMT"),
        *(b"Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT", b"18 Aug 2050 02:01:18 GMT"),
    ],
)
def test_what_is_no_date(text: bytes) -> None:
    assert parse_date(text, WALL) is None


@pytest.mark.parametrize("seconds", [0.0, 784111777.0, WALL, 10_000_039_599.0])
def test_a_date_that_is_written_is_read_again(seconds: float) -> None:
    assert parse_date(format_date(seconds)) == seconds
