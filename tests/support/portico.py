"""Portico's own command: the package that this process would import, whatever else is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import yaml

from .process import Process

_PATHS: Final = ("PATH", "HOME", "LANG", "LC_ALL", "VIRTUAL_ENV")


def command(*arguments: object) -> list[str]:
    """What runs `portico` with these arguments."""
    return [sys.executable, "-m", "portico", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """Of this process's environment only what leads to programs; `more` is laid over it."""
    kept = {name: os.environ[name] for name in _PATHS if name in os.environ}
    return {**kept, "PYTHONPATH": str(source()), **more}


@cache
def source() -> Path:
    """The folder of the package: a relative PYTHONPATH leads elsewhere from another directory."""
    found = find_spec("portico")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).resolve().parents[1]


def configuration(config: Mapping[str, Any], port: int) -> str:
    """A configuration file for a gateway on loopback, with an admin API wherever a port is free."""
    written = config.get("gateway", {})
    where = {} if "listen" in written else {"host": "127.0.0.1", "port": port}
    gateway = {**where, "admin": "127.0.0.1:0", **written}
    return str(yaml.safe_dump({**config, "gateway": gateway}, sort_keys=False))


class _Command(Process):
    SEPARATES = True


def run_portico(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself, in an empty directory."""
    with _Command(*command(*arguments), env=environment(**env)) as process:
        code = process.running.wait(60)
        return subprocess.CompletedProcess(arguments, code, process.out(), process.err())
