"""The files that routes answer with: read with the configuration, so that all processes answer alike."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from portico.config.model import Config
from portico.config.problems import Finding

MOST_BYTES: Final = 1024 * 1024
"""Of a file that is kept in memory."""


def read_answers(config: Config) -> tuple[dict[Path, bytes], list[Finding]]:
    """What is in the files that are named, by how they are named, and what is wrong with the others."""
    contents: dict[Path, bytes] = {}
    findings = []
    for index, route in enumerate(config.routes):
        if route.respond is None or (file := route.respond.file) is None:
            continue
        try:
            contents[file] = _read(config.directory / file)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            findings.append(Finding(("routes", index, "respond", "file"), f"{config.directory / file}: {reason}"))
    return contents, findings


def _read(file: Path) -> bytes:
    """What is in a file. Raises OSError, or ValueError for one that is no regular file or too large."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError("is not a regular file")
    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"has more than {MOST_BYTES // 1024} KiB, which is the most that is kept in memory")
    return content
