"""A release is cut: one version, everywhere, or nothing at all."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest
from tools.cut import ROOT, CutError, current_version, cut, images

DAY = datetime.date(2026, 12, 1)
CHANGES = "\n### Added\n\n- A thing.\n\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "src/portico").mkdir(parents=True)
    (tmp_path / "src/portico/__init__.py").write_text('"""Doc."""\n\n__version__ = "0.1.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## [Unreleased]\n{CHANGES}## [0.1.0] - 2026-11-01\n\n- Old.\n"
    )
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/compose.yaml").write_text("a: {image: portico:0.1.0}\nb: {image: redis:8.1.0}\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    own = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *own, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")


def contents(folder: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts}


def test_version_and_date_are_written_everywhere(repository: Path) -> None:
    changed = cut(repository, "0.2.0", DAY)
    assert [str(each) for each in changed] == ["CHANGELOG.md", "src/portico/__init__.py", "deploy/compose.yaml"]
    assert current_version(repository) == "0.2.0"
    assert (repository / "deploy/compose.yaml").read_text() == "a: {image: portico:0.2.0}\nb: {image: redis:8.1.0}\n"
    assert (repository / "CHANGELOG.md").read_text() == (
        f"# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n{CHANGES}## [0.1.0] - 2026-11-01\n\n- Old.\n"
    )


def test_a_first_release_may_have_the_version_that_is_there(repository: Path) -> None:
    changelog = repository / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().partition("## [0.1.0]")[0])
    commit(repository)
    cut(repository, "0.1.0", DAY)
    assert "## [0.1.0] - 2026-12-01\n" in changelog.read_text()
    commit(repository)
    with pytest.raises(CutError, match=r"0\.1\.0 does not come after 0.1.0"):
        cut(repository, "0.1.0", DAY)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("0.1.0", "does not come after"),
        ("0.0.9", "does not come after"),
        ("v0.2.0", "no version"),
        ("0.2", "no version"),
        ("0.02.0", "no version"),
        ("0.3.0", "the tag v0.3.0 exists"),
    ],
)
def test_other_versions_are_refused(repository: Path, version: str, message: str) -> None:
    git(repository, "tag", "v0.3.0")
    check_refused(repository, version, message)


def test_what_is_not_committed_is_no_part_of_a_release(repository: Path) -> None:
    (repository / "new.py").touch()
    check_refused(repository, "0.2.0", r"commit or stash first:\n\?\? new\.py")


def test_without_changes_there_is_no_release(repository: Path) -> None:
    changelog = repository / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("- A thing.", ""))
    commit(repository)
    check_refused(repository, "0.2.0", "nothing under")


def check_refused(repository: Path, version: str, message: str) -> None:
    before = contents(repository)
    with pytest.raises(CutError, match=message):
        cut(repository, version, DAY)
    assert contents(repository) == before


def test_every_file_names_the_image_of_this_version() -> None:
    assert {version for versions in images(ROOT).values() for version in versions} <= {current_version(ROOT)}
