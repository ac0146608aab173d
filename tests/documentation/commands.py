"""`docs/reference/commands.md`: every command with its arguments and options, from what `--help` shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from typer.main import get_command

from portico.cli.main import app

COMMANDS: Final[Any] = get_command(app)
"""The command `portico`, with all that are below it."""

_HEAD: Final = """\
# Commands

<!-- Written by make docs from what the commands say of themselves: portico COMMAND --help. -->

Those that speak of a running gateway ask its [admin API](admin-api.md).
"""


def text() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_part(name, command) for name, command in _all("portico", COMMANDS))])


def _all(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
    for word, inner in sorted(getattr(command, "commands", {}).items()):
        yield from _all(f"{name} {word}", inner)


def _part(name: str, command: Any) -> str:
    paragraphs = [" ".join(each.split()) for each in (command.help or "").split("\n\n")]
    shown = [each for each in command.params if not each.hidden and each.name != "help"]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    usage = " ".join([name, "[OPTIONS]" if len(arguments) < len(shown) else "", *map(_argument, arguments)])
    lines = [f"## {name}", "", "```text", " ".join(usage.split()), "```", ""]
    lines += [line for paragraph in paragraphs for line in (paragraph, "")]
    if shown:
        lines += ["| | |", "|---|---|", *map(_row, shown), ""]
    return "\n".join(lines)


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name.upper()) + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
        name = ", ".join(f"`{option}{value}`" for option in [*parameter.opts, *parameter.secondary_opts])
    meaning = " ".join((parameter.help or "").split()).replace("|", "\\|")
    if parameter.envvar:
        meaning += f" Or `{parameter.envvar}`."
    if isinstance(parameter.default, (int, float, str)) and parameter.default not in (False, ""):
        meaning += f" Unless said: `{parameter.default}`."
    return f"| {name} | {meaning} |"
