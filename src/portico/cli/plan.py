"""`portico plan`: what another configuration would change, in words."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from portico.cli.configured import load
from portico.cli.console import count, out, say
from portico.cli.kept import kept

if TYPE_CHECKING:
    from portico.plan import Change, Plan

_MARKS: Final = {"added": "+", "removed": "-", "changed": "~"}


class Form(StrEnum):
    """How a plan is printed."""

    TEXT = "text"
    JSON = "json"


def plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The configuration that is to come.")],
    old: Annotated[Path, typer.Option("--from", metavar="FILE", help="The configuration that there is.")],
    form: Annotated[Form, typer.Option("--format", help="How it is printed.")] = Form.TEXT,
) -> None:
    """Say what a new file changes: services, routes, and policies that let more or fewer requests through.

    Exit code 0 if nothing changes, 2 if something does, 1 if one of the files is wrong. How a file is written does not
    matter: defaults that are written out, other words for a duration and another order are no change.
    """
    gc.disable()  # thousands of routes are made, of which none is garbage
    with kept():
        from portico.plan import plan

    before, after = load(old)[0], load(file)[0]
    found = plan(before, after)
    if form is Form.JSON:
        typer.echo(json.dumps([_as_data(change) for change in found.changes], indent=2))
    else:
        for line in _lines(found):
            say(out, line)
    if found.changes:
        raise typer.Exit(2)


def _as_data(change: Change) -> dict[str, object]:
    return {
        "kind": change.kind,
        "what": change.what,
        "effect": change.effect,
        "details": list(change.details),
        "where": change.where,
        "warning": change.warning or None,
    }


def _lines(plan: Plan) -> Iterator[str]:
    if not plan.changes:
        yield "no changes"
        return
    for change in plan.changes:
        effect = f", {change.effect}" if change.effect else ""
        where = f" ({change.where})" if change.where else ""
        yield f"{_MARKS[change.kind]} {change.what}{effect}{where}"
        yield from (f"    {line}" for line in change.details)
        if change.warning:
            yield f"    warning: {change.warning}"
    yield _summary(plan)


def _summary(plan: Plan) -> str:
    kinds = Counter(str(change.kind) for change in plan.changes)
    effects = Counter(str(change.effect) for change in plan.changes if change.effect)
    said = [", ".join(f"{number} {word}" for word, number in counted.items()) for counted in (kinds, effects)]
    warnings = count(plan.warnings, "warning") if plan.warnings else ""
    return f"{count(plan.changes, 'change')}: {'; '.join(filter(None, (*said, warnings)))}"
