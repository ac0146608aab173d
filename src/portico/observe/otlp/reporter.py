"""Which of several processes reports that a collector is away: the one that holds the lock on a file."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


class Reporter:
    """Of one exporter. Without a `file` it is alone."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._lock: int | None = None

    def takes_over(self) -> bool:
        """Whether this process is the one, from now until `leave`. Where the file cannot be locked at all, it is."""
        if self._file is None:
            return True
        try:
            self._lock = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.leave()
            return False
        except OSError:
            self.leave()
        return True

    def leave(self) -> None:
        """Another may be the one; that is so, too, once this process has ended."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with contextlib.suppress(OSError):
                os.close(lock)
