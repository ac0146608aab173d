"""The text of a configuration's files."""

from __future__ import annotations

import stat
from pathlib import Path

from portico.config.problems import ConfigError, Problem

STREAMS = ("/dev/stdin", "/dev/fd/")
"""How the names of files begin that are no files."""


def read_text(path: Path) -> str:
    """What is in a file. Raises ConfigError where it cannot be read, with the position of a byte that is no text."""
    try:
        if not _may_be_read(path):
            raise _unreadable(path, "cannot be read: it is not a regular file")
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = data.count(b"\n", 0, error.start) + 1, error.start - data.rfind(b"\n", 0, error.start)
        message = f"not UTF-8 text: the byte {data[error.start]:#04x} does not belong there"
        raise ConfigError([Problem(str(path), line, column, "", message)]) from None
    except FileNotFoundError:
        message = "there is no such file; portico init writes one"
        raise _unreadable(path, message) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unreadable(path, f"cannot be read: {reason}") from None


def _may_be_read(path: Path) -> bool:
    """Whether reading it can end, or says itself why not: a named pipe without a writer would be waited for."""
    mode = path.stat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or str(path).startswith(STREAMS)


def _unreadable(path: Path, message: str) -> ConfigError:
    return ConfigError([Problem(str(path), None, None, "", message)])


def read_small(file: Path, most: int) -> bytes:
    """What is in a file. Raises OSError; ValueError for one that is no regular file, or has more than `most` bytes."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError("is not a regular file")
    with file.open("rb") as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise ValueError(f"has more than {most // 1024} KiB, which is the most that is kept in memory")
    return content
