"""The corpus of messages: bytes, and what they are to be taken for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parents[1] / "wire" / "corpus"


def corpus(kind: str) -> list[Any]:
    """Every case of the files `wire/corpus/KIND_*.json`, with the file's name under `file`."""
    files = sorted(CORPUS.glob(f"{kind}_*.json"))
    return [{**case, "file": file.stem} for file in files for case in json.loads(file.read_text())]


def raw_bytes(raw: str | list[str | list[Any]]) -> bytes:
    """A corpus case's bytes: text in which each character is one byte, or such texts and `[text, times]` in a row."""
    parts = [raw] if isinstance(raw, str) else raw
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts).encode("latin-1")
