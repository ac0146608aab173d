"""What commands print, and how they end: lines and tables of text, in which nothing steers the terminal."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from portico.core.printing import printable

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(console: Console, message: str) -> None:
    """Print lines of text; nothing in them is markup or steers the terminal."""
    console.print(printable(message, "\n"), style=None, markup=False)


def cell(text: Any) -> str:
    """The same for a cell of a table."""
    return escape(printable(str(text)))


def count(things: Sized, name: str) -> str:
    """How many there are: `2 services`."""
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


def print_table(table: Table) -> None:
    """A row is a line, however wide: text cut to fit is useless, and scripts read it, too."""
    out.width = max(out.width, Measurement.get(out, out.options.update(max_width=10_000), table).maximum)
    out.print(table)


def fail(message: str) -> NoReturn:
    """End the command with exit code 1, and say why."""
    say(err, message)
    raise typer.Exit(1)


def fail_usage(message: str) -> NoReturn:
    """The same with exit code 2: what was typed is wrong."""
    say(err, message)
    raise typer.Exit(2)
