"""`Retry-After` of a response: the backoff that an instance asks for (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Final

from portico.core.messages import Fields

_LONGEST: Final = 30.0
"""The longest backoff in seconds that is accepted: a wrong digit must not keep requests away for days."""


def seconds_asked_for(fields: Fields) -> float:
    """Seconds from now, from a number or a date; 0 where the field is absent or malformed."""
    value = fields.get(b"retry-after")
    if value is None or fields.names.count(b"retry-after") > 1:  # a date has a comma in it: joined, it would be read
        return 0.0
    if value.isdigit():
        return float(min(int(value[:9]), _LONGEST))
    try:
        moment = parsedate_to_datetime(value.decode("ascii")).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(moment - time.time(), 0.0), _LONGEST)
