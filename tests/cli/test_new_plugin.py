"""`portico plugin new`: what it writes passes its own tests, and whatever an author would check it with, at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from portico.cli.main import app
from portico.cli.new_plugin import checked_plugin_name, write_plugin

SOURCE = Path(__file__).parents[2] / "src"
LONG = "a-name-that-is-as-long-as-one-may-be-123"
"""Of forty characters."""


def run(path: Path, *command: str) -> str:
    """Run a module of Python's in the package, as in a virtual environment in which it and Portico are installed."""
    environ = {**os.environ, "PYTHONPATH": f"{SOURCE}:{path / 'src'}", "MYPYPATH": str(SOURCE)}
    arguments = [sys.executable, "-m", *command]
    done = subprocess.run(arguments, cwd=path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin")
    write_plugin("block-old-clients", path)
    return path


def test_it_passes_its_own_tests(package: Path) -> None:
    assert "10 passed" in run(package, "pytest", "-q", "-p", "no:cacheprovider")


def test_it_passes_mypy_strict(package: Path, cache: pytest.Cache) -> None:
    known = cache.mkdir("mypy")  # what was read of Python's own types takes most of the time
    assert "Success" in run(package, "mypy", "--strict", "--cache-dir", str(known))


@pytest.mark.parametrize("name", ["a", "block-old-clients", LONG])
def test_it_passes_ruff_whatever_its_name(name: str, tmp_path: Path) -> None:
    write_plugin(name, tmp_path)
    run(tmp_path, "ruff", "check", "--no-cache", "--select", "E,F,I,N,UP,B,SIM,RUF,PT", ".")
    run(tmp_path, "ruff", "format", "--no-cache", "--check", ".")


def test_it_says_what_it_wrote_and_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["plugin", "new", "block-old-clients"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "block-old-clients is written:"
    written = {line.strip() for line in lines[1 : lines.index("")]}
    root = tmp_path / "block-old-clients"
    assert {str(each.relative_to(root)) for each in root.rglob("*") if each.is_file()} == written
    assert written >= {
        "pyproject.toml",
        "README.md",
        "src/block_old_clients/policy.py",
        "src/block_old_clients/py.typed",
    }
    assert lines[-4:] == [
        "  cd block-old-clients",
        "  pip install -e '.[dev]'",
        "  pytest && ruff check . && mypy",
        "  portico run",
    ]
    assert "$" not in (root / "src/block_old_clients/policy.py").read_text(encoding="utf-8").replace('}$"', "")


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    own, empty = tmp_path / "own", tmp_path / "empty"
    own.mkdir()
    empty.mkdir()
    (own / "pyproject.toml").write_text("mine", encoding="utf-8")
    arguments = ["plugin", "new", "a-policy", "--directory"]
    done = CliRunner().invoke(app, [*arguments, str(own)])
    assert done.exit_code == 1
    assert done.stderr == (
        f"portico: {own} is there already and stays as it is; name another directory with --directory PATH\n"
    )
    assert [each.read_text(encoding="utf-8") for each in own.iterdir()] == ["mine"]
    assert CliRunner().invoke(app, [*arguments, str(own / "pyproject.toml")]).exit_code == 1
    assert CliRunner().invoke(app, [*arguments, str(empty)]).exit_code == 0
    assert (empty / "src" / "a_policy" / "policy.py").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BlockOldClients", "such as block-old-clients"),
        ("block_old", "such as block-old"),
        ("Block old", "such as block-old"),
        ("-x", "such as x"),
        ("../x", "such as x"),
        ("2fa", "such as fa"),
        ("", "such as block-old-clients"),
        ("ä", "such as block-old-clients"),
        ("json", "json-policy"),
        ("class", "class-policy"),
        ("portico", "portico-policy"),
        ("exchange", "exchange-policy"),
        (f"{LONG}4", "longer than 40"),
    ],
)
def test_what_is_no_name(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=message):
        checked_plugin_name(name)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["plugin", "new", "--", name]).exit_code == 2
    assert not any(tmp_path.iterdir())
