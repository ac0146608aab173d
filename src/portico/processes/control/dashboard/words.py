"""Figures as people read them: the filters of the templates."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

NOTHING: Final = "\N{EN DASH}"
_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def number(value: Any) -> str:
    """`12,345`; a fraction with as many digits as mean something."""
    if not isinstance(value, int | float):
        return NOTHING
    if isinstance(value, int) or value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def size(value: Any) -> str:
    """Bytes: `1.5 MiB`."""
    if not isinstance(value, int | float):
        return NOTHING
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def latency(value: Any) -> str:
    """Milliseconds: `0.87 ms`, `12 ms`, `1.25 s`."""
    if not isinstance(value, int | float):
        return NOTHING
    if value < 1000:
        return f"{value:.2g} ms" if value < 10 else f"{value:.0f} ms"
    return f"{value / 1000:.2f} s" if value < 60_000 else span(value / 1000)


def span(value: Any) -> str:
    """How long something lasts, in its two largest units: `2 d 3 h`."""
    if not isinstance(value, int | float):
        return NOTHING
    left, said = int(abs(value)), []
    for unit, length in _UNITS:
        if left >= length:
            said.append(f"{left // length} {unit}")
            left %= length
        elif said:
            break
    return " ".join(said[:2]) or "0 s"


def percent(share: Any) -> str:
    """A share of 1: `0.4 %`."""
    if not isinstance(share, int | float):
        return NOTHING
    value = share * 100
    return f"{value:.0f} %" if value in (0, 100) or value >= 10 else f"{value:.2g} %"


def share(part: Any, whole: Any) -> str:
    """`0.4 % of requests`, of two rates."""
    if not isinstance(part, int | float) or not isinstance(whole, int | float):
        return ""
    return f"{percent(part / whole if whole else 0.0)} of requests"


def moment_of(value: Any) -> float | None:
    """Seconds since 1970 of such, or of a time as RFC 3339 writes it."""
    if isinstance(value, int | float):
        return float(value)
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None


def ago(value: Any) -> str:
    """`3 min ago`, `in 2 d 3 h`, `now`."""
    at = moment_of(value)
    if at is None:
        return NOTHING
    passed = time.time() - at
    if abs(passed) < 1:
        return "now"
    return f"{span(passed)} ago" if passed > 0 else f"in {span(passed)}"


def clock(value: Any) -> str:
    """`2026-11-30 21:59:21 UTC`."""
    at = moment_of(value)
    return NOTHING if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def place(where: Any) -> str:
    """`portico.yaml:12` of a file and line."""
    return str(where or "").rpartition("/")[2]


def plain(value: Any) -> str:
    """Something of a configuration on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {plain(each)}" for key, each in value.items()) or "{}"
    if isinstance(value, list | tuple):
        return ", ".join(plain(each) for each in value) or "[]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


FILTERS: Final[dict[str, Callable[..., str]]] = {
    "number": number,
    "size": size,
    "latency": latency,
    "span": span,
    "percent": percent,
    "ago": ago,
    "clock": clock,
    "place": place,
    "plain": plain,
}
