"""The `portico` command."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sized
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from portico import __version__
from portico.cli.cache import cache
from portico.cli.canary import canary
from portico.cli.documents import lines_about
from portico.cli.keys import keys
from portico.cli.options import DEFAULT_CONFIG, AdminOption, ConfigOption
from portico.cli.password import password
from portico.cli.token import token
from portico.config import (
    Config,
    ConfigError,
    check_plugins,
    expired_certificates,
    file_problems,
    json_schema,
    load_config,
    names_plugins,
    notes_for,
    warnings_for,
    with_code,
)
from portico.config.environment import without_newline
from portico.config.gateway import split_address
from portico.config.listen import listening_host
from portico.core.printing import printable

if TYPE_CHECKING:
    from portico.cli.admin_client import AdminClient

_REDIS_TIMEOUT = 1.5
"""Seconds that `check` waits for Redis."""
_HEALTH_STYLES = {"healthy": "green", "unhealthy": "red", "unchecked": "dim"}
_STATE_WORDS = {
    "down": ("down", "for", "red"),
    "ejected": ("ejected", "by", "red"),
    "half_open": ("half-open", "at", "yellow"),
    "panic": ("ejected but used", "by", "yellow"),
    "unreachable": ("unreachable", "for", "red"),
    "slow_start": ("slow start", "at", "yellow"),
    "drained": ("drained", "by", "dim"),
    "backup": ("backup", "of", "dim"),
    "active": ("active", "", "green"),
}
"""How the states of `InstanceState` read, also before "1 of 2 workers"."""

app = typer.Typer(
    help="An API gateway in Python: one YAML file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
plugin = typer.Typer(help="Policies of your own, in Python.", no_args_is_help=True)
app.add_typer(plugin, name="plugin")
app.add_typer(cache, name="cache")
app.add_typer(canary, name="canary")
app.add_typer(keys, name="keys")
app.add_typer(token, name="token")
app.command("password")(password)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

FileArgument = Annotated[
    Path | None, typer.Argument(metavar="FILE", readable=False, help="The configuration file, as with --config.")
]


def _say(console: Console, message: str) -> None:
    """Print lines of text; nothing in them is markup or steers the terminal."""
    console.print(printable(message, "\n"), style=None, markup=False)


def _cell(text: Any) -> str:
    """The same for a cell of a table."""
    return escape(printable(str(text)))


def _fail(message: str) -> NoReturn:
    _say(err, message)
    raise typer.Exit(1)


def _fail_usage(message: str) -> NoReturn:
    _say(err, message)
    raise typer.Exit(2)


def _named_file(context: typer.Context, file: Path | None, config: Path | None) -> Path | None:
    """The file that is named on the command line, with `--config` or without, else that of PORTICO_CONFIG."""
    source = context.get_parameter_source("config")
    if file is not None and source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter("name the file once, with --config or without", param_hint="FILE")
    return file or config


def _path_of(config: Path | None) -> Path | None:
    """The file that was named, or the default one if it is there; None where there is neither."""
    return config or (Path(DEFAULT_CONFIG) if os.access(DEFAULT_CONFIG, os.F_OK) else None)


def _load(config: Path | None, *, demo: bool = False) -> tuple[Config, Path | None]:
    """The configuration and its file; without a file it is the demo's where that is meant."""
    path = _path_of(config)
    if path is None and not demo:
        _fail(
            f"portico: there is no {DEFAULT_CONFIG} here: portico init writes one, --config FILE names another; "
            "portico demo shows a gateway without one"
        )
    try:
        loaded = load_config(path, os.environ)
    except ConfigError as error:
        named = path is not None and str(path) == os.environ.get("PORTICO_CONFIG")
        _fail(f"{error} (PORTICO_CONFIG names it)" if named and error.problems[0].line is None else str(error))
    if problems := file_problems(loaded):
        _fail("\n".join(problems))
    return loaded, path


def _with_plugins(config: Config) -> Config:
    """The configuration with the code of users' policies; what is wrong with those ends the command."""
    if not names_plugins(config):
        return config
    problems, code = _check_in_child(config)
    if problems:
        _fail("\n".join(problems))
    return with_code(config, code)


