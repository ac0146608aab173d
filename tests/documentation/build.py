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
_ELSEWHERE = re.compile(r"<(?:script|link|img)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_WARNING = re.compile(r"(?:Warning|Error): (.+)\n.*\[ (\S+) \]")


def build() -> bool:
    """Whether it could be built without a warning; if not, what is wrong goes to standard error."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    stage(FOLDER / "docs")
    shutil.copyfile(ROOT / "mkdocs.yml", FOLDER / "mkdocs.yml")
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        said = _COLOR.sub("", done.stdout + done.stderr)
        warnings = [f"docs/{place}: {what}" for what, place in _WARNING.findall(said)]
        print("\n".join(warnings) or said, file=sys.stderr)
        return False
    loads = sorted({found for page in SITE.rglob("*.html") for found in _ELSEWHERE.findall(page.read_text("utf-8"))})
    if loads:
        print(f"Pages load {', '.join(loads)}: all that they need is to be in the site", file=sys.stderr)
    return not loads
