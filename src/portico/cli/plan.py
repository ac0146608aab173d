"""`portico plan`: what another configuration would change, in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portico.cli.apply import refuse
from portico.cli.configured import load, text_of
from portico.cli.console import err, fail, say
from portico.cli.options import AdminOption, ConfigOption
from portico.cli.running import gateway_at
from portico.core.imports import kept

if TYPE_CHECKING:
    from portico.plan import Change


class Form(StrEnum):
    """How a plan is printed."""

    TEXT = "text"
    JSON = "json"


def plan(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The configuration that is to come, or - for standard input.")
    ],
    old: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Compare it with this one, in place of the running gateway's."),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="How it is printed.")] = Form.TEXT,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> None:
    """Say what a file changes in the running gateway: services, routes, and policies that let more or fewer through.

    Exit code 0 if nothing changes, 2 if something does, 1 if the file is wrong or no gateway answers. How a file is
    written does not matter: defaults that are written out, other words for a duration and another order are no change.
    """
    changes = _of_files(old, file) if old is not None else _of_gateway(file, config, admin)
    from portico.cli.changes import show

    if form is Form.JSON:
        typer.echo(json.dumps([change.as_data() for change in changes], indent=2))
    else:
        show(changes)
    if changes:
        raise typer.Exit(2)


def _of_files(old: Path, new: Path) -> Sequence[Change]:
    with kept():
        from portico.core.slices import collecting_later
        from portico.plan import plan

    with collecting_later():
        before, after = load(old)[0], load(new)[0]
        return plan(before, after).changes


def _of_gateway(file: Path, config: Path | None, admin: str | None) -> Sequence[Change]:
    from portico import __version__
    from portico.cli.admin_client import AdminError, RefusedError
    from portico.cli.changes import renamed

    text = text_of(file)
    client = gateway_at(config, admin)
    served: Path | None = None
    try:
        status = client.status()
        served = Path(status["config"]) if status["config"] else None
        if status["version"] != __version__:
            say(err, f"note: the gateway is Portico {status['version']}, and its defaults count; this is {__version__}")
        return renamed(client.plan(text)["changes"], served, str(file))
    except RefusedError as error:
        refuse(error, served, str(file))
    except AdminError as error:
        fail(f"portico: {error} --from FILE compares with a file")
