"""What commands print, and how they end: lines and tables of text, in which nothing steers the terminal."""

from __future__ import annotations

from collections.abc import Sized
from functools import lru_cache
from typing import Any, NoReturn

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

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
    """A row is a line, however wide: text cut to fit is useless, and scripts read it, too.

    It is as Rich would print it, which takes a millisecond for each row.
    """
    shown = lru_cache(_shown)
    columns = [[_head(column.header), *map(shown, map(str, column.cells))] for column in table.columns]
    widths = [max(width for _, width in column) for column in columns]
    for row in zip(*columns, strict=True):
        cells = (text + " " * (most - width) for (text, width), most in zip(row, widths, strict=True))
        out.file.write("  ".join(cells) + "\n")


def _shown(markup: str) -> tuple[str, int]:
    """A cell as it is printed, and the columns of the terminal that it takes."""
    return (
        _printed(Text.from_markup(markup, emoji=False))
        if "[" in markup or "\\" in markup
        else (markup, cell_len(markup))
    )


def _head(text: object) -> tuple[str, int]:
    return _printed(Text(str(text), style="table.header"))


def _printed(text: Text) -> tuple[str, int]:
    with out.capture() as captured:
        out.print(text, end="")
    return captured.get(), text.cell_len


def fail(message: str) -> NoReturn:
    """End the command with exit code 1, and say why."""
    say(err, message)
    raise typer.Exit(1)


def fail_usage(message: str) -> NoReturn:
    """The same with exit code 2: what was typed is wrong."""
    say(err, message)
    raise typer.Exit(2)
