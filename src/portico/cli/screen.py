"""What `portico status --watch` shows: the figures of the last seconds, in as many columns and lines as there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from portico.cli.status_words import problems_of
from portico.core.printing import printable

_NARROWEST: Final = 14
"""Characters of a service's name that are shown before a column is left out."""
_REASONS: Final = 4
_LIMITS: Final = 3
_UNUSABLE: Final = frozenset(("ejected", "down", "unreachable"))
"""States in which an instance gets nothing from a worker."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a gateway has answered last: figures, services, status and limits, and why it answers no more, if so."""

    where: str
    live: Mapping[str, Any]
    services: Sequence[Mapping[str, Any]] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    limits: Sequence[Mapping[str, Any]] = ()
    stale: str = ""


@dataclass(frozen=True, slots=True)
class _Column:
    head: str
    width: int
    """With a space before it."""
    importance: int
    """Those with the least are left out first where a screen is narrow."""

    def of(self, figures: Mapping[str, Any], up: tuple[int, int] | None) -> tuple[str, str]:
        """Its text and style for a service."""
        match self.head:
            case "up":
                return ("", "") if up is None else (f"{up[0]}/{up[1]}", "red" if up[0] < up[1] else "")
            case "req/s":
                return number(figures["rate"]), ""
            case "now":
                return str(figures["in_flight"]), ""
            case "errors":
                return number(figures["error_rate"]), "red" if figures["error_rate"] else ""
            case "429":
                return number(figures["limited_rate"]), "yellow" if figures["limited_rate"] else ""
        return latency(figures[self.head]), ""


_COLUMNS: Final = (
    _Column("up", 6, 5),
    _Column("req/s", 8, 7),
    _Column("now", 6, 2),
    _Column("p50", 8, 3),
    _Column("p95", 8, 1),
    _Column("p99", 8, 6),
    _Column("errors", 8, 8),
    _Column("429", 7, 4),
)


class Screen:
    """What is seen of a gateway, fitted to the console whenever that is drawn."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("\n").join(fitted(self.seen, options.max_width, options.height or console.height))


def fitted(seen: Seen, width: int, height: int) -> list[Text]:
    """All lines, none wider than `width`; where there is no room for all services, the busiest of them."""
    head, foot = _head(seen, width), [*_foot(seen)]
    rows = sorted(seen.live["services"], key=_unwell)
    room = max(1, height - len(head) - len(foot) - 2)
    left_out = seen.live["services_left_out"]
    if len(rows) + (left_out > 0) > room:
        left_out += len(rows) - (room - 1)
        rows = sorted(rows, key=_liveliness)[: room - 1]
    lines = [*head, *_table(seen, rows, left_out, width), *foot]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def whole(seen: Seen) -> list[Text]:
    """All lines with all services, as wide as their names: for what is no screen."""
    names = [len(printable(each["name"])) for each in seen.live["services"]]
    width = max(80, max(names, default=0) + sum(column.width for column in _COLUMNS))
    return fitted(seen, width, len(names) + 1000)


def _unwell(figures: Mapping[str, Any]) -> bool:
    """Those with errors come first, the others stay in the order of the file."""
    return not figures["error_rate"]


def _liveliness(figures: Mapping[str, Any]) -> tuple[float, float]:
    return -figures["error_rate"], -figures["rate"]


def _head(seen: Seen, width: int) -> list[Text]:
    at = datetime.fromtimestamp(seen.live["at"]).astimezone().strftime("%H:%M:%S")
    parts = [seen.where]
    if "generation" in seen.status:
        parts.append(f"generation {seen.status['generation']}")
    workers = seen.live["workers"]
    parts.append(f"{workers} worker{'s' * (workers != 1)}")
    first = Text(f"portico  {'  '.join(parts)}", "bold")
    first.truncate(max(0, width - 10), overflow="ellipsis", pad=True)
    lines = [first + Text(f"  {at}", "")]
    if seen.stale:
        lines.append(Text(f"stale: {printable(seen.stale)}", "bold red"))
    return [*lines, Text()]


def _table(seen: Seen, rows: Sequence[Mapping[str, Any]], left_out: int, width: int) -> Iterator[Text]:
    columns = [*_COLUMNS]
    while len(columns) > 1 and width - sum(column.width for column in columns) < _NARROWEST:
        columns.remove(min(columns, key=lambda column: column.importance))
    name = max(1, width - sum(column.width for column in columns))
    yield Text("service".ljust(name)[:name] + "".join(column.head.rjust(column.width) for column in columns), "dim")
    up = _usable(seen.services)
    for figures in rows:
        yield _row(figures["name"], name, columns, figures, up.get(figures["name"]))
    if left_out:
        yield Text(f"and {left_out} more", "dim")
    yield _row("all", name, columns, seen.live["total"], None, "bold")


def _row(
    called: str,
    width: int,
    columns: Sequence[_Column],
    figures: Mapping[str, Any],
    up: tuple[int, int] | None,
    style: str = "",
) -> Text:
    line = Text(printable(called), style)
    line.truncate(width, overflow="ellipsis", pad=True)
    for column in columns:
        text, own = column.of(figures, up)
        line.append(text.rjust(column.width), own or style)
    return line


def _usable(services: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """The instances of each service, its versions' too, that get requests, and all of them."""
    found: dict[str, tuple[int, int]] = {}
    for service in services:
        name = service["name"].partition("@")[0]
        some, all_ = found.get(name, (0, 0))
        instances = service["instances"]
        found[name] = some + sum(map(_is_usable, instances)), all_ + len(instances)
    return found


