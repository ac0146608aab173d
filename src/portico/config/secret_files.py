"""Values from files, such as the secrets that Docker and Kubernetes put under `/run/secrets`: `${file:PATH}`."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from portico.config.environment import without_newline

_MOST: Final = 64 * 1024
"""Bytes of a file that can be a value."""


class SecretFiles:
    """Reads them, relative to the configuration's `directory`, and remembers which: a change of one is a change."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, str] = {}

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that values are from."""
        return tuple(self._read)

    def value(self, written: str) -> str:
        """What is in a file, without the newline at its end. Raises ValueError, without a word of what is in it."""
        path = self._directory / written
        if path not in self._read:
            self._read[path] = _text_of(path)
        return self._read[path]


def _text_of(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{path} is not a regular file")
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None
    if len(data) > _MOST:
        raise ValueError(f"the file {path} is larger than {_MOST // 1024} KiB: it holds more than a value")
    try:
        text = without_newline(data.decode())
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8 text") from None
    if not text:
        raise ValueError(f"the file {path} is empty")
    return text
