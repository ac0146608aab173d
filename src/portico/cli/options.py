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
        help=f"The configuration file.  [default: {DEFAULT_CONFIG}]",
    ),
]
AdminOption = Annotated[
    str | None,
    typer.Option("--admin", metavar="HOST:PORT", help="The admin API of the gateway.  [default: gateway.admin]"),
]
