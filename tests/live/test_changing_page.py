"""docs/changing.md is played from its beginning to its end."""

from __future__ import annotations

from pathlib import Path

from documentation.markdown import Block, blocks
from documentation.played import Player
from documentation.stage import ROOT
from support.backend import Backend

PAGE = blocks((ROOT / "docs" / "changing.md").read_text(encoding="utf-8"))
_STARTED = Block("text", "…\n…worker-0 serves…\n…", 0, "")


def test_it_goes_as_it_says(tmp_path: Path) -> None:
    file, start, *rest = PAGE
    with Backend() as shop, Player(tmp_path, COLUMNS="200") as reader:
        reader.play([Block(file.language, file.text.replace("http://127.0.0.1:8001", shop.url), file.line, file.note)])
        reader.play([Block(start.language, start.text, start.line, "terminal"), _STARTED])
        sessions = [block for block in rest if block.text.startswith("$ ")]
        assert len(sessions) == 3
        for block in sessions:
            reader.play_alone(block)
