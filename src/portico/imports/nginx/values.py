"""nginx's times, sizes and names in Portico's words."""

from __future__ import annotations

import re
from typing import Final

_TIME: Final = re.compile(r"(\d+)(ms|s|m|h|d|w|M|y)?")
_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}
_SIZE: Final = re.compile(r"(\d+)([kKmMgG]?)")
_SIZES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
YEAR: Final = 31_536_000


def seconds(text: str) -> float | None:
    """Seconds of a time such as `1m 30s`, `500ms` or `10`; None for what is none."""
    total, at = 0.0, 0
    compact = text.replace(" ", "")
    while at < len(compact):
        found = _TIME.match(compact, at)
        if found is None or len(found[1]) > 12:
            return None
        total += int(found[1]) * _UNITS[found[2] or "s"]
        at = found.end()
    return total if compact else None


def duration(time: float) -> int | str:
    """Seconds as they are written here: `90s`, `1h`, `500ms`."""
    if time != int(time) or time < 1:
        return f"{round(time * 1000)}ms"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if time >= length and time % length == 0:
            return f"{int(time // length)}{unit}"
    return f"{int(time)}s"


def size(text: str) -> int | None:
    """Bytes of a size such as `10m`; None for what is none."""
    found = _SIZE.fullmatch(text)
    if found is None or len(found[1]) > 12:
        return None
    return int(found[1]) * _SIZES[found[2].lower()]


def bytes_text(number: int) -> int | str:
    """Bytes as they are written here: `64KiB`."""
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= length and number % length == 0:
            return f"{number // length}{unit}"
    return number


def field_name(variable: str) -> str:
    """The name of a header field of `http_…`, as it is usually written."""
    return "-".join(part.capitalize() for part in variable.split("_") if part) or variable
