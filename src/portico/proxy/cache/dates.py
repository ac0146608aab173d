"""Dates of HTTP (RFC 9110, section 5.6.7)."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Final

from portico.core.caches import remembered

_MONTHS: Final = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_DAY: Final = rb"(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY: Final = rb"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH: Final = rb"(?P<month>%b)" % b"|".join(_MONTHS)
_TIME: Final = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_FORMS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rb"%b, (?P<day>\d\d) %b (?P<year>\d{4}) %b GMT" % (_DAY, _MONTH, _TIME),
        rb"%b, (?P<day>\d\d)-%b-(?P<year>\d\d) %b GMT" % (_LONG_DAY, _MONTH, _TIME),
        rb"%b %b (?P<day>[ \d]\d) %b (?P<year>\d{4})" % (_DAY, _MONTH, _TIME),
    )
)
"""The preferred form, that of RFC 850, and that of asctime(): case means nothing, all else is as written there."""
_LONGEST: Final = 40
_SHORT_YEAR: Final = b"-"
"""What only the form has whose years have two digits."""


def parse_date(text: bytes, wall: float = 0.0) -> float | None:
    """Seconds since the epoch of a date in one of its three forms; None where it is none.

    `wall` is the time now, by which two digits of a year are read: not more than 50 years ahead of it; 0: by the clock.
    """
    if len(text) > _LONGEST:
        return None
    return _seconds(text, time.gmtime(wall or None).tm_year if _SHORT_YEAR in text else 0)


@remembered(512)
def _seconds(text: bytes, this_year: int) -> float | None:
    match = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    if match is None:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        latest = this_year + 50
        year = latest - (latest - year) % 100
    month = _MONTHS.index(match["month"].lower()) + 1
    day, hour, minute, second = (int(match[name]) for name in ("day", "hour", "minute", "second"))
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC).timestamp()
    except ValueError:  # there is no such day or hour
        return None


def format_date(seconds: float) -> bytes:
    """A date in the preferred form."""
    return formatdate(int(seconds), usegmt=True).encode()
