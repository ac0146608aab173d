"""W3C Trace Context (level 2): what `traceparent` and `tracestate` say."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from portico.core.messages import Fields

SAMPLED: Final = 1
RANDOM: Final = 2
"""The flags that are known: the caller may have recorded its span; the right half of the trace's id is random."""

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-[!-~]*)?"
)
"""Version, trace, parent and flags; versions after 00 may have more behind them."""
_SIZE: Final = 55


class TraceContext(NamedTuple):
    """The trace of a request, its caller's span there (both hexadecimal), and those `flags` that are known."""

    trace_id: str
    parent: str
    flags: int
    states: tuple[bytes, ...]
    """The values of `tracestate`, one for each line."""


def trace_context(fields: Fields) -> TraceContext | None:
    """That of a request; None where there is none, more than one, or a malformed one."""
    known = fields.trace
    if known is None:
        known = fields.trace = (_read(fields),)
    context: TraceContext | None = known[0]
    return context


def _read(fields: Fields) -> TraceContext | None:
    line = fields.once(b"traceparent")
    if line is None:
        return None
    value = line[len(b"traceparent:") :].strip()
    match = _TRACEPARENT.fullmatch(value)
    if match is None or (match[1] == b"00" and len(value) != _SIZE):
        return None
    flags = int(match[4], 16) & (SAMPLED | RANDOM)
    return TraceContext(match[2].decode(), match[3].decode(), flags, tuple(fields.all(b"tracestate")))
