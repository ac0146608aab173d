"""`portico services`: the instances of a running gateway, and whether they get requests."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.table import Table

from portico.cli.console import cell, out, print_table, say
from portico.cli.options import AdminOption, ConfigOption, JsonOption
from portico.cli.running import ask

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


def services(
    config: ConfigOption = None,
    admin: AdminOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the services of a running gateway and their state; exit code 1 if one is down."""
    found, of = ask(config, admin, lambda client: client.services())
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        print_table(_services_table(found["services"]))
        for service in found["services"]:
            if "warning" in service:
                say(out, f"{service['name']}: {service['warning']}")
        say(out, f"generation {found['generation']}, workers: {len(found['workers'])}, {of}")
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
            parts = service["name"], instance["url"], _weight_in_words(instance)
            row = *map(cell, parts), health, _state_in_words(instance)
            table.add_row(*row, cell(instance["source"]), expires, cell(instance.get("error", "")))
        if not service["instances"]:
            table.add_row(cell(service["name"]), "none registered", "", "[red]unhealthy[/]", "", "", "", "")
    return table


def _weight_in_words(instance: dict[str, Any]) -> str:
    """The weight that holds, and the one that is written where that is another one."""
    said, written = instance.get("override", {}).get("weight"), instance["weight"]
    return str(written) if said is None else f"{said}, not {written}"


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
    if override := instance.get("override"):
        said.append(f"{'drained' if override['drained'] else 'weighed'} by {cell(override['by'])}")
    if "next_try_in" in instance:
        said.append(f"next attempt in {instance['next_try_in']:.0f}s")
    return ", ".join(said)
