"""The builds that are measured, and how a gateway of each is started."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from support import portico
from support.process import free_port
from support.world import Gateway

OLD: Final = "fe126843"
"""The commit that the goals are measured against."""
_ROOT: Final = Path(__file__).parents[2]
_START_WITHIN: Final = 180.0


@dataclass(frozen=True)
class Build:
    """A name and the folder that `portico` is imported from."""

    name: str
    source: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment of its commands."""
        return portico.environment(PYTHONPATH=str(self.source))


def present() -> Build:
    """This tree."""
    return Build("new", portico.source())


@contextmanager
def old(commit: str = OLD) -> Iterator[Build]:
    """The tree of a commit, taken out of git for as long as the block lasts; it runs with what is installed here."""
    with TemporaryDirectory(prefix="portico-old-") as folder:
        packed = subprocess.run(["git", "archive", commit, "src"], cwd=_ROOT, capture_output=True, check=False)
        if packed.returncode:
            why = packed.stderr.decode().strip()
            raise SystemExit(
                f"the old build cannot be had: {why}; git fetch --unshallow brings it, --no-old goes without"
            )
        subprocess.run(["tar", "x", "-C", folder], input=packed.stdout, check=True)
        yield Build(commit, Path(folder) / "src")


class Subject(Gateway):
    """A gateway of a build. Its file says only what every build understands."""

    def __init__(self, build: Build, config: Mapping[str, Any]) -> None:
        super().__init__(env={"PYTHONPATH": str(build.source)}, port=free_port())
        self.build = build
        self.clean = False  # an old one may well complain
        self.write(config)

    def write(self, config: Mapping[str, Any]) -> None:
        """Write the configuration's file; no Redis is started beside it."""
        log = {"level": "INFO", "access": "off"}
        gateway = {"embedded_redis": False, "log": log, **config.get("gateway", {})}
        self.file.write_text(portico.configuration({**config, "gateway": gateway}, self.port))

    def wait_until_ready(self, is_ready: Any, within: float = _START_WITHIN) -> None:
        """Larger ones take longer."""
        super().wait_until_ready(is_ready, within)

    def stop(self) -> None:
        """It is ended by its block, in whatever state it is."""
