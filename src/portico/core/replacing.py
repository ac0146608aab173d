"""Files that are replaced as a whole or not at all, whatever ends the process meanwhile."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, data: bytes, *, safely: bool = False) -> None:
    """Have a file with these bytes, which only its owner can read; `safely` also where the machine loses its power.

    Only one process at a time may replace a file. Raises OSError; what was there is there still.
    """
    partial = path.with_suffix(".new")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            if safely:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if safely:
        sync(path.parent)


def sync(directory: Path) -> None:
    """Have the names in a directory outlast a loss of power."""
    with suppress(OSError):  # not every file system can, and it is done already
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
