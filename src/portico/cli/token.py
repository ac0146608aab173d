"""`portico token`: tokens of a running gateway, and the keys that sign them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from portico.cli.completion import consumer_names
from portico.cli.console import err, out, say
from portico.cli.keys import check_outcome
from portico.cli.options import AdminOption, ConfigOption, examples
from portico.cli.running import ask
from portico.core.settings import parse_duration

token = typer.Typer(help="Tokens that a running gateway issues.", no_args_is_help=True)


def _life(text: str) -> float:
    try:
        return float(parse_duration(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@token.command(
    "issue", epilog=examples("portico token issue ada", "portico token issue ada --scope orders:read --life 12h")
)
def issue(
    consumer: Annotated[
        str, typer.Argument(metavar="CONSUMER", help="A consumer of the file.", autocompletion=consumer_names)
    ],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="Only this scope; may be repeated; else all it has.")
    ] = None,
    life: Annotated[
        float | None,
        typer.Option("--life", parser=_life, metavar="DURATION", help="Such as 12h; else that of all tokens."),
    ] = None,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> None:
    """Print a token for a consumer."""
    wanted: dict[str, Any] = {"consumer": consumer, "scopes": scope or None, "life": life}
    found, _ = ask(config, admin, lambda client: client.issue_token(wanted))
    typer.echo(found["access_token"])


@token.command("revoke")
def revoke(
    named: Annotated[
        str | None,
        typer.Argument(metavar="TOKEN", help="The token, or its jti; - reads it from stdin.", show_default=False),
    ] = None,
    consumer: Annotated[
        str | None, typer.Option("--consumer", metavar="NAME", help="All that it has, refresh tokens too.")
    ] = None,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> None:
    """End a token before its time, everywhere; exit code 1 if it may still be good somewhere."""
    if (named is None) == (consumer is None):
        raise typer.BadParameter("write a token, or --consumer NAME")
    text = sys.stdin.readline().strip() if named == "-" else named
    wanted = {"consumer": consumer} if consumer else {"token" if "." in (text or "") else "jti": text}
    found, of = ask(config, admin, lambda client: client.revoke_tokens(wanted))
    what = f"the token {found['jti']}" if "jti" in found else f"every token that {found['consumer']} has had"
    say(out, f"{what} is revoked, in {of}")
    if not found["known"]:
        say(err, f"there is no consumer {consumer} in the file: these are tokens from before, if there are any")
    check_outcome(found)


@token.command("rotate")
def rotate(
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="At once, and no token that was signed before is accepted any more.")
    ] = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> None:
    """Have another key sign tokens: in ten minutes, once it is known everywhere."""
    found, of = ask(config, admin, lambda client: client.rotate_token_keys(withdraw=withdraw))
    kid = found["keys"][-1]["kid"]
    when = "now, and alone" if withdraw else "in ten minutes"
    say(out, f"{of}: the key {kid} signs tokens {when}")
