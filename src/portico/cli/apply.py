"""`portico apply` and `portico rollback`: another configuration for a running gateway, or an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from portico.cli.configured import text_of
from portico.cli.console import err, fail, out, say
from portico.cli.options import AdminOption, ConfigOption
from portico.cli.running import described, gateway_at

if TYPE_CHECKING:
    from portico.cli.admin_client import RefusedError

WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for the history.")]
YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Ask nothing, also where more requests get through than now.")
]


def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The configuration, or - for standard input.")],
    yes: YesOption = False,
    why: WhyOption = "",
    tag: Annotated[
        str,
        typer.Option("--if-match", metavar="TAG", help="Only if that is in force which portico dump named so."),
    ] = "",
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> None:
    """Have a running gateway take over a file: all of it, in every worker, or nothing.

    It shows the plan first, and asks before more requests get through than now. What is sent takes the place of the
    gateway's own file. Where somebody else has changed that meanwhile nothing is applied. Exit code 1 if it is refused.
    """
    from portico.cli.admin_client import AdminError, RefusedError
    from portico.cli.changes import agree, renamed, show

    text = text_of(file)
    client = gateway_at(config, admin)
    served: Path | None = None
    try:
        served = client.file()
        seen = _quoted(tag) if tag else client.configuration()[1]
        changes = renamed(client.plan(text)["changes"], served, str(file))
        show(changes)
        agree(changes, "applied", yes=yes)
        done = client.apply(text, seen, why)
    except RefusedError as error:
        refuse(error, served, str(file))
    except AdminError as error:
        fail(f"portico: {error}")
    _say_done(done, described(client, served))


def rollback(
    number: Annotated[
        int | None,
        typer.Argument(metavar="N", min=1, help="One of portico history; else the one before.", show_default=False),
    ] = None,
    yes: YesOption = False,
    why: WhyOption = "",
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> None:
    """Have a running gateway go back to an earlier configuration, that of a number in `portico history`.

    It shows first what that changes, and asks before more requests get through than now. Exit code 1 if it is refused.
    """
    from portico.cli.admin_client import AdminError, RefusedError
    from portico.cli.changes import agree, change_of, show

    client = gateway_at(config, admin)
    served: Path | None = None
    try:
        served = client.file()
        seen = client.configuration()[1]
        changes = [*map(change_of, client.rollback(number, seen, why, dry_run=True)["changes"])]
        show(changes)
        agree(changes, "rolled back", yes=yes)
        done = client.rollback(number, seen, why, dry_run=False)
    except RefusedError as error:
        refuse(error, served, str(served))
    except AdminError as error:
        fail(f"portico: {error}")
    _say_done(done, described(client, served))


def _say_done(done: Mapping[str, Any], of: str) -> None:
    if done.get("number") is None:
        say(out, f"generation {done['generation']} stays in use by {of}")
        return
    say(out, f"generation {done['generation']} is in use by {of}; portico rollback goes back")
    say(out, f"portico history {done['number']} says what that changed")
    for note in done.get("notes", ()):
        say(err, f"note: {note}")


def refuse(error: RefusedError, served: Path | None, file: str) -> NoReturn:
    """End the command: what is wrong with the document, or what somebody else has changed, and what to do."""
    if problems := error.document.get("problems"):
        fail("\n".join(_problem(each, served, file) for each in problems))
    if error.status != 412:
        fail(f"portico: {error}")
    said = [f"portico: nothing was applied: {error}"]
    if changes := error.document.get("changes"):
        from portico.cli.changes import change_of
        from portico.plan import Plan, lines

        told = [*lines(Plan(tuple(map(change_of, changes))))][:-1]
        said += ["changed meanwhile:", *(f"    {line}" for line in told)]
        said.append("portico dump --file shows what is in force now: take over into your file what is to stay, and")
        said.append(f"portico plan {file} shows what is left to apply")
    else:
        said.append("portico reload takes over what is on disk; portico plan of that file says what that is")
    fail("\n".join(said))


def _problem(problem: Mapping[str, Any], served: Path | None, file: str) -> str:
    """As `portico check` says it."""
    from portico.cli.changes import named
    from portico.config import Problem

    path, line, column = (problem.get(key) for key in ("file", "line", "column"))
    shown = named(f"{path}:", served, file).rstrip(":") if path else None
    return str(Problem(shown, line, column, problem.get("key") or "", problem["message"], problem.get("suggestion")))


def _quoted(tag: str) -> str:
    return tag if tag == "*" or tag.endswith('"') else f'"{tag}"'
