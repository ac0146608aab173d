"""`portico import`: another system's configuration as a `portico.yaml`."""

from __future__ import annotations

import gc
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portico.cli.console import fail, fail_usage
from portico.cli.options import DEFAULT_CONFIG
from portico.core.printing import printable

if TYPE_CHECKING:
    from portico.imports import Remark


class Source(StrEnum):
    """The system that the file is for."""

    NGINX = "nginx"
    KONG = "kong"
    TRAEFIK = "traefik"


def import_(
    source: Annotated[Source, typer.Argument(help="The system that the file is for.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file; what nginx includes in it is read, too.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write, in place of stdout.")
    ] = None,
    report: Annotated[
        str,
        typer.Option("--report", metavar="FILE", help="Where to write the report, in place of stderr; - is stdout."),
    ] = "",
    prefix: Annotated[
        Path | None,
        typer.Option("--prefix", metavar="DIR", help="Where relative names in nginx's file begin, as nginx -p has it."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    lossy: Annotated[bool, typer.Option("--lossy", help="End with 0 although something changed or was left.")] = False,
) -> None:
    """Write the configuration of another system as a portico.yaml, which loads.

    A report says of each line whether it was taken, means something else now, or has no counterpart. Exit code 1 where
    something is not as it was, 2 for a file that cannot be read.
    """
    from portico.imports import IMPORTERS, SourceError, finished

    if report == "-" and output is None:
        raise typer.BadParameter("stdout has the configuration: name a file by --output", param_hint="--report")
    if prefix is not None and source is not Source.NGINX:
        raise typer.BadParameter("only files of nginx include others", param_hint="--prefix")
    for path in (output, Path(report) if report not in ("", "-") else None):
        if path is not None and path.exists() and not force:
            fail_usage(f"portico: {path} is there already; --force writes over it")
    gc.disable()  # thousands of routes are made, of which none is garbage: looking for some doubles the time
    try:
        draft = IMPORTERS[source.value](file, prefix=prefix)
        imported = finished(draft, str(output or DEFAULT_CONFIG))
    except SourceError as error:
        fail_usage(str(error))
    lines = _report(imported.remarks)
    if output is None:
        typer.echo(imported.text, nl=False)
    else:
        _write(output, imported.text)
    if report in ("", "-"):
        typer.echo(lines, nl=False, err=report == "")
    else:
        _write(Path(report), lines)
        typer.echo(lines.splitlines()[-1], err=True)
    if any(remark.kind != "taken" for remark in imported.remarks) and not lossy:
        raise typer.Exit(1)


def _report(remarks: tuple[Remark, ...]) -> str:
    """What was taken, then what changed, then what was left: that which needs a look stands last."""
    kinds = ("taken", "changed", "left")
    lines = [printable(str(remark)) for kind in kinds for remark in remarks if remark.kind == kind]
    counts = ", ".join(f"{sum(remark.kind == kind for remark in remarks)} {kind}" for kind in kinds)
    return "\n".join([*lines, f"portico: {counts}", ""])


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        fail(f"portico: {path}: {error.strerror}")
