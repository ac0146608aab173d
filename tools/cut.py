"""Cut a release: `python -m tools.cut 0.2.0` gives what is unreleased a version and today's date, everywhere at once.

Nothing is committed or tagged; what remains to be done is printed. See RELEASING.md.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
VERSION_FILE: Final = Path("src/portico/__init__.py")
CHANGELOG: Final = Path("CHANGELOG.md")
DEPLOY: Final = Path("deploy")
"""Where files name the image by its version."""

_VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_WRITTEN: Final = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_UNRELEASED: Final = re.compile(r"^## \[Unreleased\]\n(?P<changes>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


class CutError(Exception):
    """Why a release cannot be cut now."""


def current_version(root: Path) -> str:
    """The one that the package says. Raises CutError."""
    found = _WRITTEN.search((root / VERSION_FILE).read_text(encoding="utf-8"))
    if found is None:
        raise CutError(f'{VERSION_FILE} has no line __version__ = "..."')
    return found[1]


def cut(root: Path, version: str, date: datetime.date) -> list[Path]:
    """Write the version and the date into the repository at `root`; the files that are changed.

    Raises CutError before anything is written: for a version that is none or does not come after the current one, for
    changes that are not committed, for a tag that exists, and where nothing is unreleased.
    """
    current = current_version(root)
    first = _numbers(current) if not _is_released(root, current) else (*_numbers(current), 0)
    if _numbers(version) < first:
        raise CutError(f"{version} does not come after {current}")
    if changes := _git(root, "status", "--porcelain"):
        raise CutError(f"commit or stash first:\n{changes}")
    if _git(root, "tag", "--list", f"v{version}"):
        raise CutError(f"the tag v{version} exists")
    texts = {CHANGELOG: _released(root, version, date), VERSION_FILE: _versioned(root, version)}
    texts |= _images(root, current, version)
    changed = [path for path, text in texts.items() if (root / path).read_text(encoding="utf-8") != text]
    for path in changed:
        (root / path).write_text(texts[path], encoding="utf-8")
    return changed


def _numbers(version: str) -> tuple[int, ...]:
    if not _VERSION.fullmatch(version):
        raise CutError(f"{version!r} is no version: three numbers, such as 0.2.0")
    return tuple(map(int, version.split(".")))


def _is_released(root: Path, version: str) -> bool:
    return f"\n## [{version}] - " in (root / CHANGELOG).read_text(encoding="utf-8")


def _released(root: Path, version: str, date: datetime.date) -> str:
    text = (root / CHANGELOG).read_text(encoding="utf-8")
    found = _UNRELEASED.search(text)
    if found is None or not re.search(r"^- ", found["changes"], re.MULTILINE):
        raise CutError(f"{CHANGELOG} lists nothing under [Unreleased]")
    released = f"## [Unreleased]\n\n## [{version}] - {date.isoformat()}\n{found['changes']}"
    return text[: found.start()] + released + text[found.end() :]


def _versioned(root: Path, version: str) -> str:
    text = (root / VERSION_FILE).read_text(encoding="utf-8")
    return _WRITTEN.sub(f'__version__ = "{version}"', text)


_IMAGE: Final = re.compile(r"(\bportico:|\bnewTag: \"?)(\d+\.\d+\.\d+)")


def images(root: Path) -> dict[Path, list[str]]:
    """The versions of the image that files below `deploy` name: `portico:0.1.0`, or `newTag: 0.1.0` of a
    kustomization.
    """
    found = {}
    for path in sorted((root / DEPLOY).rglob("*.y*ml")):
        versions = [each[2] for each in _IMAGE.finditer(path.read_text(encoding="utf-8"))]
        if versions:
            found[path.relative_to(root)] = versions
    return found


def _images(root: Path, current: str, version: str) -> dict[Path, str]:
    def renamed(found: re.Match[str]) -> str:
        return found[1] + (version if found[2] == current else found[2])

    return {path: _IMAGE.sub(renamed, (root / path).read_text(encoding="utf-8")) for path in images(root)}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CutError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.rstrip("\n")


def main(arguments: Sequence[str]) -> int:
    """Cut the release that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.cut", description=str(__doc__).partition("\n")[0])
    parser.add_argument("version", help="such as 0.2.0")
    version = parser.parse_args(arguments).version
    try:
        changed = cut(ROOT, version, datetime.datetime.now(datetime.UTC).date())
    except CutError as error:
        print(f"not cut: {error}", file=sys.stderr)
        return 1
    print(
        f"{version} is written into {', '.join(map(str, changed))}. Next:\n"
        f"  git commit --all --message 'Portico {version}'\n"
        f"  git tag --annotate v{version} --message 'Portico {version}'\n"
        "  make dist sbom"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
