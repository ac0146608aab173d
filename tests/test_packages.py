"""The drawing of the packages in docs/life-of-a-request.md is what the code imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "portico"
PAGE = (ROOT / "docs" / "life-of-a-request.md").read_text(encoding="utf-8")
PACKAGES = (
    *("cli", "demo", "testing", "processes", "snapshot", "plan", "render", "imports", "config", "proxy"),
    "upstreams",
    *("plugin", "policies", "wire", "observe", "openapi", "client", "net", "core"),
)
"""From the one that imports most to the one that imports nothing."""


def imported(file: Path) -> Iterator[str]:
    """The packages that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("portico.") and (package := name.split(".")[1]) in PACKAGES:
                yield package


def imports_of(package: str) -> set[str]:
    """All packages that one imports, itself left out."""
    return {name for file in (SOURCE / package).rglob("*.py") for name in imported(file)} - {package}


def drawing() -> str:
    """The matrix as the page shows it: a dot where the package of the row imports that of the column."""
    widths = [max(len(name), 3) for name in PACKAGES[1:]]
    head = " ".join(name.center(width) for name, width in zip(PACKAGES[1:], widths, strict=True))
    rows = [f"{'':10} {head}".rstrip()]
    for package in PACKAGES[:-1]:
        found = imports_of(package)
        cells = ("●" if name in found else "" for name in PACKAGES[1:])
        row = " ".join(cell.center(width) for cell, width in zip(cells, widths, strict=True))
        rows.append(f"{package:10} {row}".rstrip())
    return "\n".join([*rows, PACKAGES[-1]])


def test_the_packages_are_those_of_the_drawing() -> None:
    here = {path.name for path in SOURCE.iterdir() if path.name not in ("__pycache__", "py.typed")}
    assert here == {*PACKAGES, "__init__.py", "__main__.py"}


def test_the_drawing_shows_the_imports() -> None:
    shown = re.search(r"```text\n( +demo.*?)\n```", PAGE, re.DOTALL)
    assert shown is not None, "the page has no drawing"
    assert shown[1] == drawing(), f"the imports are\n{drawing()}"


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_down_the_list(package: str) -> None:
    assert imports_of(package) <= {*PACKAGES[PACKAGES.index(package) + 1 :]}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_is_for(package: str) -> None:
    text = ast.get_docstring(ast.parse((SOURCE / package / "__init__.py").read_text(encoding="utf-8")))
    assert text
    purpose = text.partition("\n")[0]
    assert f"| `{package}/` | {purpose[0].lower() + purpose[1:].rstrip('.')} |" in PAGE
