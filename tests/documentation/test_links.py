"""Every link leads somewhere, on GitHub and on the site: Zensical looks at pages and their anchors alone."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest

from .markdown import anchors, links, with_links
from .stage import ROOT, linked, place

PAGES = [
    PurePosixPath(path.relative_to(ROOT))
    for folder in (ROOT, *(ROOT / name for name in ("docs", "deploy", "examples")))
    for path in sorted(folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
]


def read(page: PurePosixPath) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def is_there(page: PurePosixPath, link: str) -> bool:
    if ":" in link.partition("#")[0]:
        return link.startswith(("https://", "http://"))
    path, anchor = linked(page, link) or page, link.partition("#")[2]
    return (ROOT / path).is_file() and (not anchor or anchor in anchors(read(path)))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: PurePosixPath) -> None:
    assert [link for link in links(read(page)) if not is_there(page, link)] == []


def test_a_heading_gets_the_anchor_that_github_makes() -> None:
    page = "# One two\n## `gateway.listen`\n```sh\n# no heading\n```\n## One, two\n### [a_b](x.md), c\n## One two\n"
    assert anchors(page) == ["one-two", "gatewaylisten", "one-two-1", "a_b-c", "one-two-2"]


def test_links_in_code_are_none() -> None:
    page = "[a](x.md) `[b](y.md)`\n```yaml\n[c](z.md)\n```\n![d](w.svg)"
    assert links(page) == ["x.md", "w.svg"]
    assert with_links(page, lambda link: "../" + link) == page.replace("x.md", "../x.md").replace("w.svg", "../w.svg")


def test_a_file_beside_docs_gets_a_place_in_the_site() -> None:
    assert place(PurePosixPath("docs/reference/metrics.md")) == PurePosixPath("reference/metrics.md")
    assert place(PurePosixPath("deploy/ha/README.md")) == PurePosixPath("source/deploy/ha/README.md")
    assert linked(PurePosixPath("docs/names.md"), "../deploy/ha") == PurePosixPath("deploy/ha/README.md")
    assert linked(PurePosixPath("docs/names.md"), "#here") is None


def test_the_tests_that_the_readme_names_are_there() -> None:
    named = re.findall(r"`((?:live|config|deploy)/\w+\.py)`", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []
