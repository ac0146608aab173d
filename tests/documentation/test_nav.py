"""The site leads to every page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def pages(nav: Any) -> Iterator[str]:
    """The files that a part of nav leads to."""
    if isinstance(nav, str):
        yield nav
        return
    for part in nav if isinstance(nav, list) else nav.values():
        yield from pages(part)


def test_every_row_of_what_it_does_leads_to_a_page() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What it does")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| |")]
    assert len(rows) > 15
    assert [row for row in rows if "](docs/" not in row] == []


def test_nav_has_every_page_once() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    docs = ROOT / "docs"
    assert sorted(pages(nav)) == sorted(str(page.relative_to(docs)) for page in docs.rglob("*.md"))
