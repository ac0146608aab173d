"""`portico status` and `portico reload`: what configuration a running gateway serves by, and another one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.table import Table

from portico.cli.configured import path_of
from portico.cli.console import cell, count, fail, out, print_table, say
from portico.cli.documents import lines_about
from portico.cli.options import AdminOption, ConfigOption, JsonOption
from portico.cli.running import ask, described, gateway_at
from portico.cli.status_words import problems_of


def status(
    config: ConfigOption = None,
    admin: AdminOption = None,
    as_json: JsonOption = False,
    watching: Annotated[
        bool, typer.Option("--watch", "-w", help="Show rates, latencies and errors of services each second.")
    ] = False,
) -> None:
    """Show a running gateway and its workers; exit code 1 if they do not serve by one configuration.

    With --watch, one screen of what happens now, until Ctrl-C: for each service the instances that get requests, the
    requests a second and those under way, latencies, and what fails or is over a limit, of the last 10 seconds.
    """
    if watching:
        from portico.cli.watch import watch

        watch(gateway_at(config, admin), as_json=as_json)
        return
    found, of = ask(config, admin, lambda client: client.status())
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        columns = ("name", "generation", "connections", "in_flight", "tunnels")
        table = Table("worker", *(column.replace("_", " ") for column in columns[1:]), box=None, pad_edge=False)
        for worker in found["workers"]:
            table.add_row(*(cell(worker[column]) for column in columns))
        print_table(table)
        for listener in found["listeners"]:
            name = f" ({listener['name']})" if listener["name"] else ""
            say(out, f"listening on {listener['url']}{name}")
        for line in _held_back(found):
            say(out, line)
        for plugin in found["plugins"]:
            say(out, f"policy {plugin['use']} ({plugin['scope']})")
        for issuer in found["issuers"]:
            name = issuer.get("issuer") or issuer["address"]
            problem = f"; not fetched: {issuer['problem']}" if "problem" in issuer else ""
            say(out, f"issuer {name}: {count(range(issuer['keys']), 'key')}{problem}")
        for certificate in found["certificates"]:
            say(out, _certificate_in_words(certificate))
        for line in lines_about(found["documents"]):
            say(out, line)
        for line in problems_of(found):
            say(out, line)
        say(out, f"generation {found['generation']}, {of}")
    if any(worker["generation"] != found["generation"] for worker in found["workers"]):
        raise typer.Exit(1)


def _held_back(found: dict[str, Any]) -> Iterator[str]:
    """What gets other requests than usual, because somebody wants that."""
    yield from (f"in maintenance: {name}" for name in found["maintenance"])
    if overrides := found["overrides"]:
        yield f"not as configured: {count(range(overrides), 'instance')} (portico services)"


def _certificate_in_words(certificate: dict[str, Any]) -> str:
    until = f"{certificate['state']} until {certificate['expires']}" if "expires" in certificate else "not there yet"
    doing = "being ordered" if certificate["ordering"] else f"next try {certificate['next_try']}"
    if certificate["state"] == "valid" and not certificate["ordering"]:
        doing = f"renewed from {certificate['next_try']} on"
    problem = f"; {certificate['problem']}" if "problem" in certificate else ""
    return f"certificate for {', '.join(certificate['names'])}: {until}, {doing}{problem}"


def reload(config: ConfigOption = None, admin: AdminOption = None) -> None:
    """Make a running gateway reload its configuration; exit code 1 if it refuses."""
    from portico.cli.admin_client import AdminError

    try:
        client = gateway_at(config, admin)
        served, own = client.file(), path_of(config)
        if admin is None and own is not None and (served is None or served.resolve() != own.resolve()):
            fail(
                f"portico: not reloaded: {own.absolute()} is not the file of {described(client, served)}; "
                f"--admin HOST:PORT names another gateway, --admin {client.where} reloads this one all the same"
            )
        generation = client.reload()
    except AdminError as error:
        fail(f"portico: {error}")
    say(out, f"generation {generation} is in use by {described(client, served)}")
