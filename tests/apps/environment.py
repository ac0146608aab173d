"""An environment of its own for each application, under `build/apps`, kept from one run to the next."""

from __future__ import annotations

import json
import shutil
import sys
import venv
from pathlib import Path
from typing import Final

from support.portico import environment
from support.process import Job

from .application import Application

BUILD: Final = Path(__file__).parents[2] / "build" / "apps"
_INSTALL_WITHIN: Final = 900.0
"""Seconds."""
_VERSIONS: Final = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


class NotInstalled(Exception):  # noqa: N818 - it reads as what happened
    """pip could not; the text is its last line."""


class Environment:
    """A virtual environment with what one application requires."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.folder = BUILD / app.name
        self.programs = self.folder / "bin"

    def install(self) -> None:
        """Once; again when the requirements have changed. Raises NotInstalled."""
        done, wanted = self.folder / "requirements.txt", "\n".join(self._app.requirements) + "\n"
        if done.exists() and done.read_text() == wanted:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        venv.create(self.folder, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", self.programs / "python", "install", "-q", "--no-compile"]
        with Job(*pip, *self._app.requirements) as job:
            code = job.running.wait(_INSTALL_WITHIN)
            if code:
                raise NotInstalled((job.output().strip() or f"exit code {code}").splitlines()[-1])
        done.write_text(wanted)

    def variables(self, home: Path) -> dict[str, str]:
        """What a program of the application gets for its environment."""
        own = environment()
        own.pop("PYTHONPATH")
        path = f"{self.programs}:{own.get('PATH', '')}"
        return {**own, "PATH": path, "VIRTUAL_ENV": str(self.folder), "HOME": str(home), "TMPDIR": str(home)}

    def versions(self) -> dict[str, str]:
        """Of what is required, by name."""
        names = [each.partition("==")[0].partition("[")[0] for each in self._app.requirements]
        command = [self.programs / "python", "-c", _VERSIONS, *names]
        with Job(*command, env=self.variables(self.folder)) as job:
            found: dict[str, str] = json.loads(job.result(30))
        return found
