"""Commands that look at a configuration, and start nothing: `portico check`, `portico routes`, `portico schema`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import typer
from rich.table import Table

from portico.cli.configured import load, named_file, with_plugins
from portico.cli.console import cell, count, err, fail, out, print_table, say
from portico.cli.options import ConfigOption, FileArgument

if TYPE_CHECKING:
    from portico.config import Config

_REDIS_TIMEOUT: Final = 1.5
"""Seconds that `check` waits for Redis."""


def check(
    context: typer.Context,
    file: FileArgument = None,
    config: ConfigOption = None,
) -> None:
    """Check a configuration without running it; exit code 1 if it is invalid."""
    from portico.config import expired_certificates, notes_for, warnings_for

    loaded, path = load(named_file(context, file, config))
    with_plugins(loaded)
    if expired := expired_certificates(loaded):
        fail("\n".join(expired))
    warnings = [*map(str, warnings_for(loaded)), *_redis_warnings(loaded)]
    for warning in warnings:
        say(err, f"warning: {warning}")
    more = f", {count(warnings, 'warning')}" if warnings else ""
    routes = [route for route in loaded.all_routes if not route.is_variant]
    listeners = f", {count(loaded.gateway.listen, 'listener')}" if loaded.gateway.listen else ""
    say(out, f"{path}: ok: {count(loaded.services, 'service')}, {count(routes, 'route')}{listeners}{more}")
    for note in notes_for(loaded):
        say(out, note)


def _redis_warnings(config: Config) -> list[str]:
    """No error: where a configuration is checked is not always where it will run."""
    from portico.net.redis.probe import unreachable

    url = config.gateway.redis_url
    problem = unreachable(url.get_secret_value(), _REDIS_TIMEOUT) if url is not None else None
    return [f"gateway.redis_url: {problem}"] if problem else []


def routes(context: typer.Context, file: FileArgument = None, config: ConfigOption = None) -> None:
    """List every route with its service and its policies."""
    from portico.cli.routes import columns, rows

    loaded, _ = load(named_file(context, file, config))
    table = Table(*columns(loaded), box=None, pad_edge=False)
    for cells in rows(loaded):
        table.add_row(*map(cell, cells))
    print_table(table)
    if loaded.discover is not None:
        names, path = ", ".join(loaded.discover.services), loaded.discover.path
        say(out, f"and {path} for services that register as {names}: portico services shows them")


def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from portico.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
