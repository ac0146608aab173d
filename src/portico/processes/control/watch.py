"""Detects changed files by polling: that works on every file system, also across renames."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from portico.net.tls.renewed import FileState, state_of

logger: Final = logging.getLogger("portico.control")

_PAUSE: Final = 5.0
"""Seconds of backoff after a failed check."""
_INTERVAL: Final = 0.5
"""Seconds between polls, and for which files must be unchanged before a change counts as complete."""
_COARSE: Final = 0.02
"""Seconds by which the clock of files may be behind."""


async def watch(
    files: Callable[[], Sequence[Path]],
    changed: Callable[[], Awaitable[None]],
    read_at: float = 0.0,
    own: Callable[[], dict[Path, FileState]] = dict,
) -> None:
    """Call `changed` after each change of `files()`, for ever. A file that does not exist may still be created.

    `own` gives what this process has itself written since it was called last: that is no change.

    With `read_at`, in seconds since 1970, also after one that came between that and the first look.
    """
    seen = _look(files())
    missed = read_at > 0 and any(_changed_after(path, read_at - _COARSE) for path in seen)
    while True:
        await asyncio.sleep(_INTERVAL)
        try:
            now = await _settled(files, seen)
            seen |= own()
            changes = _differ(seen, now) or missed
            seen = {**seen, **now}
            missed = False
            if changes:
                await changed()
        except Exception:
            logger.exception("files could not be looked at")
            await asyncio.sleep(_PAUSE)


async def _settled(files: Callable[[], Sequence[Path]], seen: dict[Path, FileState]) -> dict[Path, FileState]:
    """The files as they are; where they have changed, once they no longer change."""
    now = _look(files())
    while _differ(seen, now):
        await asyncio.sleep(_INTERVAL)
        later = _look(files())
        if later == now:
            break
        now = later
    return now


def _changed_after(path: Path, moment: float) -> bool:
    """Whether the file, or what a link leads to, was written or renamed since."""
    try:
        return path.stat().st_ctime > moment
    except OSError:
        return False


def _look(files: Sequence[Path]) -> dict[Path, FileState]:
    return {path: state for path, state in zip(files, state_of(files), strict=True) if state is not None}


def _differ(seen: dict[Path, FileState], now: dict[Path, FileState]) -> bool:
    """Whether a file has changed; one that was not seen before has not."""
    return any(path in seen and seen[path] != state for path, state in now.items())
