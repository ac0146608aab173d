"""`portico explain`: what becomes of a request, and why."""

from __future__ import annotations

import json
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from portico.cli.configured import load
from portico.cli.console import fail, fail_usage, out, say
from portico.cli.explained import lines_of
from portico.cli.options import AdminOption, ConfigOption
from portico.core.printing import printable

if TYPE_CHECKING:
    from portico.snapshot.explain import Explanation, Question

_UNPROCESSABLE: Final = 422


class Form(StrEnum):
    """How an explanation is printed."""

    TEXT = "text"
    JSON = "json"


def explain(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="The method, such as GET.", show_default=False)],
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="A path, or a URL with the host that clients ask.", show_default=False),
    ],
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="A field; may come again.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", metavar="TEXT", help="The body, or @FILE for what is in a file.")
    ] = None,
    client_ip: Annotated[
        str, typer.Option("--client-ip", metavar="ADDRESS", help="The client's address.")
    ] = "127.0.0.1",
    listener: Annotated[
        str | None, typer.Option("--listener", metavar="NAME", help="The listener, or its port, that gets it.")
    ] = None,
    others: Annotated[
        int, typer.Option("--others", metavar="N", min=0, help="How many other routes are named, the nearest ones.")
    ] = 10,
    form: Annotated[Form, typer.Option("--format", help="How it is printed.")] = Form.TEXT,
    live: Annotated[bool, typer.Option("--live", help="Ask the running gateway in place of the file.")] = False,
    admin: AdminOption = None,
    config: ConfigOption = None,
) -> None:
    """Say what becomes of a request: its route, why no other one, and what its service gets.

    Nothing is sent or counted. It goes by the file, with every instance up and nothing counted yet, or with --live by
    what the running gateway knows; --admin says which one. Exit code 0 where a service gets the request or the gateway
    answers it, 1 where the gateway would refuse it, 2 where no such request can be sent.
    """
    question = _question(method, url, header or [], data, client_ip, listener)
    try:
        question.check()
        is_live = live or admin is not None
        found = _live(question, config, admin, others) if is_live else _offline(question, config, others)
    except ValueError as error:
        fail_usage(f"portico: {error}")
    if form is Form.JSON:
        typer.echo(json.dumps(found, indent=2))
    else:
        for line in lines_of(found):
            say(out, printable(line))
    if found["outcome"] == "refused":
        raise typer.Exit(1)


def _question(
    method: str, url: str, headers: list[str], data: str | None, client_ip: str, listener: str | None
) -> Question:
    from portico.snapshot.explain import Question

    pairs = [header.partition(":") for header in headers]
    for (_, colon, _), header in zip(pairs, headers, strict=True):
        if not colon:
            raise typer.BadParameter(f"expected NAME: VALUE, not {header!a}", param_hint="--header")
    try:
        address = str(ip_address(client_ip))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--client-ip") from error
    return Question(
        method, url, tuple((name, value.strip()) for name, _, value in pairs), _body(data), address, listener
    )


def _body(data: str | None) -> bytes:
    if data is None or not data.startswith("@"):
        return (data or "").encode("utf-8", "surrogateescape")
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{data[1:]}: {error.strerror}", param_hint="--data") from error


def _offline(question: Question, path: Path | None, others: int) -> Explanation:
    """By the file alone."""
    import asyncio

    from portico.snapshot.explain import explain, lines_in, located
    from portico.snapshot.explain.offline import offline

    config, _ = load(path)

    async def explained() -> Explanation:
        builder, snapshot = offline(config)
        return await explain(builder, snapshot, config, question, others)

    said = located(asyncio.run(explained()), lines_in(config))
    said["notes"].append("this is by the file: every instance is up, and nothing has been counted or cached yet")
    return said


def _live(question: Question, path: Path | None, admin: str | None, others: int) -> Explanation:
    """By what a running gateway knows."""
    from portico.cli.admin_client import AdminError, RefusedError
    from portico.cli.explain_live import asked
    from portico.cli.running import gateway_at

    client = gateway_at(path, admin)
    try:
        said = asked(question, client, others)
    except UnicodeEncodeError:
        raise ValueError("a running gateway is asked in UTF-8, and this is none") from None
    except AdminError as error:
        if isinstance(error, RefusedError) and error.status == _UNPROCESSABLE:
            raise ValueError(str(error)) from None
        fail(f"portico: {error}")
    said["notes"].append(f"this is what a worker of the gateway at {client.where} says")
    return said
