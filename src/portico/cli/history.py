"""`portico history`: the configurations that a running gateway had."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from portico.cli.console import cell, err, fail_usage, out, print_table, say
from portico.cli.options import AdminOption, ConfigOption, JsonOption
from portico.cli.running import ask


def history(
    number: Annotated[
        int | None,
        typer.Argument(metavar="N", min=1, help="Only this one, with all that it changed.", show_default=False),
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last ones.")] = 20,
    text: Annotated[bool, typer.Option("--text", help="Print the file as it was then, secrets masked.")] = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the configurations that a running gateway had: when, by whom, why, and what each changed.

    The one that is in force has a star before its number, which portico rollback takes.
    """
    if number is not None:
        found, _ = ask(config, admin, lambda client: client.history_entry(number))
        _show_entry(found, text=text, as_json=as_json)
        return
    if text:
        fail_usage("portico: --text needs the number of one: portico history N --text")
    (found, tag), of = ask(config, admin, lambda client: (client.history(), client.configuration()[1]))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if not found["entries"]:
        say(out, f"there is no history of {of}")
    else:
        print_table(_table(found["entries"][:lines], tag))
    if found.get("not_kept"):
        say(err, f"it is not kept over a restart: {found['not_kept']}")


def _table(entries: Iterable[Mapping[str, Any]], tag: str) -> Table:
    table = Table("", "when", "by", "what", "changes", "why", box=None, pad_edge=False)
    for each in entries:
        now = each["tag"] == tag and each["state"] == "applied"
        tag = "" if now else tag  # an earlier one may have had the same
        what = each["action"] if each["state"] == "applied" else f"{each['action']}, {each['state']}"
        table.add_row(
            f"{'*' if now else ' '} {each['number']}",
            _when(each),
            cell(_who(each)),
            cell(what),
            cell(each["summary"].partition(": ")[2] if each["changes"] else ""),
            cell(each["why"]),
        )
    return table


def _show_entry(entry: Mapping[str, Any], *, text: bool, as_json: bool) -> None:
    from portico.cli.changes import change_of, show

    if as_json:
        typer.echo(json.dumps(entry, indent=2))
    elif text:
        typer.echo(entry["text"], nl=not entry["text"].endswith("\n"))
    else:
        why = f": {entry['why']}" if entry["why"] else ""
        say(out, f"{entry['number']}: {entry['action']} by {_who(entry)}, {_when(entry)}, {entry['state']}{why}")
        show([*map(change_of, entry["changes"])])


def _who(entry: Mapping[str, Any]) -> str:
    """Whose token it was, and who says that they used it."""
    return " ".join(filter(None, (entry["who"], f"({entry['user']})" if entry["user"] else ""))) or "-"


def _when(entry: Mapping[str, Any]) -> str:
    return f"{datetime.fromisoformat(entry['when']).astimezone():%Y-%m-%d %H:%M:%S}"
