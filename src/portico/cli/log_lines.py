"""Lines of a log: which are asked for, and how they read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

Line = Mapping[str, Any]

_SHOWN: Final = frozenset(
    (
        *("timestamp", "method", "path", "client_ip", "status_code", "duration_ms", "service", "route", "request_id"),
        *("trace_id", "upstream", "upstream_ms", "bytes_in", "bytes_out", "attempts", "fields", "level", "event"),
    )
)
"""What stands at the beginning of a line, or is left out of it."""


def read(text: str) -> Line | None:
    """A line as data; None where it is no line of Portico's in JSON."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and ("status_code" in line or "event" in line) else None


@dataclass(frozen=True, slots=True)
class Filter:
    """What a line has to be; what is not given is no condition. Events pass where nothing is asked of an exchange."""

    statuses: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    path: str = ""
    client: str = ""
    user: str = ""
    reason: str = ""
    identity: str = ""
    slower: float = 0.0
    errors: bool = False
    checks: list[Callable[[Line], bool]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.checks.extend(self._checks())

    def asked(self) -> dict[str, Any]:
        """The same as a query of the admin API says it."""
        query = {
            "status": self.statuses,
            "service": self.services,
            "route": self.routes,
            "method": self.methods,
            "path": self.path,
            "client_ip": self.client,
            "consumer": self.user,
            "reason": self.reason,
            "id": self.identity,
            "slower": self.slower,
            "errors": "1" if self.errors else "",
        }
        return {name: value for name, value in query.items() if value}

    def passes(self, line: Line) -> bool:
        """Whether it is asked for."""
        if "event" in line:
            return self._passes_event(line)
        return all(check(line) for check in self.checks)

    def _passes_event(self, line: Line) -> bool:
        if self.errors and len(self.checks) == 1:
            return line.get("level") not in ("DEBUG", "INFO")
        return not self.checks

    def _checks(self) -> Iterator[Callable[[Line], bool]]:
        if self.statuses:
            yield lambda line: any(_is_status(line.get("status_code"), each) for each in self.statuses)
        if self.services:
            yield lambda line: line.get("service") in self.services
        if self.routes:
            yield lambda line: line.get("route") in self.routes
        if self.methods:
            yield lambda line: line.get("method") in self.methods
        if self.path:
            yield lambda line: str(line.get("path", "")).startswith(self.path)
        if self.client:
            yield lambda line: line.get("client_ip") == self.client
        if self.user:
            yield lambda line: line.get("user") == self.user
        if self.reason:
            yield lambda line: line.get("reason") == self.reason
        if self.identity:
            yield lambda line: self.identity in (line.get("request_id"), line.get("trace_id"))
        if self.slower:
            yield lambda line: _number(line.get("duration_ms")) >= self.slower * 1000
        if self.errors:
            yield lambda line: _number(line.get("status_code")) >= 500 or line.get("reason") is not None


def readable(line: Line) -> str:
    """One line for people: when, what, how it ended, how long it took, where it went, and what else is to be said."""
    if "event" in line:
        more = _rest(line)
        return " ".join(filter(None, (_time(line), f"{line.get('level', ''):7}", str(line["event"]), more)))
    parts = (
        _time(line),
        f"{line.get('status_code')!s:3}",
        f"{_number(line.get('duration_ms')):8.1f} ms",
        f"{line.get('method')} {line.get('path')}",
        f"→ {line.get('service')}" + (f" {line['upstream']}" if line.get("upstream") else ""),
        f"from {line.get('client_ip')}",
        f"attempts={line['attempts']}" if _number(line.get("attempts")) > 1 else "",
        _rest(line),
        f"id={line.get('request_id')}",
    )
    return " ".join(part for part in parts if part)


def _rest(line: Line) -> str:
    """What else is in it, as `name=value`."""
    more = {name: value for name, value in line.items() if name not in _SHOWN and value is not None}
    fields = line.get("fields")
    if isinstance(fields, dict):
        more |= fields
    return " ".join(f"{name}={value}" for name, value in more.items() if value != "")


def _time(line: Line) -> str:
    """The time of day here, to the millisecond."""
    try:
        moment = datetime.fromisoformat(str(line.get("timestamp")))
    except ValueError:
        return str(line.get("timestamp", ""))
    return moment.astimezone().strftime("%H:%M:%S.%f")[:-3]


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def is_status(text: str) -> bool:
    """Whether it is written as a status (`404`) or a class of them (`5xx`)."""
    return len(text) == 3 and text[0] in "12345" and (text[1:].isdigit() or text[1:].lower() == "xx")


def _is_status(status: object, wanted: str) -> bool:
    return str(status)[:1] == wanted[0] if wanted[1:].lower() == "xx" else str(status) == wanted


def last(lines: Iterable[str], number: int, wanted: Callable[[str], str | None]) -> list[str]:
    """The last of what is made of lines that come in their order backwards; at most so many."""
    found: list[str] = []
    for line in lines:
        if len(found) == number:
            break
        if (text := wanted(line)) is not None:
            found.append(text)
    return found[::-1]