def _check_in_child(config: Config) -> tuple[list[str], Mapping[str, bytes]]:
    """What users' code does when it is imported stays in a process of its own.

    This one goes on whatever that is, and starts others that are to find nothing of it.
    """
    from multiprocessing import get_context

    context = get_context("fork")
    reader, writer = context.Pipe(duplex=False)

    def import_and_report() -> None:
        writer.send(check_plugins(config))
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)  # threads that users' code has started would keep it

    child = context.Process(target=import_and_report)
    child.start()
    writer.close()
    try:
        found: tuple[list[str], Mapping[str, bytes]] = reader.recv()
    except EOFError:
        found = ["portico: users' policies ended the process while they were imported, by os._exit() or a crash"], {}
    child.join()
    return found


def _gateway_at(config: Path | None, admin: str | None) -> AdminClient:
    """The running gateway. `--admin` works even where the file is wrong: that may be the reason for the command."""
    from portico.cli.admin_client import AdminClient, AdminError

    if admin is None:
        try:
            return AdminClient.of(_load(config, demo=True)[0].gateway)
        except AdminError as error:
            _fail(f"portico: {error}")
    try:
        host, port = split_address(admin)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--admin") from error
    try:
        secret = load_config(_path_of(config), os.environ).gateway.admin_token
    except ConfigError:
        secret = None
    token = without_newline(os.environ.get("ADMIN_TOKEN", "")) or (secret.get_secret_value() if secret else None)
    return AdminClient(host, port, token)


def _described(client: AdminClient, served: Path | None) -> str:
    """Which gateway answered."""
    return f"the gateway at {client.where} ({served or 'without a file'})"


def _ask(config: Path | None, admin: str | None, question: Callable[[AdminClient], Any]) -> tuple[Any, str]:
    """What a running gateway answers, and which one that was; where none does, that ends the command."""
    from portico.cli.admin_client import AdminError

    client = _gateway_at(config, admin)
    try:
        return question(client), _described(client, client.file())
    except AdminError as error:
        _fail(f"portico: {error}")


def _print_table(table: Table) -> None:
    """A row is a line, however wide: text cut to fit is useless, and scripts read it, too."""
    out.width = max(out.width, Measurement.get(out, out.options.update(max_width=10_000), table).maximum)
    out.print(table)


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


@app.command()
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
        _fail(f"portico: {path} is there already and stays as it is; name another file with --config FILE")
    except OSError as error:
        _fail(f"portico: {path} cannot be written: {error.strerror or error}")
    _say(out, f"{path} is written: portico check looks at it, portico run starts the gateway")


@app.command()
def run(
    context: typer.Context,
    file: FileArgument = None,
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option("--host", help="Where to listen, in place of gateway.host.")] = None,
    port: Annotated[
        str | None, typer.Option("--port", metavar="PORT", help="The same for gateway.port; 0 picks a free one.")
    ] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Reload the file whenever it changes.")] = False,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    from portico.processes.ipc.listeners import ListenError, Listeners
    from portico.processes.supervisor.main import Supervisor

    path = _named_file(context, file, config)
    _check_address(host, port)
    for variable, value in (("GATEWAY_HOST", host), ("GATEWAY_PORT", port)):  # there, they outlast reloads
        if value is not None:
            os.environ[variable] = value
    loaded, path = _load(path)
    loaded = _with_plugins(loaded)
    for warning in [*expired_certificates(loaded), *warnings_for(loaded)]:
        _say(err, f"warning: {warning}")
    try:
        listeners = Listeners.open(
            loaded.gateway, f", or name another port: {'GATEWAY_PORT' if port is None else '--port'}"
        )
    except ListenError as error:
        _fail(f"portico: {error}")
    Supervisor(loaded, path, listeners, watch=reload).run()


def _check_address(host: str | None, port: str | None) -> None:
    """The options of `run`, before they stand for variables: messages would name those."""
    if host is not None:
        try:
            listening_host(host)
        except ValueError as error:
            _fail_usage(f"portico: --host: {error}")
    if port is not None and not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        _fail_usage("portico: --port: expected a whole number from 0 to 65535")


