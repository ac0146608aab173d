from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from portico.cli.main import app

SERVICES = "services: {books: {url: http://127.0.0.1:9001}}\n"


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PORTICO_CONFIG", raising=False)


def portico(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_what_can_be_said_is_printed() -> None:
    Path("portico.yaml").write_text(SERVICES)
    done = portico("render", "nginx")
    assert done.exit_code == 0
    assert done.stderr.startswith("portico: what nginx does otherwise, whatever is written:\n- ")
    assert done.stdout.startswith("# Written by portico render nginx")
    assert "What nginx does otherwise, whatever is written:" in done.stdout
    assert "location /api/books/ {" in done.stdout


def test_what_cannot_is_listed_and_ends_with_1() -> None:
    Path("edge.yaml").write_text(SERVICES + "policies:\n  compress: true\n")
    done = portico("render", "nginx", "edge.yaml")
    assert done.exit_code == 1
    assert "edge.yaml:3: policies.compress: nginx compresses responses with Set-Cookie, too" in done.stderr
    assert "1 thing could not be said" in done.stderr
    assert "location /api/books/ {" in done.stdout


def test_with_lossy_it_is_listed_and_ends_with_0() -> None:
    Path("edge.yaml").write_text(SERVICES + "policies:\n  compress: true\n")
    done = portico("render", "nginx", "edge.yaml", "--lossy")
    assert done.exit_code == 0
    assert "policies.compress" in done.stderr


def test_files_go_to_a_directory() -> None:
    Path("portico.yaml").write_text(SERVICES)
    done = portico("render", "nginx", "--output", "rendered/here")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "upstream books {" in Path("rendered/here/nginx.conf").read_text()


def test_a_directory_that_is_none_is_said() -> None:
    Path("portico.yaml").write_text(SERVICES)
    done = portico("render", "nginx", "--output", "portico.yaml")
    assert done.exit_code == 1
    assert "portico.yaml" in done.stderr


def test_an_unknown_target_is_refused() -> None:
    Path("portico.yaml").write_text(SERVICES)
    done = portico("render", "apache")
    assert done.exit_code == 2
    assert "nginx" in done.stderr


def test_lua_is_several_files_of_nginx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "k" * 32)
    Path("portico.yaml").write_text(SERVICES + "policies: {auth: {jwt: {}}}\n")
    done = portico("render", "nginx", "--lua", "--output", "rendered")
    assert done.exit_code == 0
    assert "portico.yaml:" not in done.stderr
    assert {path.name for path in Path("rendered").iterdir()} == {"nginx.conf", "portico.lua", "portico_guards.lua"}
    assert "k" * 32 not in "".join(path.read_text() for path in Path("rendered").iterdir())
    nowhere = portico("render", "nginx", "--lua")
    assert nowhere.exit_code == 2
    assert "--output" in nowhere.stderr
