"""The gateway that `portico run` starts, once its configuration is read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from portico.core.imports import kept
from portico.core.printing import printable

if TYPE_CHECKING:
    from portico.config import Config


def serve(load: Callable[[], tuple[Config, Path | None, str]], *, reload: bool, has_port: bool) -> None:
    """Serve until SIGTERM or Ctrl-C, by the configuration that `load` gives, with its file and what is wrong with that.

    Nobody else may hold the configuration: other processes load their own, and this one is to have that memory back.

    Where its address is taken, that ends the command, with exit code 1; `has_port` says that the command line has one.
    """
    with kept():  # first: modules that lie among what is read would keep its memory from being returned
        from portico.config import expired_certificates, warnings_for
        from portico.processes.ipc.listeners import ListenError, Listeners
        from portico.processes.supervisor.main import Supervisor
    loaded, path, refused = load()
    for warning in [*expired_certificates(loaded), *warnings_for(loaded)]:
        _say(f"warning: {warning}")
    try:
        option = "--port" if has_port else "GATEWAY_PORT"
        listeners = Listeners.open(loaded.gateway, f", or name another port: {option}")
    except ListenError as error:
        _fail(f"portico: {error}")
    supervisor = Supervisor(loaded, path, listeners, watch=reload, refused=refused)
    del loaded
    supervisor.run()


def _say(message: str) -> None:
    """As `console.say` does, which brings all that draws tables: a supervisor would hold that as long as it runs."""
    print(printable(message, "\n"), file=sys.stderr, flush=True)  # noqa: T201


def _fail(message: str) -> NoReturn:
    _say(message)
    raise SystemExit(1)
