"""`portico render`: the configuration in another system's words."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from portico.cli.configured import load, named_file
from portico.cli.console import count, err, fail, say
from portico.cli.options import ConfigOption, FileArgument


class Target(StrEnum):
    """Whose words."""

    NGINX = "nginx"
    ENVOY = "envoy"


def render(
    context: typer.Context,
    target: Annotated[Target, typer.Argument(help="Whose words.")],
    file: FileArgument = None,
    config: ConfigOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where to write the files, in place of stdout.")
    ] = None,
    lossy: Annotated[bool, typer.Option("--lossy", help="End with 0 although something could not be said.")] = False,
) -> None:
    """Print the same routes as a configuration of nginx or Envoy; exit code 1 if it cannot say all of them.

    What it cannot say is listed on stderr, with file and line.
    """
    from portico.render import TARGETS

    loaded, _ = load(named_file(context, file, config))
    rendering = TARGETS[target.value](loaded)
    if output is None:
        typer.echo("\n".join(rendering.files.values()), nl=False)
    else:
        _write(output, rendering.files)
    for loss in rendering.losses:
        say(err, str(loss))
    if rendering.losses and not lossy:
        fail(f"portico: {count(rendering.losses, 'thing')} could not be said; --lossy ends with 0 all the same")


def _write(directory: Path, files: dict[str, str]) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text)
    except OSError as error:
        fail(f"portico: {directory}: {error.strerror}")
