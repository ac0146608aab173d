"""Where a gateway lives while it runs, and the programs that others have written."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Site:
    """A gateway's port, that of the service behind it, a directory for its files, and its size.

    Of `routes` there are as many as a benchmark asks for: `/api/bench0`, `/api/bench1` and so on.
    """

    port: int
    backend: int
    directory: Path
    workers: int = 1
    routes: int = 1
    redis: str = ""
    """The URL of a Redis, in a stack that shares a limit or a cache."""

    def write(self, name: str, text: str) -> Path:
        """Writes one of its files."""
        path = self.directory / name
        path.write_text(text)
        return path


def program(name: str) -> str | None:
    """The path of an installed program; servers live in directories that only root has in its PATH."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"]))


def output_of(*argv: str) -> str:
    """What a short command prints, on either stream."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10, check=False)
    return done.stdout
