"""The pages as the site gets them: `docs/`, and what it links to elsewhere in the repository, under `source/`.

GitHub follows a link such as `../deploy/ha/README.md`; a site has only what is in its folder.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath

from .markdown import links, with_links

ROOT = Path(__file__).parents[2]
DOCS = PurePosixPath("docs")
SOURCE = PurePosixPath("source")


def linked(page: PurePosixPath, link: str) -> PurePosixPath | None:
    """The file of the repository that a link of a page leads to; None for one that leads elsewhere or stays there."""
    target = link.partition("#")[0]
    if not target or ":" in target:
        return None
    path = PurePosixPath(os.path.normpath(page.parent / target))
    return path / "README.md" if (ROOT / path).is_dir() else path


def stage(folder: Path) -> None:
    """Fill the folder, which must not be there, with all files of the site."""
    waiting = [PurePosixPath(path.relative_to(ROOT)) for path in sorted((ROOT / DOCS).rglob("*")) if path.is_file()]
    done = {*waiting}
    while waiting:
        path = waiting.pop()
        if path.suffix == ".md":
            waiting += sorted(_copy_page(path, folder) - done)
            done.update(waiting)
        else:
            _copy(path, folder)


def _copy_page(page: PurePosixPath, folder: Path) -> set[PurePosixPath]:
    """The files that it links to."""
    text = (ROOT / page).read_text(encoding="utf-8")
    target = folder / place(page)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(with_links(text, lambda link: _moved(page, link)), encoding="utf-8")
    return {path for link in links(text) if (path := linked(page, link)) is not None and (ROOT / path).is_file()}


def _copy(path: PurePosixPath, folder: Path) -> None:
    target = folder / place(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / path, target)


def place(path: PurePosixPath) -> PurePosixPath:
    """Where a file of the repository is in the site."""
    return path.relative_to(DOCS) if path.is_relative_to(DOCS) else SOURCE / path


def _moved(page: PurePosixPath, link: str) -> str:
    path = linked(page, link)
    if path is None:
        return link
    _, hash_, anchor = link.partition("#")
    return os.path.relpath(place(path), place(page).parent) + hash_ + anchor
