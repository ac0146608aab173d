from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from portico.cli.main import app

OLD = "services: {shop: {url: http://127.0.0.1:9001}}\npolicies: {auth: {api_key: {}}}\n"
NEW = "services: {shop: {url: http://127.0.0.1:9001}}\n"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.yaml").write_text(OLD)
    Path("new.yaml").write_text(NEW)


def portico(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_nothing_changes() -> None:
    done = portico("plan", "old.yaml", "--from", "old.yaml")
    assert (done.exit_code, done.stdout) == (0, "no changes\n")


def test_what_changes() -> None:
    done = portico("plan", "new.yaml", "--from", "old.yaml")
    assert done.exit_code == 2
    assert done.stdout.splitlines() == [
        "- policy auth of route shop, loosened (new.yaml:1)",
        "    warning: callers are not asked who they are any more",
        "1 change: 1 removed; 1 loosened; 1 warning",
    ]


def test_for_programs() -> None:
    done = portico("plan", "new.yaml", "--from", "old.yaml", "--format", "json")
    assert done.exit_code == 2
    (change,) = json.loads(done.stdout)
    assert (change["kind"], change["effect"], change["what"]) == ("removed", "loosened", "policy auth of route shop")
    assert portico("plan", "old.yaml", "--from", "old.yaml", "--format", "json").stdout == "[]\n"


@pytest.mark.parametrize("wrong", ["new.yaml", "old.yaml"])
def test_a_wrong_file_is_no_plan(wrong: str) -> None:
    Path(wrong).write_text("services: {shop: {urll: http://127.0.0.1:9001}}\n")
    done = portico("plan", "new.yaml", "--from", "old.yaml")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"{wrong}:1")


def test_a_file_that_is_wrong_only_here() -> None:
    Path("portico.yaml").write_text("gateway: {admin_token: '${OF_THE_GATEWAY}'}\n")
    done = portico("plan", "new.yaml")
    assert done.exit_code == 1
    first, second = done.stderr.splitlines()
    assert "OF_THE_GATEWAY is not set" in first
    assert second == "portico: mend the file, which says where the gateway is, or say that by --admin HOST:PORT"
