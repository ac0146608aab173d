"""`portico keys`: the API keys of a running gateway."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from portico.cli.completion import consumer_names
from portico.cli.console import cell, err, out, print_table, say
from portico.cli.options import AdminOption, ConfigOption, JsonOption, examples
from portico.cli.running import ask
from portico.core.api_keys import digest_of, named_by, new_key
from portico.core.settings import parse_duration

keys = typer.Typer(help="The API keys of a running gateway.", no_args_is_help=True)

ScopeOption = Annotated[
    list[str] | None,
    typer.Option("--scope", metavar="SCOPE", help="A scope of the key, several times for several; else all."),
]
ExpiresOption = Annotated[
    str | None, typer.Option("--expires", metavar="TIME", help="How long it holds, such as 90d or 12h.")
]
KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="The key's id, its beginning, or all of it.", show_default=False)
]


@keys.command(
    epilog=examples("portico keys create ada --scope orders:read --expires 90d", "portico keys create ci --note builds")
)
def create(
    consumer: Annotated[
        str,
        typer.Argument(metavar="CONSUMER", help="Whose key it is, as under consumers.", autocompletion=consumer_names),
    ],
    scope: ScopeOption = None,
    expires: ExpiresOption = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="What it is for, for lists.")] = "",
    config: ConfigOption = None,
    admin: AdminOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    asked = {"consumer": consumer, "scopes": scope, "note": note, "expires_in": _seconds(expires, "--expires")}
    _made(config, admin, "", asked, as_json=as_json)


@keys.command(epilog=examples("portico keys rotate KEY --overlap 2h"))
def rotate(
    key: KeyArgument,
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="TIME", help="How long the old key holds on; 0 ends it now.")
    ] = "1h",
    scope: ScopeOption = None,
    expires: ExpiresOption = None,
    config: ConfigOption = None,
    admin: AdminOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key in place of another and print it, this once."""
    asked = {"overlap": _seconds(overlap, "--overlap"), "scopes": scope, "expires_in": _seconds(expires, "--expires")}
    _made(config, admin, f"/{_named(key)}/rotate", asked, as_json=as_json)


def _made(config: Any, admin: Any, path: str, asked: Mapping[str, Any], *, as_json: bool) -> None:
    found, of = ask(config, admin, lambda client: client.change_keys(path, asked))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        check_outcome(found)
        return
    typer.echo(found["secret"])  # alone on stdout: it can be piped to where secrets are
    new, old = found["key"], found.get("replaces")
    ends = f", until {_when(new['expires'])}" if new["expires"] else ""
    say(err, f"a key of {new['consumer']}{ends}, with {_scopes(new)}, in {of}: it is not shown again")
    if old is not None:
        now = "is revoked" if old["revoked"] else f"holds until {_when(old['expires'])}"
        say(err, f"{old['key']} {now}")
    check_outcome(found)


@keys.command()
def revoke(
    key: KeyArgument, config: ConfigOption = None, admin: AdminOption = None, as_json: JsonOption = False
) -> None:
    """End a key, everywhere; exit code 1 if it may still hold somewhere."""
    name = _named(key)
    found, of = ask(config, admin, lambda client: client.change_keys(f"/{name}/revoke", {}))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        say(out, f"{found['key']['key']} of {found['key']['consumer']} is revoked, in {of}")
    check_outcome(found)


@keys.command("list")
def list_keys(
    consumer: Annotated[
        str | None,
        typer.Argument(
            metavar="CONSUMER", help="Only those of this one.", show_default=False, autocompletion=consumer_names
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the keys that hold: whose they are, what they may do, when they end and were last used."""
    found, of = ask(config, admin, lambda client: client.api_keys())
    shown = [each for each in found["keys"] if consumer in (None, each["consumer"])]
    ended = [each for each in shown if each["state"] in ("revoked", "expired")]
    listed = shown if every else [each for each in shown if each not in ended]
    if as_json:
        typer.echo(json.dumps({**found, "keys": listed}, indent=2))
        return
    if listed:
        print_table(_table(listed))
    hidden = f"; {len(ended)} that have ended: --all" if ended and not every else ""
    say(out, f"{len(listed)} key{'s' * (len(listed) != 1)} in {of}{hidden}")
    if found["shared"] is False:
        say(err, "Redis does not answer: what other gateways change is not known here now")


@keys.command("hash")
def hash_key(
    new: Annotated[bool, typer.Option("--new", help="Make a key, print it on stderr, and hash that.")] = False,
) -> None:
    """Print what the file has of a key, under keys of its consumer; the key comes on stdin. Needs no gateway."""
    if new:
        key = new_key().text
        typer.echo(key, err=True)
    else:
        key = typer.prompt("key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not key:
        raise typer.BadParameter("no key came on stdin; --new makes one")
    typer.echo(f"sha256:{digest_of(key.encode()).hex()}")


def _named(key: str) -> str:
    """The id of a key. What is secret of it stays here."""
    name = named_by(key)
    if name is None:
        raise typer.BadParameter("expected a key's id, as portico keys list shows it", param_hint="KEY")
    return name


def _seconds(written: str | None, option: str) -> float | None:
    if written is None:
        return None
    try:
        return float(parse_duration(written))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def check_outcome(found: Mapping[str, Any]) -> None:
    """Say where a change is not in force yet; that is exit code 1 where it may not come by itself."""
    if found["shared"] is False:
        say(err, "other gateways will know of it once Redis is back: it does not answer now")
    if not found["kept"]:
        say(err, "it is not kept over a restart of the gateway: name a directory in gateway.state_dir")
    if found["late"]:
        say(err, f"workers that did not confirm it in time: {', '.join(found['late'])}")
    if found["shared"] is False or found["late"]:
        raise typer.Exit(1)


def _table(listed: Iterable[Mapping[str, Any]]) -> Table:
    columns = ("key", "consumer", "scopes", "state", "created", "expires", "last used", "from", "note")
    table = Table(*columns, box=None, pad_edge=False)
    for each in listed:
        ends = each["revoked"] or each["expires"]
        times = (each["created"], ends, each["last_used"])
        table.add_row(
            *map(cell, (each["key"], each["consumer"], " ".join(each["scopes"]) or "-", each["state"])),
            *(_when(at) if at else "-" for at in times),
            cell(each["from"]),
            cell(each["note"]),
        )
    return table


def _scopes(key: Mapping[str, Any]) -> str:
    return f"the scopes {' '.join(key['scopes'])}" if key["scopes"] else "no scopes"


def _when(at: int) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"
