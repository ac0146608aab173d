"""What commands print."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from typer import Exit

from portico.cli import console, services

NASTY = "a\x1b]0;title\x07\x00b\rc\x9bd [red]e[/]"
SHOWN = r"a\x1b]0;title\x07\x00b\rc\x9bd [red]e[/]"


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What goes to either stream of a terminal."""
    stream = io.StringIO()
    for name in ("out", "err"):
        own = Console(file=stream, highlight=False, soft_wrap=True, force_terminal=True, color_system=None)
        monkeypatch.setattr(console, name, own)
    return stream


def test_an_error_is_text(printed: io.StringIO) -> None:
    with pytest.raises(Exit):
        console.fail(f"first\n{NASTY}")
    assert printed.getvalue() == f"first\n{SHOWN}\n"


@pytest.mark.parametrize("colours", [None, "256"])
def test_a_table_is_as_rich_would_print_it(monkeypatch: pytest.MonkeyPatch, colours: Any) -> None:
    """But for its headings, whose spaces are not bold, and names of emoji, which stay what they are."""
    table = Table("service", "", "héader 日本", "état", box=None, pad_edge=False)
    for name in ("a", "a long [x] name\\", "日本"):
        table.add_row(console.cell(name), "[green]healthy[/], [red]down[/]", "", console.cell("[dim]é[/]"))
    streams = io.StringIO(), io.StringIO()
    consoles = [
        Console(file=each, soft_wrap=True, force_terminal=True, color_system=colours, width=200) for each in streams
    ]
    monkeypatch.setattr(console, "out", consoles[0])
    console.print_table(table)
    consoles[1].print(table)
    bold = ("\x1b[1m", "\x1b[0m")
    (head, *rows), (rich_head, *rich_rows) = (each.getvalue().splitlines() for each in streams)
    assert rows == rich_rows
    for mark in bold:
        head, rich_head = head.replace(mark, ""), rich_head.replace(mark, "")
    assert head == rich_head
    assert len(rows) == 3


def test_what_a_registry_says_is_text(printed: io.StringIO) -> None:
    instance: dict[str, Any] = {"url": "http://[fd00::1]:8001", "weight": 1, "status": "unhealthy", "source": "redis"}
    listed: list[dict[str, Any]] = [
        {"name": NASTY, "instances": [{**instance, "error": NASTY}, {**instance, "url": NASTY}]},
        {"name": NASTY, "instances": []},
    ]
    console.print_table(services._services_table(listed))
    text = printed.getvalue()
    assert text.count(SHOWN) == 5
    assert "http://[fd00::1]:8001" in text
    assert text.replace("\n", "").isprintable()
