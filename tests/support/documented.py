"""Examples of the documentation, to be run as they stand there: a configuration, and what a client gets by it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """The configuration, and the lines of the blocks of text that follow it."""

    config: dict[str, Any]
    shown: list[list[str]]


def example(page: str, part: str, url: str) -> Example:
    """The one of a page whose configuration contains `part`, with its services at `url` and without health checks."""
    blocks = [(block[1], block[2]) for block in _BLOCK.finditer((_DOCS / page).read_text(encoding="utf-8"))]
    (index,) = [at for at, (kind, text) in enumerate(blocks) if kind == "yaml" and part in text]
    config = yaml.safe_load(blocks[index][1])
    for service in config["services"].values():
        service.update(url=url, health_check=False)
    shown = []
    for kind, text in blocks[index + 1 :]:
        if kind != "text":
            break
        shown.append(text.splitlines())
    return Example(config, shown)