@app.command()
def check(
    context: typer.Context,
    file: FileArgument = None,
    config: ConfigOption = None,
) -> None:
    """Check a configuration without running it; exit code 1 if it is invalid."""
    loaded, path = _load(_named_file(context, file, config))
    _with_plugins(loaded)
    if expired := expired_certificates(loaded):
        _fail("\n".join(expired))
    warnings = [*map(str, warnings_for(loaded)), *_redis_warnings(loaded)]
    for warning in warnings:
        _say(err, f"warning: {warning}")
    count = f", {_count(warnings, 'warning')}" if warnings else ""
    routes = [route for route in loaded.all_routes if not route.is_variant]
    listeners = f", {_count(loaded.gateway.listen, 'listener')}" if loaded.gateway.listen else ""
    _say(out, f"{path}: ok: {_count(loaded.services, 'service')}, {_count(routes, 'route')}{listeners}{count}")
    for note in notes_for(loaded):
        _say(out, note)


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


def _redis_warnings(config: Config) -> list[str]:
    """No error: where a configuration is checked is not always where it will run."""
    from portico.net.redis.probe import unreachable

    url = config.gateway.redis_url
    problem = unreachable(url.get_secret_value(), _REDIS_TIMEOUT) if url is not None else None
    return [f"gateway.redis_url: {problem}"] if problem else []


@app.command()
def routes(context: typer.Context, file: FileArgument = None, config: ConfigOption = None) -> None:
    """List every route with its service and its policies."""
    from portico.cli.routes import columns, rows

    loaded, _ = _load(_named_file(context, file, config))
    table = Table(*columns(loaded), box=None, pad_edge=False)
    for cells in rows(loaded):
        table.add_row(*map(_cell, cells))
    _print_table(table)
    if loaded.discover is not None:
        names, path = ", ".join(loaded.discover.services), loaded.discover.path
        _say(out, f"and {path} for services that register as {names}: portico services shows them")


@app.command()
def services(
    config: ConfigOption = None,
    admin: AdminOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the response of the admin API.")] = False,
) -> None:
    """Show the services of a running gateway and their state; exit code 1 if one is down."""
    found, of = _ask(config, admin, lambda client: client.services())
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _print_table(_services_table(found["services"]))
        for service in found["services"]:
            if "warning" in service:
                _say(out, f"{service['name']}: {service['warning']}")
        _say(out, f"generation {found['generation']}, workers: {len(found['workers'])}, {of}")
    if any(service["status"] == "unhealthy" or _gets_nothing(service) for service in found["services"]):
        raise typer.Exit(1)


def _gets_nothing(service: dict[str, Any]) -> bool:
    """Whether no worker sends requests to any instance."""
    counts = [instance.get("workers", {}) for instance in service["instances"]]
    return all(each and each.keys() <= {"ejected", "down", "unreachable"} for each in counts)


def _services_table(services: list[dict[str, Any]]) -> Table:
    columns = ("service", "instance", "weight", "health", "state", "from", "expires", "error")
    table = Table(*columns, box=None, pad_edge=False)
    for service in services:
        for instance in service["instances"]:
            health = f"[{_HEALTH_STYLES[instance['status']]}]{instance['status']}[/]"
            left = instance.get("expires_in")
            expires = "lost" if instance.get("lost") else "" if left is None else f"{left:.0f}s"
            row = *map(_cell, (service["name"], instance["url"], instance["weight"])), health, _state_in_words(instance)
            table.add_row(*row, _cell(instance["source"]), expires, _cell(instance.get("error", "")))
        if not service["instances"]:
            table.add_row(_cell(service["name"]), "none registered", "", "[red]unhealthy[/]", "", "", "", "")
    return table


def _state_in_words(instance: dict[str, Any]) -> str:
    """Its state in the workers, without those where it is merely active; without the number for one worker."""
    counts = instance.get("workers", {})
    total = sum(counts.values())
    said = []
    for state, count in counts.items():
        words, whose, style = _STATE_WORDS[state]
        if whose and total > 1:
            words = f"{words} {whose} {count} of {total} workers"
        if whose or len(counts) == 1:
            said.append(f"[{style}]{words}[/]")
    if "next_try_in" in instance:
        said.append(f"next attempt in {instance['next_try_in']:.0f}s")
    return ", ".join(said)


