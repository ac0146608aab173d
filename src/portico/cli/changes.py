"""What commands say of a change of the configuration before it is made, and whether they ask."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import typer
from rich.text import Text

from portico.cli.console import fail, out
from portico.core.printing import printable
from portico.plan import Change, Effect, Kind, Plan, lines

_STYLES: Final = {"+": "green", "-": "red", "~": "yellow"}
_FEW: Final = 3


def change_of(data: Mapping[str, Any]) -> Change:
    """A change as the admin API has it."""
    effect = data["effect"]
    return Change(
        kind=Kind(data["kind"]),
        what=data["what"],
        details=tuple(data["details"]),
        effect=Effect(effect) if effect else None,
        where=data["where"],
        warning=data["warning"] or "",
    )


def show(changes: Sequence[Change]) -> None:
    """Print them, or that there are none."""
    said = [printable(line) for line in lines(Plan(tuple(changes)))]
    if out.is_terminal:
        out.print(Text("\n").join(map(_styled, said)))
    else:
        typer.echo("\n".join(said))


def _styled(line: str) -> Text:
    text = Text(line)
    if line[:2] in ("+ ", "- ", "~ "):
        text.stylize(_STYLES[line[0]], 0, 1)
        text.highlight_words([f", {Effect.LOOSENED}"], "bold red")
    elif line.startswith("    warning:"):
        text.stylize("bold red")
    return text


def renamed(changes: Iterable[Mapping[str, Any]], served: Path | None, file: str) -> list[Change]:
    """Changes that a gateway says of a document, which it takes for its own file: that is `file` here.

    What is removed is in its own file.
    """
    found = []
    for data in changes:
        is_old = data["kind"] == Kind.REMOVED and not str(data["what"]).startswith("policy ")
        where = data["where"] if is_old else named(data["where"], served, file)
        found.append(change_of({**data, "where": where}))
    return found


def named(where: str, served: Path | None, file: str) -> str:
    """`FILE:LINE` with the name of the file here, where it names the gateway's."""
    path, colon, line = where.rpartition(":")
    if served is None or not colon or Path(path).parts != served.parts[-len(Path(path).parts) :]:
        return where
    return f"{file}:{line}"


def agree(changes: Sequence[Change], doing: str, *, yes: bool) -> None:
    """Go on where nothing lets more requests through; else somebody has to say so, by `--yes` or at the terminal."""
    looser = [change for change in changes if change.effect is Effect.LOOSENED or change.warning]
    if not looser or yes:
        return
    few = ", ".join(dict.fromkeys(change.what for change in looser[:_FEW]))
    more = f" and {len(looser) - _FEW} more" if len(looser) > _FEW else ""
    said = f"this lets more requests through than now: {printable(few)}{more}"
    if not sys.stdin.isatty():
        fail(f"portico: not {doing}: {said}; --yes says that it is meant")
    if not typer.confirm(f"{said[0].upper()}{said[1:]}. Go on?"):
        fail(f"portico: not {doing}: nothing has changed")
