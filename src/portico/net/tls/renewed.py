"""Objects that are rebuilt when their files change, such as certificates renewed while the gateway runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeAlias, TypeVar

from portico.net.tls.certificates import CertificateError

logger: Final = logging.getLogger("portico.tls")

T = TypeVar("T")


class Renewed(Generic[T]):
    """Holds `value`; while changed files cannot be used (half written, a key that does not fit) the old one stays."""

    def __init__(self, make: Callable[[], T], files: Sequence[Path]) -> None:
        """Raises CertificateError where the files cannot be used in the first place."""
        self._make = make
        self._files = files
        self._seen = state_of(files)
        self.value = make()
        self.version = 0
        """Counts the renewals."""

    def refresh(self) -> bool:
        """Check the files; returns whether there is a new value. Each state of them is loaded, and reported, once."""
        state = state_of(self._files)
        if state == self._seen:
            return False
        self._seen = state
        try:
            self.value = self._make()
        except CertificateError as error:
            extra = {"reason": str(error), "files": ", ".join(map(str, self._files))}
            logger.error("changed files cannot be used; the previous ones stay in use", extra=extra)
            return False
        self.version += 1
        logger.info("changed files were loaded", extra={"files": ", ".join(map(str, self._files))})
        return True


FileState: TypeAlias = tuple[int, int, int] | None


def state_of(files: Sequence[Path]) -> list[FileState]:
    """What changes when a file does, symbolic links followed; None where there is no file."""
    return [_state_of(path) for path in files]


def _state_of(path: Path) -> FileState:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
