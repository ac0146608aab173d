"""Examples of the documentation, to be run as they stand there: a configuration, and what a client gets by it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from .messages import Message

_SERVED = re.compile(r"`(\w+)` gets `(\S+)`")
_ANSWERED = re.compile(r"([0-9]{3})(?: to `(\S+)`)?(?:, `(.*)`)?")
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


def is_outcome(outcome: str, answer: Message, row: str) -> None:
    """Fail unless an answer is what a table says: which service gets which target; or a status, where to, what body."""
    if served := _SERVED.fullmatch(outcome):
        assert answer.status == 200, (row, answer)
        assert (answer.json()["backend"], answer.json()["target"]) == served.groups(), row
        return
    answered = _ANSWERED.fullmatch(outcome)
    assert answered, row
    status, location, body = answered.groups()
    assert (answer.status, answer.get("location")) == (int(status), location), row
    assert answer.body.decode().startswith(body or ""), row
