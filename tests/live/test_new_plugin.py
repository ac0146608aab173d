"""From nothing to a gateway with a policy of one's own, by the commands that `portico plugin new` prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from portico.cli.new_plugin import write_plugin
from support import portico
from support.backend import Backend
from support.client import ask
from support.world import Gateway

ROOT = Path(__file__).parents[2]
NAME = "block-old-clients"


class PackagesGateway(Gateway):
    """`portico run` with the configuration that a new package has, before another service than it names."""

    def __init__(self, package: Path, backend: Backend, program: list[str], env: Mapping[str, str]) -> None:
        super().__init__(env={"GATEWAY_PORT": "0", "GATEWAY_HOST": "127.0.0.1", **env})
        self.file = package / "portico.yaml"
        text = self.file.read_text(encoding="utf-8")
        assert "http://localhost:8001" in text
        text = text.replace("http://localhost:8001", backend.url)
        self.file.write_text(f"gateway: {{admin: '127.0.0.1:0'}}\n{text}", encoding="utf-8")
        self._program = program

    def command(self) -> list[str]:
        return [*self._program, "run", "--config", str(self.file)]


def check_served(gateway: Gateway, backend: Backend) -> None:
    """Old clients are refused, new ones are served."""
    refused = ask(gateway.port, "GET", "/api/example/x", "X-Client-Version: 2.0")
    assert (refused.status, refused.json()["reason"]) == (403, "client_too_old")
    assert refused.get("x-min-client-version") == "2.1"
    assert backend.requests == []
    assert ask(gateway.port, "GET", "/api/example/x", "X-Client-Version: 2.1").status == 200
    assert backend.targets() == ["/x"]


def test_a_gateway_runs_with_it(backend: Backend, tmp_path: Path) -> None:
    package, installed = tmp_path / "package", tmp_path / "installed"
    write_plugin(NAME, package)
    pretend_installed(package, installed)
    paths = [portico.source(), package / "src", installed]
    env = {"PYTHONPATH": ":".join(map(str, paths))}
    with PackagesGateway(package, backend, portico.command(), env) as gateway:
        check_served(gateway, backend)


def pretend_installed(package: Path, site: Path) -> None:
    """What an installation leaves beside the code: the package's name and its entry points."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    text = "".join(
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in own.items()) for group, own in groups
    )
    (info / "entry_points.txt").write_text(text)


@pytest.mark.skipif(
    "PORTICO_FRESH" not in os.environ, reason="make package runs it: it installs packages, for a minute"
)
@pytest.mark.timeout(600)
def test_all_of_it_from_the_wheel_in_a_fresh_environment(backend: Backend, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run(tmp_path, sys.executable, "-m", "venv", venv)
    pip: list[str | Path] = [venv / "bin/python", "-m", "pip", "--disable-pip-version-check", "-q"]
    install: list[str | Path] = [*pip, "install", "--constraint", ROOT / "constraints.txt"]

    run(tmp_path, *pip, "wheel", "--no-deps", "--wheel-dir", "wheels", copy_of_source(tmp_path))
    (wheel,) = (tmp_path / "wheels").iterdir()
    run(tmp_path, *install, wheel)
    written = run(tmp_path, venv / "bin/portico", "plugin", "new", NAME)

    package = tmp_path / NAME
    assert f"{NAME} is written" in written
    run(package, *install, "--editable", ".[dev]")
    assert "10 passed" in run(package, venv / "bin/pytest", "-q")
    run(package, venv / "bin/ruff", "check", ".")
    run(package, venv / "bin/ruff", "format", "--check", ".")
    run(package, venv / "bin/mypy")

    with PackagesGateway(package, backend, [str(venv / "bin/portico")], {"PYTHONPATH": ""}) as gateway:
        check_served(gateway, backend)


def copy_of_source(folder: Path) -> Path:
    """What a wheel is built of, apart: building leaves files behind, and takes up what was left before."""
    copy = folder / "source"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


def run(folder: Path, *command: str | Path) -> str:
    """What a command prints. It sees no package of this environment."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    arguments = [str(each) for each in command]
    done = subprocess.run(arguments, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout
