"""`portico cache`: purging a running gateway's cache, and looking into it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from portico.cli.completion import service_names
from portico.cli.console import err, out, print_table, say
from portico.cli.options import AdminOption, ConfigOption, JsonOption, examples
from portico.cli.running import ask
from portico.core.printing import printable

cache = typer.Typer(help="The cache of a running gateway.", no_args_is_help=True)

Several = list[str] | None


@cache.command(
    epilog=examples(
        "portico cache purge /news", "portico cache purge --prefix /api/shop --soft", "portico cache purge --all"
    )
)
def purge(
    urls: Annotated[
        Several,
        typer.Argument(metavar="URL", help="Exactly this: /news on every host, //host/news, https://host/news."),
    ] = None,
    prefix: Annotated[
        Several, typer.Option("--prefix", help="All below a path, by whole segments; with * at its end all like it.")
    ] = None,
    tag: Annotated[Several, typer.Option("--tag", help="What services tag so: Cache-Tag, Surrogate-Key.")] = None,
    group: Annotated[Several, typer.Option("--group", help="A cache group (RFC 9875); see --origin.")] = None,
    origin: Annotated[str, typer.Option("--origin", help="The groups are of this origin: https://host.")] = "",
    service: Annotated[
        Several, typer.Option("--service", help="All of a service.", autocompletion=service_names)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    soft: Annotated[bool, typer.Option("--soft", help="Not away, but stale.")] = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have responses fetched anew: in every worker, and in every gateway with the same Redis.

    What is not stored is no error; exit code 1 if a worker has not confirmed it.
    """
    wanted = {"url": urls, "prefix": prefix, "tag": tag, "group": group, "service": service}
    named = {kind: values for kind, values in wanted.items() if values}
    if not named and not everything:
        raise typer.BadParameter("name what is to go: URL, --prefix, --tag, --group, --service or --all")
    _check(named, origin)
    document = {**named, "all": everything, "origin": origin, "soft": soft}
    found, of = ask(config, admin, lambda client: client.purge(document))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        say(out, f"{_went(found['entries'], soft)}, in {_count(found['workers'], 'worker')} of {of}")
        if found["shared"] is False:
            say(err, "other gateways will purge it once Redis is back: it does not answer now")
        if found["late"]:
            say(err, f"{_count(found['late'], 'worker')} did not confirm it in time")
    if found["late"]:
        raise typer.Exit(1)


def _check(named: dict[str, list[str]], origin: str) -> None:
    """What is written wrong is wrong usage, also where no gateway runs."""
    from portico.proxy.cache.purges import Purge

    for kind, values in named.items():
        for value in values:
            try:
                Purge.of(kind, value, origin=origin)  # type: ignore[arg-type]
            except ValueError as error:
                hint = "URL" if kind == "url" else f"--{kind}"
                raise typer.BadParameter(f"{printable(value)}: {error}", param_hint=hint) from error


def _went(entries: int, soft: bool) -> str:
    what = _count(entries, "response")
    if not entries:
        return "nothing of it was in memory"
    verb = "is" if entries == 1 else "are"
    return f"{what} {verb} stale now" if soft else f"{what} {verb} gone"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"


@cache.command()
def stats(config: ConfigOption = None, admin: AdminOption = None, as_json: JsonOption = False) -> None:
    """Show what is stored and how often it was used, by service and by worker."""
    found, of = ask(config, admin, lambda client: client.cache_stats())
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    services = Table("service", "hits", "misses", "ratio", "outcomes", box=None, pad_edge=False)
    for service in found["services"]:
        outcomes = " ".join(f"{name} {count}" for name, count in service["outcomes"].items() if count)
        services.add_row(_cell(service["name"]), *_use(service), outcomes)
    workers = Table("worker", "entries", "bytes", "evictions", "hits", "misses", "ratio", box=None, pad_edge=False)
    for worker in [*found["workers"], {"name": "together", **found}]:
        numbers = (f"{worker[key]}" for key in ("entries", "bytes", "evictions"))
        workers.add_row(_cell(worker["name"]), *numbers, *_use(worker))
    if found["services"]:
        print_table(services)
    print_table(workers)
    stored = (found["redis"] or {}).get("stored")
    if stored is not None:
        said = f"{stored['entries']} entries, {stored['bytes']} bytes, {stored['evictions']} evictions"
        say(out, f"in Redis, of all gateways: {said}")
    say(out, f"since the workers started, {of}")


def _use(counts: dict[str, Any]) -> Iterator[str]:
    hits, misses = counts["hits"], counts["misses"]
    yield from (str(hits), str(misses), f"{100 * hits / (hits + misses):.1f}%" if hits + misses else "")


@cache.command(
    epilog=examples("portico cache show /news", "portico cache show //shop.example/news --header 'Accept: text/html'")
)
def show(
    url: Annotated[str, typer.Argument(metavar="URL", help="/news on every host, //host/news, https://host/news.")],
    header: Annotated[
        Several, typer.Option("--header", "-H", metavar="NAME: VALUE", help="A header field of the request.")
    ] = None,
    method: Annotated[str, typer.Option("--method", "-X", help="The method of the request.")] = "GET",
    config: ConfigOption = None,
    admin: AdminOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is stored for a URL, and what would become of a request without credentials."""
    _check({"url": [url]}, "")
    found, of = ask(config, admin, lambda client: client.cache_show(url, method, header or ()))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for worker in found["workers"]:
        for note in worker["notes"]:
            say(out, f"{worker['name']}: {note}")
        for key in worker["keys"]:
            verdict = "would be served" if key["served"] else "would not be served"
            where = worker["name"] if key["store"] == "memory" else "Redis"
            say(out, f"{key['url']} in {where}: {verdict}: {key['why']}")
            say(out, f"  key {json.dumps(key['key'])}")
            if key["variants"]:
                print_table(_variants(key["variants"]))
    if not any(worker["keys"] for worker in found["workers"]):
        say(out, f"nothing is stored for {url}")
    say(out, f"{_count(len(found['workers']), 'worker')} of {of}")


def _variants(variants: Iterable[dict[str, Any]]) -> Table:
    columns = ("", "status", "for requests with", "for", "age", "fresh for", "size", "tags")
    table = Table(*columns, box=None, pad_edge=False)
    for variant in variants:
        fields = [f"{name}: {value}" for name, value in variant["vary"].items()]
        if variant["codings"]:
            fields.append(f"accept-encoding: {', '.join(variant['codings'])}")
        left = variant["fresh_for"]
        table.add_row(
            "*" if variant["answers"] else "",
            str(variant["status"]),
            _cell("; ".join(fields) or "any fields"),
            "anybody" if variant["consumer"] == "any" else "one consumer",
            f"{variant['age']:.0f}s",
            f"{left:.0f}s" if left > 0 else f"stale for {-left:.0f}s",
            str(variant["body"]),
            _cell(" ".join(variant["tags"])),
        )
    return table


def _cell(text: str) -> str:
    return escape(printable(text))
