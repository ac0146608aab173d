"""Pages of the documentation that are played: each configuration, and the rows of the table behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DOCS = Path(__file__).parents[2] / "docs"
_ROW = re.compile(r"\| `[A-Z]+ /")


class Played(NamedTuple):
    """A configuration of a page, under the title of its section, and what the page says comes of it."""

    title: str
    config: dict[str, Any]
    rows: list[str]


def played(page: str) -> Iterator[Played]:
    """All of a page; rows are those of requests."""
    for section in re.split("^## ", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE):
        for part in section.split("```yaml\n")[1:]:
            text, _, rest = part.partition("```\n")
            rows = [line for line in rest.splitlines() if _ROW.match(line)]
            yield Played(section.partition("\n")[0], yaml.safe_load(text), rows)
