"""What happens now: exchanges and events, as they come."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from portico.processes.control.dashboard.page import Context, Page, Visit
from portico.processes.control.live.events import KINDS

_FILTERS = (
    ("route", "Route", "orders"),
    ("service", "Service", "orders"),
    ("method", "Method", "GET"),
    ("status", "Status", "5xx"),
    ("reason", "Reason", "rate_limited"),
    ("consumer", "Consumer", "alice"),
    ("path", "Path begins with", "/api/orders"),
    ("client_ip", "Client", "192.0.2.1"),
    ("slower", "Slower than", "500ms"),
)
"""The filters of exchanges: the parameter, its label, an example."""
_COLUMNS = (
    ("timestamp", "Time", "time"),
    ("status_code", "Status", "status"),
    ("method", "Method", ""),
    ("path", "Path", "mono full"),
    ("route", "Route", ""),
    ("duration_ms", "Took", "ms"),
    ("user", "Consumer", ""),
    ("client_ip", "Client", ""),
    ("reason", "Reason", ""),
)
_EVENT_COLUMNS = (
    ("at", "Time", "time"),
    ("kind", "Kind", ""),
    ("level", "Level", "level"),
    ("text", "What", "full"),
    ("fields", "Of what", "details full"),
)
_FIRST = "0-0"
"""An id before that of every event: all that are kept come first."""
_MOST = 200
"""Rows that stay."""


async def exchanges(visit: Visit) -> Context:
    """The table that our script fills from the stream with these filters."""
    chosen = {name: visit.query[name] for name, _, _ in _FILTERS if visit.query.get(name, "").strip()}
    address = "stream/exchanges" + (f"?{urlencode(chosen)}" if chosen else "")
    return {"filters": _FILTERS, "chosen": chosen, "stream": address, **_table(_COLUMNS)}


async def events(visit: Visit) -> Context:
    """The ring of events, of one kind or all, and then those that come."""
    kind = visit.query.get("kind", "")
    chosen = {"kind": kind} if kind in KINDS else {}
    address = f"stream/events?{urlencode({**chosen, 'after': _FIRST})}"
    return {"kinds": KINDS, "kind": kind, "stream": address, **_table(_EVENT_COLUMNS)}


def _table(columns: Sequence[tuple[str, str, str]]) -> Context:
    return {"columns": columns, "columns_json": msgspec.json.encode(columns).decode(), "rows_at_most": _MOST}


EXCHANGES = Page("exchanges", "Exchanges", exchanges, is_live=False)
EVENTS = Page("events", "Events", events, is_live=False)
