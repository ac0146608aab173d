"""What `portico status --watch` shows."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from portico.cli.screen import Screen, Seen, fitted, latency, number, whole

QUIET: dict[str, Any] = {
    **dict.fromkeys(("rate", "error_rate", "limited_rate"), 0.0),
    **dict.fromkeys(("p50", "p95", "p99")),
    "in_flight": 0,
    "errors": {},
}
BUSY = {**QUIET, "rate": 1234.5, "in_flight": 12, "p50": 3.1, "p95": 12.0, "p99": 1500.0}
FAILING = {**QUIET, "rate": 2.0, "error_rate": 0.05, "limited_rate": 20.0, "errors": {"upstream_refused": 0.05}}


def seen(services: dict[str, dict[str, Any]], /, **more: Any) -> Seen:
    named = [{"name": name, **figures} for name, figures in services.items()]
    live = {"at": 0.0, "workers": 2, "total": FAILING, "services": named, "services_left_out": 0}
    return Seen("127.0.0.1:9000", live, **more)


def text(shown: Seen, width: int = 80, height: int = 24) -> list[str]:
    return [line.plain.rstrip() for line in fitted(shown, width, height)]


def instance(status: str, **workers: int) -> dict[str, Any]:
    return {"status": status, "workers": workers}


def test_a_screen_of_80_columns() -> None:
    services = [
        {"name": "shop", "instances": [instance("healthy", active=2), instance("unhealthy")]},
        {"name": "shop@v2", "instances": [instance("unchecked", ejected=2)]},
    ]
    status = {"generation": 7, "refused": "portico.yaml:3:1: wrong"}
    fullest = {"key": "10.0.0.1", "of": "rate", "left": 0.4, "allowed": 20, "whole_in": 19.6, "worker": None}
    limits = [{"name": "rate", "scope": "gateway", "keys": [fullest]}, {"name": "q", "scope": "route:a", "keys": []}]
    lines = text(seen({"shop": BUSY, "users": FAILING}, services=services, status=status, limits=limits))
    assert lines[0][:-8] == "portico  127.0.0.1:9000  generation 7  2 workers                        "
    assert lines[1:] == [
        "",
        "service                  up   req/s   now     p50     p95     p99  errors    429",
        "users                           2.0     0       -       -       -    0.05   20.0",
        "shop                    1/3    1234    12   3.1ms    12ms    1.5s       0      0",
        "all                             2.0     0       -       -       -    0.05   20.0",
        "",
        "why: upstream_refused 0.05/s",
        "limit rate of gateway: 10.0.0.1 has 0 of 20 left, whole in 20 s",
        "the file was refused when it was last read: portico.yaml:3:1: wrong",
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 132])
@pytest.mark.parametrize("height", [3, 10, 24])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    many = {f"a-service-with-a-long-name-{number}": BUSY for number in range(50)}
    lines = text(seen({"x\x1b[2J": FAILING} | many, stale="it does not answer " * 9), width, height)
    assert max(map(len, lines)) <= width
    assert "\x1b" not in "".join(lines)
    if height >= 10:
        assert len(lines) <= height
        assert lines[3].startswith("service")
        assert lines[4].startswith("x\\x1b")  # what fails comes first
        assert re.search(r"\nand \d+ more\nall ", "\n".join(lines))


def test_a_console_that_changes_its_size_gets_another_screen() -> None:
    screen = Screen(seen({"shop": BUSY}))
    for width in (100, 50):
        console = Console(width=width, height=24, file=io.StringIO())
        with console.capture() as captured:
            console.print(screen)
        assert ("p95" in captured.get()) == (width == 100)


def test_a_gateway_that_does_not_answer_any_more_is_stale() -> None:
    assert text(seen({}, stale="no gateway answers"))[1] == "stale: no gateway answers"


def test_what_is_no_screen_gets_all_names_in_full() -> None:
    long = "s" * 90
    lines = [line.plain for line in whole(seen({long: BUSY}))]
    assert lines[3].startswith(f"{long} ")


@pytest.mark.parametrize(
    ("rate", "words"),
    [(0, "0"), (0.001, "<0.01"), (0.03, "0.03"), (7.0, "7.0"), (99.5, "99.5"), (1234.4, "1234"), (123_456, "123.5k")],
)
def test_rates(rate: float, words: str) -> None:
    assert number(rate) == words


@pytest.mark.parametrize(("time", "words"), [(None, "-"), (0.84, "0.8ms"), (12.3, "12ms"), (1530, "1.5s")])
def test_latencies(time: float | None, words: str) -> None:
    assert latency(time) == words