@app.command()
def status(
    config: ConfigOption = None,
    admin: AdminOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the response of the admin API.")] = False,
) -> None:
    """Show a running gateway and its workers; exit code 1 if they do not serve by one configuration."""
    found, of = _ask(config, admin, lambda client: client.status())
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        columns = ("name", "generation", "connections", "in_flight", "tunnels")
        table = Table("worker", *(column.replace("_", " ") for column in columns[1:]), box=None, pad_edge=False)
        for worker in found["workers"]:
            table.add_row(*(_cell(worker[column]) for column in columns))
        _print_table(table)
        for listener in found["listeners"]:
            name = f" ({listener['name']})" if listener["name"] else ""
            _say(out, f"listening on {listener['url']}{name}")
        for name in found["maintenance"]:
            _say(out, f"in maintenance: {name}")
        for plugin in found["plugins"]:
            _say(out, f"policy {plugin['use']} ({plugin['scope']})")
        for issuer in found["issuers"]:
            name = issuer.get("issuer") or issuer["address"]
            problem = f"; not fetched: {issuer['problem']}" if "problem" in issuer else ""
            _say(out, f"issuer {name}: {_count(range(issuer['keys']), 'key')}{problem}")
        for certificate in found["certificates"]:
            _say(out, _certificate_in_words(certificate))
        for line in lines_about(found["documents"]):
            _say(out, line)
        if found["api_keys"] and "problem" in found["api_keys"]:
            _say(out, f"API keys: {found['api_keys']['problem']}")
        if found["refused"]:
            _say(out, f"the file was refused when it was last read: {found['refused']}")
        _say(out, f"generation {found['generation']}, {of}")
    if any(worker["generation"] != found["generation"] for worker in found["workers"]):
        raise typer.Exit(1)


def _certificate_in_words(certificate: dict[str, Any]) -> str:
    until = f"{certificate['state']} until {certificate['expires']}" if "expires" in certificate else "not there yet"
    doing = "being ordered" if certificate["ordering"] else f"next try {certificate['next_try']}"
    if certificate["state"] == "valid" and not certificate["ordering"]:
        doing = f"renewed from {certificate['next_try']} on"
    problem = f"; {certificate['problem']}" if "problem" in certificate else ""
    return f"certificate for {', '.join(certificate['names'])}: {until}, {doing}{problem}"


@app.command()
def reload(config: ConfigOption = None, admin: AdminOption = None) -> None:
    """Make a running gateway reload its configuration; exit code 1 if it refuses."""
    from portico.cli.admin_client import AdminError

    try:
        client = _gateway_at(config, admin)
        served, own = client.file(), _path_of(config)
        if admin is None and own is not None and (served is None or served.resolve() != own.resolve()):
            _fail(
                f"portico: not reloaded: {own.absolute()} is not the file of {_described(client, served)}; "
                f"--admin HOST:PORT names another gateway, --admin {client.where} reloads this one all the same"
            )
        generation = client.reload()
    except AdminError as error:
        _fail(f"portico: {error}")
    _say(out, f"generation {generation} is in use by {_described(client, served)}")


@plugin.command()
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
        _fail(f"portico: {path} is there already and stays as it is; name another directory with --directory PATH")
    except OSError as error:
        _fail(f"portico: {path} cannot be written: {error.strerror or error}")
    _say(out, "\n".join([f"{path} is written:", *(f"  {each}" for each in written), "", "Next:"]))
    _say(
        out,
        f"  cd {shlex.quote(str(path))}\n  pip install -e '.[dev]'\n  pytest && ruff check . && mypy\n  portico run",
    )


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def version() -> None:
    """Print the versions of Portico, Python and the main dependencies."""
    parts = ", ".join(f"{name} {metadata.version(name)}" for name in ("uvloop", "fastapi", "pydantic"))
    typer.echo(f"portico {__version__} (Python {platform.python_version()}, {parts})")


@app.command()
def demo(config: ConfigOption = None) -> None:
    """Start three sample services and the gateway in front of them, until Ctrl-C."""
    from portico.demo.run import run_demo
    from portico.processes.ipc.listeners import ListenError

    loaded, path = _load(config, demo=True)
    loaded = _with_plugins(loaded)
    for finding in loaded.ignored:
        err.print(f"warning: {loaded.problem(finding)}", markup=False)
    try:
        run_demo(loaded, path)
    except ListenError as error:
        _fail(f"portico: {error}")


def main() -> None:
    """Run the command that the command line names."""
    if path := os.environ.get("PORTICO_CONFIG"):
        os.environ["PORTICO_CONFIG"] = without_newline(path)
    app(prog_name="portico")
