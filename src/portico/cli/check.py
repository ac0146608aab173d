"""Commands that look at a configuration, and start nothing: `portico check`, `portico routes`, `portico schema`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from rich.table import Table

from portico.cli.configured import load_for_good, named_file, with_plugins
from portico.cli.console import cell, count, out, print_table, say
from portico.cli.options import ConfigOption, FileArgument
from portico.cli.verdicts import INVALID, Form, Severity, Verdict, report, severities, verdict

if TYPE_CHECKING:
    from portico.config import Config, Problem

_REDIS_TIMEOUT: Final = 1.5
"""Seconds that `check` waits for Redis."""
_EXPIRED: Final = "certificate-expired"
_REDIS: Final = "redis-unreachable"


def check(
    context: typer.Context,
    file: FileArgument = None,
    config: ConfigOption = None,
    form: Annotated[Form, typer.Option("--format", help="How findings are printed.")] = Form.TEXT,
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", metavar="NAME=error|warning|off", help="What a rule counts as; may be repeated."),
    ] = None,
) -> None:
    """Check a configuration without running it; exit code 1 if it is invalid, or if a rule says error.

    Each warning ends with the name of its rule, which stays the same in later versions.
    """
    from portico.config import RULES, notes_for

    counts_as = severities(rule or (), [*RULES, _EXPIRED, _REDIS])

    def failed(problems: Sequence[Problem | str]) -> NoReturn:
        report([_invalid(problem) for problem in problems], form)
        raise typer.Exit(1)

    named = named_file(context, file, config)
    if form is Form.TEXT:  # whose messages say more of where the file was named
        loaded, path = load_for_good(named)
        with_plugins(loaded)
    else:
        loaded, path = load_for_good(named, failed=failed)
        with_plugins(loaded, failed)
    verdicts = [each for each in _verdicts(loaded, counts_as) if each.severity is not Severity.OFF]
    report(verdicts, form)
    if any(each.severity is Severity.ERROR for each in verdicts):
        raise typer.Exit(1)
    if form is not Form.TEXT:
        return
    more = f", {count(verdicts, 'warning')}" if verdicts else ""
    routes = [route for route in loaded.all_routes if not route.is_variant]
    listeners = f", {count(loaded.gateway.listen, 'listener')}" if loaded.gateway.listen else ""
    say(out, f"{path}: ok: {count(loaded.services, 'service')}, {count(routes, 'route')}{listeners}{more}")
    for note in notes_for(loaded):
        say(out, note)


def _invalid(problem: Problem | str) -> Verdict:
    if isinstance(problem, str):
        return Verdict(Severity.ERROR, INVALID, problem)
    return verdict(problem, Severity.ERROR, INVALID)


def _verdicts(config: Config, counts_as: Mapping[str, Severity]) -> Iterator[Verdict]:
    from portico.config import expired_certificates, warnings_for

    for expired in expired_certificates(config):
        yield verdict(expired, counts_as.get(_EXPIRED, Severity.ERROR), _EXPIRED)
    for warning in warnings_for(config):
        yield verdict(warning, counts_as.get(warning.rule, Severity.WARNING), warning.rule)
    severity = counts_as.get(_REDIS, Severity.WARNING)
    if severity is not Severity.OFF:
        yield from (Verdict(severity, _REDIS, each, key="gateway.redis_url") for each in _redis_problems(config))


def _redis_problems(config: Config) -> list[str]:
    """No error: where a configuration is checked is not always where it will run."""
    from portico.net.redis.probe import unreachable

    url = config.gateway.redis_url
    problem = unreachable(url.get_secret_value(), _REDIS_TIMEOUT) if url is not None else None
    return [problem] if problem else []


def routes(context: typer.Context, file: FileArgument = None, config: ConfigOption = None) -> None:
    """List every route with its service and its policies."""
    from portico.cli.routes import columns, rows

    loaded, _ = load_for_good(named_file(context, file, config))
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
