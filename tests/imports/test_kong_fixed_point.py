"""What is imported from Kong, rendered for Kong and imported again means what it meant.

The files in `kong/` are written for this; they look like those that people have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from portico.config import load_text
from portico.imports import finished
from portico.imports.kong import import_kong
from portico.render import render_kong
from portico.render.expressions import expression_of, value_expression

FILES: Final = sorted((Path(__file__).parent / "kong").iterdir())
GOLDEN: Final = Path(__file__).parents[1] / "render" / "golden"
ENVIRON: Final = {"JWT_SECRET": "s" * 64, "SECRET_KEY": "s" * 64}


def imported(file: Path) -> str:
    return finished(import_kong(file), "portico.yaml").text


def again(text: str, directory: Path) -> str:
    """What is imported of what is rendered of it."""
    file = directory / "kong.yaml"
    file.write_text(render_kong(load_text(text, "portico.yaml", ENVIRON)).files["kong.yaml"])
    return imported(file)


def meaning(text: str) -> Any:
    """What is written, but for the order where it says nothing, the spelling of patterns, and keys of consumers: of
    these only hashes are known, which Kong does not take.
    """
    written = yaml.safe_load(text)
    for consumer in written.get("consumers", ()):
        consumer.pop("keys", None)
    routes = written["routes"]
    for route in routes:
        if route["path"].startswith("~"):
            route["path"] = expression_of(route["path"])
        conditions = route.get("headers", {})
        route["headers"] = {name: value_expression(each) for name, each in conditions.items()}
    patterns = [route["name"] for route in routes if route["path"].startswith("^")]
    return {**written, "routes": {route["name"]: route for route in routes}, "patterns": patterns}


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.strip().startswith("#")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_files_that_people_have(file: Path, tmp_path: Path) -> None:
    first = imported(file)
    second = again(first, tmp_path)
    assert meaning(second) == meaning(first)
    assert lines(again(second, tmp_path)) == lines(second)
    assert "respond: 503" not in first


@pytest.mark.parametrize("name", ["guards", "seed"])
def test_what_portico_has_rendered(name: str, tmp_path: Path) -> None:
    first = again((GOLDEN / f"{name}.yaml").read_text(), tmp_path)
    assert lines(again(first, tmp_path)) == lines(first)
