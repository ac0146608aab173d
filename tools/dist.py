"""Build the sdist, and of it the wheel, into dist/. The same commit gives the same bytes, whoever builds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DIST: Final = ROOT / "dist"


def build(source: Path, target: Path, environ: Mapping[str, str]) -> list[Path]:
    """The wheel and the sdist of `source`, in `target`. Raises CalledProcessError."""
    command = [sys.executable, "-m", "build", "--outdir", str(target), str(source)]
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
    (wheel,), (sdist,) = target.glob("*.whl"), target.glob("*.tar.gz")
    for each in (wheel, sdist):
        each.chmod(0o644)
    return [wheel, sdist]


def environment(source: Path) -> dict[str, str]:
    """With SOURCE_DATE_EPOCH, the time that files in archives get: as given, else that of the last commit.

    Raises SystemExit where there is neither.
    """
    environ = {**os.environ}
    if "SOURCE_DATE_EPOCH" not in environ:
        command = ["git", "log", "-1", "--format=%ct"]
        done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"no commit has a time to take ({done.stderr.strip()}): set SOURCE_DATE_EPOCH")
        environ["SOURCE_DATE_EPOCH"] = done.stdout.strip()
    return environ


def main() -> int:
    """Build both anew."""
    shutil.rmtree(DIST, ignore_errors=True)
    for path in build(ROOT, DIST, environment(ROOT)):
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
