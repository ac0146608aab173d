"""Commands that write what one begins with: `portico init` a configuration, `portico plugin new` a package."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from portico.cli.console import fail, out, say
from portico.cli.options import DEFAULT_CONFIG, ConfigOption, examples

plugin = typer.Typer(help="Policies of your own, in Python.", no_args_is_help=True)


def init(
    services: Annotated[list[str] | None, typer.Argument(metavar="NAME=URL", help="Services to begin with.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write a commented configuration file to start from; one that is there stays as it is."""
    from portico.cli.init import services_of, write_starting_file

    path = config or Path(DEFAULT_CONFIG)
    try:
        write_starting_file(path, services_of(services or ()))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME=URL") from error
    except FileExistsError:
        fail(f"portico: {path} is there already and stays as it is; name another file with --config FILE")
    except OSError as error:
        fail(f"portico: {path} cannot be written: {error.strerror or error}")
    say(out, f"{path} is written: portico check looks at it, portico run starts the gateway")


@plugin.command(epilog=examples("portico plugin new block-old-clients"))
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Words with dashes, such as block-old-clients.")],
    directory: Annotated[
        Path | None,
        typer.Option("--directory", "-d", metavar="PATH", help="Where to write it, in place of NAME here."),
    ] = None,
) -> None:
    """Write a package with a policy to start from: its settings, its tests, a configuration that uses it."""
    from portico.cli.new_plugin import checked_plugin_name, write_plugin

    try:
        path = directory or Path(checked_plugin_name(name))
        written = write_plugin(checked_plugin_name(name), path)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from error
    except FileExistsError:
        fail(f"portico: {path} is there already and stays as it is; name another directory with --directory PATH")
    except OSError as error:
        fail(f"portico: {path} cannot be written: {error.strerror or error}")
    say(out, "\n".join([f"{path} is written:", *(f"  {each}" for each in written), "", "Next:"]))
    say(
        out,
        f"  cd {shlex.quote(str(path))}\n  pip install -e '.[dev]'\n  pytest && ruff check . && mypy\n  portico run",
    )
