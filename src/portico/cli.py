"""The `portico` command."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from portico import __version__
from portico.config import (
    Config,
    ConfigError,
    expired_certificates,
    file_problems,
    json_schema,
    load_config,
    warnings_for,
)
from portico.policies import POLICY_SETTINGS

DEFAULT_CONFIG = "portico.yaml"

app = typer.Typer(
    help="An API gateway: one YAML file, policies in plain Python.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", envvar="PORTICO_CONFIG", help=f"The configuration file.  [default: {DEFAULT_CONFIG}]"
    ),
]


def _fail(message: str) -> NoReturn:
    err.print(message, style=None, markup=False)
    raise typer.Exit(1)


def _path_of(config: Path | None) -> Path | None:
    """The file that was named, or the default one if it is there; None: the built-in services are the configuration."""
    if config is not None:
        return config
    default = Path(DEFAULT_CONFIG)
    return default if default.exists() else None


def _load(config: Path | None) -> tuple[Config, Path | None]:
    path = _path_of(config)
    try:
        loaded = load_config(path, os.environ)
    except ConfigError as error:
        _fail(str(error))
    if problems := file_problems(loaded):
        _fail("\n".join(problems))
    return loaded, path


@app.command()
def run(config: ConfigOption = None) -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    from portico.listeners import ListenError, Listeners
    from portico.supervisor import Supervisor

    loaded, path = _load(config)
    for warning in [*expired_certificates(loaded), *warnings_for(loaded)]:
        err.print(f"warning: {warning}", markup=False)
    try:
        listeners = Listeners.open(loaded.gateway)
    except ListenError as error:
        _fail(f"portico: {error}")
    Supervisor(loaded, path, listeners).run()


@app.command()
def check(config: ConfigOption = None) -> None:
    """Check a configuration without running it; exit code 1 if it is wrong."""
    loaded, path = _load(config)
    if expired := expired_certificates(loaded):
        _fail("\n".join(expired))
    warnings = warnings_for(loaded)
    for warning in warnings:
        err.print(f"warning: {warning}", markup=False)
    name = path or "built-in configuration"
    count = f", {len(warnings)} warning{'s' * (len(warnings) != 1)}" if warnings else ""
    out.print(f"{name}: ok: {len(loaded.services)} services, {len(loaded.all_routes)} routes{count}", markup=False)


@app.command()
def routes(config: ConfigOption = None) -> None:
    """List every route with where it leads and which policies hold."""
    loaded, _ = _load(config)
    table = Table("route", "match", "service", "becomes", "policies", box=None, pad_edge=False)
    for route in loaded.all_routes:
        match = [
            *route.methods,
            route.path,
            *route.hosts,
            *(f"{name}={value}" for name, value in route.headers.items()),
        ]
        service = route.service if route.version is None else f"{route.service} {route.version}"
        table.add_row(
            route.name,
            " ".join(match),
            service,
            route.rewrite,
            " ".join(key for key in POLICY_SETTINGS if key in route.policies) or "none",
        )
    out.print(table)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def version() -> None:
    """Print the versions of Portico and of what it runs on."""
    parts = ", ".join(f"{name} {metadata.version(name)}" for name in ("uvloop", "fastapi", "pydantic"))
    typer.echo(f"portico {__version__} (Python {platform.python_version()}, {parts})")


@app.command()
def demo(config: ConfigOption = None) -> None:
    """Start three sample services and the gateway in front of them, until Ctrl-C."""
    from portico.demo import run_demo
    from portico.listeners import ListenError

    loaded, path = _load(config)
    try:
        run_demo(loaded, path)
    except ListenError as error:
        _fail(f"portico: {error}")


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="portico")
