"""docs/tutorial.md is played from its beginning to its end, as a newcomer would."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from documentation.markdown import blocks
from documentation.played import Player, matches
from documentation.stage import ROOT

PAGE = blocks((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_it_goes_as_it_says(tmp_path: Path) -> None:
    with Player(tmp_path) as reader:
        played = reader.play(PAGE)
    assert played == len([block for block in PAGE if block.language != "text"]) - 1, "all but the installation"


def test_what_is_printed_is_compared() -> None:
    assert matches("a 12 b\nc  \n", "a … b\nc\n")
    assert matches("x\ny\nz\n", "…\nz")
    assert matches("z\n", "z")
    assert not matches("a 12\n", "a …  b")
    assert not matches("y\nz\n", "z")
    assert not matches("a", "")
