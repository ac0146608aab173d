"""Shells complete commands, options, and names of the configuration, by what `portico --install-completion` leaves."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from portico.cli.completion import Complete, canary_names, consumer_names, service_names
from portico.cli.main import app
from support import portico

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")

LEFT = {
    "bash": ".bash_completions/portico.sh",
    "zsh": ".zfunc/_portico",
    "fish": ".config/fish/completions/portico.fish",
}
FILE = """\
consumers: [{name: ada}, {name: bob}]
services: {shop: {url: "http://h:1"}, shop-next: {url: "http://h:2"}, users: {url: "http://h:3"}}
routes: [{name: sales, path: /sales, service: shop, canary: {to: shop-next, steps: [50], every: 1h}}]
"""

Shell = Callable[..., str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a portico.yaml, and a `portico` on its PATH."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "portico.yaml").write_text(FILE)
    (folder / "bin").mkdir()
    program = folder / "bin" / "portico"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(portico.command())} "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def shell(home: Path) -> Shell:
    def run(text: str, program: str = "bash", **variables: str) -> str:
        environ = portico.environment(HOME=str(home), **variables)
        environ["PATH"] = f"{home / 'bin'}:{environ['PATH']}"
        done = subprocess.run([program, "-c", text], cwd=home, env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.mark.parametrize("name", sorted(LEFT))
def test_a_script_is_left_for_the_shell_that_asks(name: str, home: Path, shell: Shell) -> None:
    (home / "shells").mkdir(exist_ok=True)
    shutil.copy(shutil.which("bash") or "", home / "shells" / name)  # it goes by the program's name
    said = shell("portico --install-completion; true", str(home / "shells" / name))
    assert f"{name} completion installed in {home / LEFT[name]}" in said
    assert "portico" in (home / LEFT[name]).read_text()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ca", ["cache", "canary"]),
        ("canary abort ''", ["sales"]),
    ],
)
def test_bash_completes(words: str, offered: list[str], home: Path, shell: Shell) -> None:
    script = home / LEFT["bash"]
    if not script.exists():
        shell("portico --install-completion; true")
    found = shell(
        f"source {script}; COMP_WORDS=(portico {words}); COMP_CWORD={len(shlex.split(words))}; "
        'complete -p portico >/dev/null && _portico_completion portico; echo "${COMPREPLY[@]}"'
    )
    assert found.split() == offered


@pytest.mark.parametrize(
    ("complete", "incomplete", "offered"),
    [
        (service_names, "shop", ["shop", "shop-next"]),
        (consumer_names, "a", ["ada"]),
        (consumer_names, "", ["ada", "bob"]),
        (canary_names, "x", []),
    ],
)
def test_names_are_those_of_the_file(complete: Complete, incomplete: str, offered: list[str], home: Path) -> None:
    assert complete(typing_a_command(str(home / "portico.yaml")), incomplete) == offered


def test_a_file_that_cannot_be_used_offers_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrong.yaml").write_text("services: [")
    for name in ("wrong.yaml", "none.yaml"):
        assert service_names(typing_a_command(str(tmp_path / name)), "") == []
    assert capsys.readouterr() == ("", "")


def typing_a_command(config: str) -> typer.Context:
    context = typer.Context(get_command(app))
    context.params["config"] = config
    return context


def test_zsh_and_fish_ask_for_the_same(shell: Shell) -> None:
    zsh = shell("portico", _PORTICO_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="portico canary abort ")
    assert "sales" in zsh
    fish = {"_PORTICO_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert "canary" in shell("portico", _TYPER_COMPLETE_ARGS="portico ca", **fish)
