"""`portico plan`: what another configuration would change, in words."""

from __future__ import annotations

import gc
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from portico.cli.configured import load
from portico.cli.console import out, say
from portico.cli.kept import kept


class Form(StrEnum):
    """How a plan is printed."""

    TEXT = "text"
    JSON = "json"


def plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The configuration that is to come.")],
    old: Annotated[Path, typer.Option("--from", metavar="FILE", help="The configuration that there is.")],
    form: Annotated[Form, typer.Option("--format", help="How it is printed.")] = Form.TEXT,
) -> None:
    """Say what a new file changes: services, routes, and policies that let more or fewer requests through.

    Exit code 0 if nothing changes, 2 if something does, 1 if one of the files is wrong. How a file is written does not
    matter: defaults that are written out, other words for a duration and another order are no change.
    """
    gc.disable()  # thousands of routes are made, of which none is garbage
    with kept():
        from portico.plan import lines, plan

    before, after = load(old)[0], load(file)[0]
    found = plan(before, after)
    if form is Form.JSON:
        typer.echo(json.dumps([change.as_data() for change in found.changes], indent=2))
    else:
        for line in lines(found):
            say(out, line)
    if found.changes:
        raise typer.Exit(2)
