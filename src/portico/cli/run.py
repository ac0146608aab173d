"""Commands that start a gateway: `portico run`, and `portico demo`, with services to try it on."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import typer

from portico.cli.configured import named_file, usable
from portico.cli.console import err, fail, fail_usage
from portico.cli.options import ConfigOption, FileArgument
from portico.cli.resuming import loaded_or_last
from portico.cli.serving import serve
from portico.core.imports import kept


def run(
    context: typer.Context,
    file: FileArgument = None,
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option("--host", help="Where to listen, in place of gateway.host.")] = None,
    port: Annotated[
        str | None, typer.Option("--port", metavar="PORT", help="The same for gateway.port; 0 picks a free one.")
    ] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Reload the file whenever it changes.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="If the file is wrong, serve by what was last in force instead.")
    ] = False,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    path = named_file(context, file, config)
    _check_address(host, port)
    for variable, value in (("GATEWAY_HOST", host), ("GATEWAY_PORT", port)):  # there, they outlast reloads
        if value is not None:
            os.environ[variable] = value
    load = partial(loaded_or_last, path) if resume else (lambda: (*usable(path), ""))
    serve(load, reload=reload, has_port=port is not None)


def _check_address(host: str | None, port: str | None) -> None:
    """The options of `run`, before they stand for variables: messages would name those."""
    from portico.config.listen import listening_host

    if host is not None:
        try:
            listening_host(host)
        except ValueError as error:
            fail_usage(f"portico: --host: {error}")
    if port is not None and not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        fail_usage("portico: --port: expected a whole number from 0 to 65535")


def demo(config: ConfigOption = None) -> None:
    """Start three sample services and the gateway in front of them, until Ctrl-C."""
    loaded, path = usable(config, demo=True)
    with kept():
        from portico.demo.run import run_demo
        from portico.processes.ipc.listeners import ListenError
    for finding in loaded.ignored:
        err.print(f"warning: {loaded.problem(finding)}", markup=False)
    try:
        run_demo(loaded, path)
    except ListenError as error:
        fail(f"portico: {error}")
