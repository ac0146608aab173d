"""The files that routes answer with: read with the configuration, so that all processes answer alike."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from portico.config.model import Config
from portico.config.problems import Finding
from portico.config.reading import read_small

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
            contents[file] = read_small(config.directory / file, MOST_BYTES)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            findings.append(Finding(("routes", index, "respond", "file"), f"{config.directory / file}: {reason}"))
    return contents, findings
