"""`portico dump`: the configuration that a running gateway has."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from portico.cli.console import fail
from portico.cli.options import AdminOption, ConfigOption
from portico.cli.running import described, gateway_at


class Form(StrEnum):
    """How a configuration is printed."""

    YAML = "yaml"
    JSON = "json"


def dump(
    form: Annotated[Form, typer.Option("--format", help="How it is printed.")] = Form.YAML,
    as_file: Annotated[
        bool, typer.Option("--file", help="The file as it is written, comments and all, in place of what it comes to.")
    ] = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> None:
    """Print the configuration that a running gateway serves by, with what is from the environment and other files.

    It is a configuration itself, which portico plan and portico apply take. Secrets are not printed: ******** in such a
    file is the one in force, and ${NAME} stays.
    """
    from portico import __version__
    from portico.cli.admin_client import AdminError
    from portico.render.yaml_text import document

    client = gateway_at(config, admin)
    try:
        if as_file:
            text, tag = client.configuration_text()
        else:
            found, tag = client.configuration()
            of = f"{described(client, client.file())}, tag {tag.strip(chr(34))}"
            head = f"Portico {__version__}: {of}"
            text = json.dumps(found, indent=2) if form is Form.JSON else document(found, head, spaced=True)
    except AdminError as error:
        fail(f"portico: {error}")
    typer.echo(text, nl=not text.endswith("\n"))
