"""`portico logs`: the access log and events, or what comes now, readable, and only what is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from portico.cli.console import err, fail, fail_usage, out, say
from portico.cli.log_files import backwards, coming, whole_lines_end
from portico.cli.log_lines import Filter, is_status, last, read, readable
from portico.cli.options import AdminOption, ConfigOption
from portico.cli.running import gateway_at, gateway_written

_STANDARD: Final = ("stdout", "stderr", "off")
_LINES: Final = 20
"""How many lines are shown where nobody says."""


def logs(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="The log, or - for standard input; else that of the configuration."),
    ] = None,
    config: ConfigOption = None,
    live: Annotated[
        bool, typer.Option("--live", help="What comes to the running gateway from now on, in place of its log.")
    ] = False,
    admin: AdminOption = None,
    number: Annotated[
        int | None,
        typer.Option(
            "--lines",
            "-n",
            min=0,
            show_default=False,
            help="How many of the last, else 20; with --live, of the next.",
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    status: Annotated[list[str] | None, typer.Option(help="404 or 5xx; as the next three, it may be repeated.")] = None,
    service: Annotated[list[str] | None, typer.Option(help="The service.")] = None,
    route: Annotated[list[str] | None, typer.Option(help="The route.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="The method.")] = None,
    path: Annotated[str, typer.Option(help="What the path begins with.")] = "",
    client: Annotated[str, typer.Option(help="The address of the client.")] = "",
    user: Annotated[str, typer.Option(help="The consumer.")] = "",
    reason: Annotated[str, typer.Option(help="Why the gateway answered itself.")] = "",
    identity: Annotated[str, typer.Option("--id", help="The request's or the trace's id.")] = "",
    slower: Annotated[str, typer.Option(metavar="DURATION", help="What took at least this long: 500ms.")] = "",
    errors: Annotated[bool, typer.Option("--errors", help="What failed: 5xx, and what has a reason.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The lines as they are.")] = False,
) -> None:
    """Show the last lines of the log in words, and go on with --follow; options choose among them.

    With --live, or where the gateway writes no file, it asks the running gateway for exchanges as they end, whatever
    that logs, until Ctrl-C.

    It reads a log in JSON, which is the format unless gateway.log.format says text. Other lines are shown where nothing
    is asked for.
    """
    for text in status or ():
        if not is_status(text):
            fail_usage(f"portico: --status {text}: write a status such as 404, or a class such as 5xx")
    wanted = Filter(
        statuses=tuple(status or ()),
        services=tuple(service or ()),
        routes=tuple(route or ()),
        methods=tuple(each.upper() for each in method or ()),
        path=path,
        client=client,
        user=user,
        reason=reason,
        identity=identity,
        slower=_seconds(slower),
        errors=errors,
    )

    def made(line: str) -> str | None:
        data = read(line)
        if data is None:
            return None if wanted.checks else line
        if not wanted.passes(data):
            return None
        return line if as_json else readable(data)

    if file is not None and str(file) == "-":
        for line in sys.stdin:
            _show(line.rstrip("\n"), made)
        return
    is_asked = live or admin is not None
    if file is not None and is_asked:
        fail_usage("portico: a file is read, or the gateway is asked: leave FILE out, or --live and --admin")
    log = file if file is not None or is_asked else _configured(config)
    if log is not None:
        _show_file(log, _LINES if number is None else number, follow, made)
    else:
        from portico.cli.live_logs import show_live

        if not is_asked:
            say(err, "the gateway writes no file: what it does from now on; portico run | portico logs - reads its log")
        show_live(gateway_at(config, admin), wanted.asked(), number, made)


def _show(line: str, made: Callable[[str], str | None]) -> None:
    if (text := made(line)) is not None:
        say(out, text)


def _show_file(path: Path, number: int, follow: bool, made: Callable[[str], str | None]) -> None:
    try:
        file = path.open("rb")
    except OSError as error:
        fail(f"portico: {path}: {error.strerror}")
    with closing(coming(path, file)) as lines, suppress(KeyboardInterrupt):
        end = whole_lines_end(file)
        for text in last(backwards(file, end), number, made):
            say(out, text)
        file.seek(end)
        for line in lines if follow else ():
            _show(line, made)
    file.close()  # where nothing was read of what comes


def _configured(config: Path | None) -> Path | None:
    """The file that the gateway writes, if it writes one."""
    target = gateway_written(config).log.access
    return None if target in _STANDARD or target.startswith("syslog") else Path(target)


def _seconds(text: str) -> float:
    from portico.core.settings import parse_duration

    if not text:
        return 0.0
    try:
        return float(parse_duration(text))
    except ValueError as error:
        fail_usage(f"portico: --slower {text}: {error}")
