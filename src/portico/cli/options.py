"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_CONFIG = "portico.yaml"

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="PORTICO_CONFIG",
        readable=False,  # what cannot be read is reported as every wrong file is
        help=f"The configuration file, in place of {DEFAULT_CONFIG}.",
    ),
]
AdminOption = Annotated[
    str | None,
    typer.Option("--admin", metavar="HOST:PORT", help="The admin API of the gateway, in place of gateway.admin."),
]
FileArgument = Annotated[
    Path | None, typer.Argument(metavar="FILE", readable=False, help="The configuration file, as with --config.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the response of the admin API.")]


def examples(*commands: str) -> str:
    """What stands below the help of a command."""
    return "\n\n".join(["For example:", *commands])
