"""Why a certificate was not to be had, and when it is tried again."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from random import uniform
from typing import Final

RATE_LIMITED: Final = "rateLimited"
UNREACHABLE: Final = "unreachable"
UNUSABLE: Final = "unusable"
GONE: Final = "gone"
FAULT: Final = "fault"
"""Of this gateway's own."""
NO_ACCOUNT: Final = "accountDoesNotExist"

_SOON: Final = frozenset({UNREACHABLE, GONE, NO_ACCOUNT, "badNonce", "serverInternal"})
"""What is likely to pass by itself, and costs the authority little."""
PASSING: Final = _SOON | {RATE_LIMITED}
"""What says nothing of the order."""
_FIRST_SOON, _LONGEST_SOON = 1.0, 300.0
_FIRST, _LONGEST = 300.0, 6 * 3600.0
"""Seconds after the first failure, and at most, with twice as many after each.

Of failed proofs an authority allows few: Let's Encrypt five an hour for each name, and these are four.
"""
_RATE_LIMITED: Final = 3600.0
"""Seconds for which one waits that says nothing of when."""
_BELIEVED: Final = 7 * 86400.0
"""Seconds for which one is believed that says when."""
_JITTER: Final = 0.25
"""The part by which a pause is shorter or longer: gateways that fail together do not come back together."""


class TroubleError(Exception):
    """Something that an authority, or the way to it, refuses: the message is for the operator.

    `kind` is the authority's word for it (RFC 8555, section 6.7), or one of the above. `retry_after` is what it said,
    in seconds. With `ends_order` the order comes to nothing.
    """

    def __init__(self, kind: str, text: str, retry_after: float | None = None, *, ends_order: bool = False) -> None:
        super().__init__(text)
        self.kind = kind
        self.retry_after = retry_after
        self.ends_order = ends_order


def pause_after(trouble: TroubleError, failures: int) -> float:
    """Seconds until the next try, after so many in a row that failed; never before what the authority has said."""
    if trouble.retry_after is not None:
        return min(trouble.retry_after, _BELIEVED) * uniform(1.0, 1.02)  # noqa: S311
    if trouble.kind == RATE_LIMITED:
        return _RATE_LIMITED * uniform(1.0, 1.0 + _JITTER)  # noqa: S311
    first, longest = (_FIRST_SOON, _LONGEST_SOON) if trouble.kind in _SOON else (_FIRST, _LONGEST)
    return min(first * 2.0 ** min(failures - 1, 32), longest) * uniform(1.0 - _JITTER, 1.0 + _JITTER)  # noqa: S311


def seconds_of(retry_after: str | None) -> float | None:
    """What `Retry-After` says, in seconds from now (RFC 9110, section 10.2.3); None for nothing that it can mean."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None