def _is_usable(instance: Mapping[str, Any]) -> bool:
    states = instance.get("workers") or {}
    return instance["status"] != "unhealthy" and not (states and states.keys() <= _UNUSABLE)


def _foot(seen: Seen) -> Iterator[Text]:
    """What is wrong, in words."""
    lines = [*_reasons(seen.live), *_limits(seen.limits), *(Text(line, "red") for line in problems_of(seen.status))]
    if lines:
        yield Text()
        yield from (Text(printable(line.plain), line.style) for line in lines)


def _reasons(live: Mapping[str, Any]) -> Iterator[Text]:
    errors = sorted(live["total"]["errors"].items(), key=lambda each: -each[1])
    if errors:
        said = [f"{reason} {number(rate)}/s" for reason, rate in errors[:_REASONS] if rate]
        more = len(errors) - len(errors[:_REASONS])
        yield Text(f"why: {', '.join(said)}{f' and {more} more' if more else ''}", "yellow")


def _limits(limits: Sequence[Mapping[str, Any]]) -> Iterator[Text]:
    """Those of which least is left for somebody."""
    used = [(each["keys"][0], each) for each in limits if each["keys"]]
    for key, limit in sorted(used, key=lambda pair: pair[0]["left"] / max(1, pair[0]["allowed"]))[:_LIMITS]:
        period = "" if key["of"] == "rate" else f" a {key['of']}"
        left = f"{key['left']:.0f} of {key['allowed']}{period} left"
        whose = f"{key['key'] or 'nobody'} has {left}, whole in {key['whole_in']:.0f} s"
        yield Text(f"limit {limit['name']} of {limit['scope']}: {whose}", "yellow" if key["left"] < 1 else "dim")


def number(rate: float) -> str:
    """A rate in seven characters at most: `0`, `0.03`, `12.5`, `1234`, `12.3k`."""
    if rate == 0:
        return "0"
    if rate < 100:
        return f"{rate:.1f}" if rate >= 0.1 else f"{rate:.2f}" if rate >= 0.01 else "<0.01"
    return f"{rate:.0f}" if rate < 10_000 else f"{rate / 1000:.1f}k"


def latency(milliseconds: float | None) -> str:
    """A time in seven characters at most: `-`, `0.8ms`, `12ms`, `1.5s`."""
    if milliseconds is None:
        return "-"
    if milliseconds < 10:
        return f"{milliseconds:.1f}ms"
    return f"{milliseconds:.0f}ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f}s"
