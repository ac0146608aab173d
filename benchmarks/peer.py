"""What a gateway is to the benchmark: how it is found, how it is configured, what it must do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POLICIES = "policies"
PLAIN = "plain"
BULK = "bulk"  # as plain, tuned for large bodies


@dataclass(frozen=True)
class Site:
    """Where a peer lives while it is measured: its port, the backend's, and a directory for its files."""

    port: int
    backend: int
    directory: Path

    def write(self, name: str, text: str) -> Path:
        """Writes one of its files."""
        path = self.directory / name
        path.write_text(text)
        return path


@dataclass(frozen=True)
class Peer:
    """One gateway in one stack, that is: with one set of duties.

    A scenario names a stack and is played with all peers that have it. `find` gives the version, or None where the
    peer is not installed; `install` says how to get it. `configure` writes the files and gives the command, which must
    stay in the foreground. `ready` is a path that answers 200 once the peer serves. That it `checks_tokens` and writes
    JSON lines to the file `access_log` is put to the test before measuring.
    """

    name: str
    stack: str
    find: Callable[[], str | None]
    install: str
    configure: Callable[[Site], list[str]]
    ready: str = "/api/bench/ready"
    checks_tokens: bool = False
    access_log: str = ""

    @property
    def label(self) -> str:
        """`nginx` with policies, `nginx plain` without."""
        return self.name if self.stack == POLICIES else f"{self.name} {self.stack}"


def program(name: str) -> str | None:
    """The path of an installed program; servers live in directories that only root has in its PATH."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"]))


def output_of(*argv: str) -> str:
    """What a short command prints, on either stream."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10, check=False)
    return done.stdout
