"""The site, built by Zensical from what is staged."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from .stage import ROOT, stage

FOLDER = ROOT / "build" / "documentation"
SITE = FOLDER / "site"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_WARNING = re.compile(r"(?:Warning|Error): (.+)\n.*\[ (\S+) \]")


def build() -> bool:
    """Whether it could be built without a warning; if not, what Zensical warns of goes to standard error."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    stage(FOLDER / "docs")
    shutil.copyfile(ROOT / "mkdocs.yml", FOLDER / "mkdocs.yml")
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        said = _COLOR.sub("", done.stdout + done.stderr)
        warnings = [f"docs/{place}: {what}" for what, place in _WARNING.findall(said)]
        print("\n".join(warnings) or said, file=sys.stderr)
    return done.returncode == 0
