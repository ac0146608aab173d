"""`portico run`, read without the package that all commands are made with: it takes a tenth of a start, and stays.

Only what is right ends here. Whatever else is written, wrong or rarely used, is for the command itself to answer.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from portico.core.imports import kept

if TYPE_CHECKING:
    from portico.config import Config

_DEFAULT: Final = "portico.yaml"
_OPTIONS: Final = {"--config": "config", "-c": "config", "--host": "host", "--port": "port"}


@dataclass
class _Written:
    config: str = ""
    host: str = ""
    port: str = ""
    reload: bool = False

    @property
    def variables(self) -> tuple[tuple[str, str], ...]:
        return ("GATEWAY_HOST", self.host), ("GATEWAY_PORT", self.port)


def run_quickly(arguments: Sequence[str]) -> None:
    """Run the gateway that `portico run` with these arguments starts; returns where the command itself has to do it."""
    written = None if "_PORTICO_COMPLETE" in os.environ else _read(arguments)
    if written is None:
        return
    path = Path(written.config or _named() or _DEFAULT)
    os.environ.update({name: value for name, value in written.variables if value})  # there, they outlast reloads
    gc.disable()  # until the supervisor starts the others: nothing of a configuration is garbage until it lets go of it
    try:
        found = _loaded(path)
        if not found:
            gc.enable()
            return
        from portico.cli.serving import serve

        serve(lambda: (found.pop(), path, ""), reload=written.reload, has_port=bool(written.port))
    except KeyboardInterrupt:  # before the supervisor has begun, which takes it for a signal to stop
        sys.exit("Aborted.")
    sys.exit()


def _named() -> str:
    """The file that PORTICO_CONFIG names, without the end of a line that editors leave in files of variables."""
    return os.environ.get("PORTICO_CONFIG", "").removesuffix("\n").removesuffix("\r")


def _read(arguments: Sequence[str]) -> _Written | None:
    written, left = _Written(), [*arguments]
    while left:
        argument = left.pop(0)
        name, equals, value = argument.partition("=")
        if argument == "--reload":
            written.reload = True
        elif name in _OPTIONS and (left if not equals else name.startswith("--")):
            value = value if equals else left.pop(0)
            if not value or value.startswith("-") or getattr(written, _OPTIONS[name]):
                return None
            if name == "--port" and not (value.isascii() and value.isdigit()):
                return None
            setattr(written, _OPTIONS[name], value)
        elif argument.startswith("-") or not argument or written.config:
            return None
        else:
            written.config = argument
    return written


def _loaded(path: Path) -> list[Config]:
    """The configuration; none where something is wrong with it, or users' policies are to be imported first."""
    with kept():
        import portico.processes.supervisor.main  # noqa: F401  as in `serve`
        from portico.config import ConfigError, file_problems, load_config, names_plugins
    try:
        loaded = load_config(path, os.environ)
    except ConfigError:
        return []
    return [] if names_plugins(loaded) or file_problems(loaded) else [loaded]
