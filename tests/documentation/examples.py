"""The examples of all pages: which are played, and which say why not.

A comment before a block, `<!-- example: WORDS -->`, says what the block is, where that is not what its language says:

| words | the block |
|---|---|
| `file NAME` | is the content of a file, for the commands that follow |
| `terminal` | is a command that goes on while the next ones are entered |
| `wrong` | is a configuration that has to be refused |
| `other`, `other NAME` | is YAML of another program, which commands find in a file |
| `not run: WORD` | is not run, for one of the `REASONS` |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from .markdown import Block, blocks
from .stage import ROOT

REASONS: Final = {
    "internet": "downloads packages",
    "make": "sets up, builds or measures this repository",
    "ports": "takes ports that are fixed",
    "program": "needs another program: jq, a Redis",
    "container": "needs Docker or Kubernetes",
    "system": "changes the machine: it needs root, systemd or files below /etc",
    "list": "names commands, which are looked up instead",
    "elsewhere": "is played by a test of its own: see PLAYED_ELSEWHERE",
}
"""Why an example is not run."""

PLAYED_ELSEWHERE: Final = {
    "deploy/ha/README.md": "live/test_deploy.py",
    "docs/changing.md": "live/test_changing_page.py",
    "docs/keys.md": "live/test_keys_page.py",
    "examples/from-nginx/README.md": "live/test_from_nginx.py",
}
"""Pages whose commands have a test of their own, below `tests`."""

LANGUAGES: Final = ("yaml", "sh", "python", "json", "toml")
"""Those that are played."""


class Example(NamedTuple):
    """A block, and the page that it is on, as a path in the repository."""

    page: str
    block: Block

    @property
    def where(self) -> str:
        return f"{self.page}:{self.block.line}"

    @property
    def reason(self) -> str:
        """Why it is not run, or nothing."""
        kind, _, reason = self.block.note.partition(": ")
        return reason if kind == "not run" else ""

    @property
    def is_session(self) -> bool:
        """Whether it shows commands, each behind a dollar sign, with what they print."""
        return self.block.language in ("", "text", "console") and self.block.text.startswith("$ ")


def pages() -> list[str]:
    """Every page with examples for users."""
    found = [path for name in ("docs", "deploy", "examples") for path in sorted((ROOT / name).rglob("*.md"))]
    return ["README.md", "CONTRIBUTING.md", *(str(path.relative_to(ROOT)) for path in found)]


def examples(language: str) -> Iterator[Example]:
    """All in a language; `sh` has sessions too."""
    for page in pages():
        for block in blocks((ROOT / page).read_text(encoding="utf-8")):
            example = Example(page, block)
            if block.language == language or (language == "sh" and example.is_session):
                yield example


def summary() -> str:
    """How many are played and how many are not."""
    counted = Counter((bool(each.reason), language) for language in LANGUAGES for each in examples(language))
    played = ", ".join(f"{counted[False, language]} of {language}" for language in LANGUAGES)
    return f"examples that tests play: {played}; {sum(n for (skipped, _), n in counted.items() if skipped)} say why not"
