"""What is looked for in a page of Markdown: blocks of code, links, and headings with the anchors they get."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

_BLOCK = re.compile(r"(?:^<!-- example: ([^>]*?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, its text, the line of its fence, and what a comment before it says of it."""

    language: str
    text: str
    line: int
    note: str


@cache
def blocks(page: str) -> list[Block]:
    """All of a page. The comment is `<!-- example: WORDS -->`, which neither GitHub nor the site shows."""
    return [
        Block(found[2], found[3], page.count("\n", 0, found.start(2)) + 1, found[1] or "")
        for found in _BLOCK.finditer(page)
    ]


def links(page: str) -> list[str]:
    """The targets of links and images outside of code."""
    return [found[3] for found in _LINK.finditer(_CODE.sub(_blank, page))]


def with_links(page: str, change: Callable[[str], str]) -> str:
    """The page with every target replaced by what `change` says."""
    hidden = _CODE.sub(_blank, page)
    parts, end = [], 0
    for found in _LINK.finditer(hidden):
        parts += [page[end : found.start(3)], change(found[3])]
        end = found.end(3)
    return "".join(parts) + page[end:]


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0]) if found[0].startswith("```") else "x" * len(found[0])


def anchors(page: str) -> list[str]:
    """The anchors of its headings, as GitHub makes them."""
    used: Counter[str] = Counter()
    made = []
    for heading in _HEADING.findall(re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)):
        text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", lambda found: found[1] or "", heading)
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        made.append(f"{anchor}-{used[anchor]}" if used[anchor] else anchor)
        used[anchor] += 1
    return made
