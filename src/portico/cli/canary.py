"""`portico canary`: where a running gateway's canaries are, and what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from portico.cli.completion import canary_names
from portico.cli.console import cell, err, fail, out, print_table, say
from portico.cli.options import AdminOption, ConfigOption, JsonOption, examples
from portico.cli.running import ask
from portico.cli.user import user

canary = typer.Typer(help="The canaries of a running gateway.", no_args_is_help=True)

RouteArgument = Annotated[
    str,
    typer.Argument(metavar="ROUTE", help="The name of the route that has the canary.", autocompletion=canary_names),
]
WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for the history.")]

_COMMANDS: Final = {
    "abort": "Give the new service nothing any more; this stays so until retry.",
    "retry": "Begin an aborted canary again, at its first step.",
    "promote": "Give the new service everything now.",
    "pause": "Stay at this step; errors still abort.",
    "resume": "Go on with a paused canary.",
}


@canary.command("list", epilog=examples("portico canary list", "portico canary list shop --json"))
def list_canaries(
    route: Annotated[
        str | None,
        typer.Argument(
            metavar="ROUTE", help="Only this one, with its history.", show_default=False, autocompletion=canary_names
        ),
    ] = None,
    config: ConfigOption = None,
    admin: AdminOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all canaries, or one of them with what has happened to it."""
    found, of = ask(config, admin, lambda client: client.canaries())
    canaries = [each for each in found["canaries"] if route in (None, each["route"])]
    if as_json:
        typer.echo(json.dumps({**found, "canaries": canaries}, indent=2))
    elif canaries:
        print_table(_table(canaries))
        if route is not None:
            print_table(_history(canaries[0]["history"]))
        if found["shared"] is False:
            say(err, "Redis does not answer: no canary steps up, and each gateway aborts by itself")
    elif route is None:
        say(out, f"no route has a canary in {of}")
    if route is not None and not canaries:
        fail(f"portico: the route {route} has no canary in {of}")


def _table(canaries: Iterable[Mapping[str, Any]]) -> Table:
    columns = ("route", "from", "to", "phase", "share", "step", "requests", "errors", "p99", "waits for")
    table = Table(*columns, box=None, pad_edge=False)
    for each in canaries:
        old, new = (each["counted"][each[side]] for side in ("service", "to"))
        table.add_row(
            cell(each["route"]),
            cell(each["service"]),
            cell(each["to"]),
            each["phase"],
            f"{each['share']:g} %",
            f"{each['step']} of {len(each['steps'])}",
            f"{new['requests']} beside {old['requests']}",
            f"{_part(new)} beside {_part(old)}",
            f"{_time(new['p99'])} beside {_time(old['p99'])}",
            cell(each["waits_for"]),
        )
    return table


def _part(counted: Mapping[str, int]) -> str:
    return f"{100 * counted['errors'] / counted['requests']:.3g} %" if counted["requests"] else "-"


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _history(history: Iterable[Mapping[str, Any]]) -> Table:
    table = Table("when", "who", "what", "step", "share", "why", box=None, pad_edge=False)
    for entry in history:
        when = f"{datetime.fromtimestamp(entry['at']).astimezone():%Y-%m-%d %H:%M:%S}"
        row = (when, cell(entry["who"]), entry["what"], str(entry["step"]), f"{entry['share']:g} %")
        table.add_row(*row, cell(entry["why"]))
    return table


def _command(action: str, text: str) -> Callable[..., None]:
    def command(
        route: RouteArgument,
        why: WhyOption = "",
        config: ConfigOption = None,
        admin: AdminOption = None,
        as_json: JsonOption = False,
    ) -> None:
        found, of = ask(config, admin, lambda client: client.steer_canary(route, action, user(), why))
        if as_json:
            typer.echo(json.dumps(found, indent=2))
            return
        now = found["canary"]
        say(out, f"{route} is {now['phase']}: {now['to']} gets {now['share']:g} % of the requests, in {of}")
        if now["advice"]:
            say(out, now["advice"])

    command.__doc__ = text
    return command


for _name, _text in _COMMANDS.items():
    canary.command(_name, epilog=examples(f"portico canary {_name} shop --why 'what was seen'"))(_command(_name, _text))
