"""The `portico` command: all commands by what they are for, each in the file of its group."""

from __future__ import annotations

import errno
import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from typing import Annotated, Any, Final, NoReturn

import typer

from portico import __version__
from portico.cli.apply import apply, rollback
from portico.cli.begin import init, plugin
from portico.cli.cache import cache
from portico.cli.canary import canary
from portico.cli.check import check, routes, schema
from portico.cli.configured import lasting
from portico.cli.dump import dump
from portico.cli.explain import explain
from portico.cli.history import history
from portico.cli.import_ import import_
from portico.cli.keys import keys
from portico.cli.logs import logs
from portico.cli.options import examples
from portico.cli.password import password
from portico.cli.plan import plan
from portico.cli.render import render
from portico.cli.run import demo, run
from portico.cli.services import services
from portico.cli.status import reload, status
from portico.cli.token import token

_FIRST: Final = """\
Begin with portico demo, which needs no file, or with portico init users=http://localhost:8001 and portico run.
"""

app = typer.Typer(
    help="An API gateway in Python: one YAML file.",
    epilog=_FIRST,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def version() -> None:
    """Print the versions of Portico, Python and the main dependencies."""
    parts = ", ".join(f"{name} {metadata.version(name)}" for name in ("uvloop", "fastapi", "pydantic"))
    typer.echo(f"portico {__version__} (Python {platform.python_version()}, {parts})")


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What is said before a command."""


Command = Callable[..., None]

PANELS: Final[dict[str, dict[Command | typer.Typer, tuple[str, ...]]]] = {
    "To begin": {
        demo: ("portico demo",),
        init: ("portico init users=http://localhost:8001", "portico init --config edge.yaml"),
        plugin: (),
    },
    "With a configuration file": {
        run: ("portico run", "portico run edge.yaml --reload", "portico run --host 127.0.0.1 --port 8080"),
        check: ("portico check", "portico check edge.yaml"),
        routes: ("portico routes",),
        explain: (
            "portico explain GET /api/users/7",
            "portico explain POST https://shop.example/orders -H 'X-User: ada' --client-ip 192.0.2.7",
            "portico explain GET /api/users --live --format json",
        ),
        render: ("portico render nginx > nginx.conf", "portico render nginx edge.yaml --lossy --output rendered"),
        import_: (
            "portico import nginx /etc/nginx/nginx.conf",
            "portico import kong kong.yaml --output portico.yaml --report report.txt",
            "portico import traefik docker-compose.yml --output portico.yaml",
        ),
        schema: ("portico schema > portico.schema.json",),
        password: ("portico password", "pass show ada | portico password"),
    },
    "With a running gateway": {
        services: ("portico services", "portico services --admin 127.0.0.1:9001 --json"),
        status: ("portico status", "portico status --watch"),
        reload: ("portico reload",),
        plan: ("portico plan new.yaml", "portico plan new.yaml --from portico.yaml --format json"),
        apply: ("portico apply new.yaml", "portico apply new.yaml --yes --why 'the shop moves'"),
        rollback: ("portico rollback", "portico rollback 12 --why 'too slow'"),
        history: ("portico history", "portico history 12"),
        dump: ("portico dump > portico.now.yaml", "portico dump --file"),
        logs: ("portico logs access.log --follow", "portico logs --live --status 5xx --slower 1s"),
        cache: (),
        canary: (),
        keys: (),
        token: (),
    },
}
"""The commands as --help shows them, each with examples."""


def _add(panel: str, command: Command | typer.Typer, commands: tuple[str, ...]) -> None:
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=_NAMES[command], rich_help_panel=panel)
        return
    app.command(_NAMES.get(command), rich_help_panel=panel, epilog=examples(*commands))(command)


_NAMES: Final[dict[Any, str]] = {
    plugin: "plugin",
    cache: "cache",
    canary: "canary",
    keys: "keys",
    token: "token",
    import_: "import",
}

for _panel, _commands in PANELS.items():
    for _command, _examples in _commands.items():
        _add(_panel, _command, _examples)
app.command(rich_help_panel="Other")(version)


def main() -> None:
    """Run the command that the command line names."""
    if path := os.environ.get("PORTICO_CONFIG"):
        os.environ["PORTICO_CONFIG"] = path[:-2] if path.endswith("\r\n") else path.removesuffix("\n")
    try:
        try:
            app(prog_name="portico")
        finally:
            _flush()
    except SystemExit as end:
        if lasting and isinstance(end.code, int | None):
            os._exit(end.code or 0)  # without freeing a large configuration
        raise
    except OSError as error:
        if error.errno not in _UNWRITTEN or error.filename is not None:
            raise
        _end_unwritten(error)


_UNWRITTEN: Final = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed before
            stream.flush()


def _end_unwritten(error: OSError) -> NoReturn:
    """End where what is printed goes into a file on a disk that is full, for example."""
    if error.errno != errno.EPIPE:  # who reads no further knows why
        with suppress(OSError):
            os.write(2, f"portico: cannot write: {error.strerror}\n".encode())
    os._exit(1)  # at its end the process would try to write what is left
